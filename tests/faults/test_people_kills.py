"""R29: a stage that waits for people is killed wherever it or they write; it goes on to the very same result."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.annotate.people.desk import LEFT, Desk
from alignment.errors import Waiting
from alignment.policy.policy import Policy, save_policy
from tests.faults.children import in_child
from tests.faults.stages import Swept, warm_up
from tests.faults.sweep import FAULTS, first_of_each_site, sweep

RECIPE = """
name: people
compute: {precision: fp32, threads: 1}
model: {path: CHAT}
collect:
  prompts: {train: [{path: PLACE/prompts.jsonl}]}
  annotator: people
  answers: 3
  pairs_per_prompt: 2
  temperatures: [0.7, 1.0]
  max_new_tokens: 6
  keep_cut: true
"""


class Judged(Swept):
    """The run stops where it waits, anna judges one item after another at her desk, the same command goes on."""

    def work(self, folder: Path) -> int:
        code = super().work(folder)
        if code != Waiting.exit_code:
            return code
        (stage,) = folder.glob("*-collect")
        with Desk(stage, "anna") as desk:
            while (item := desk.asked_next()) is not None:
                desk.take({"id": item.id, "preferred": LEFT, "grade": "better"})
        return super().work(folder)


@pytest.fixture
def judged(tmp_path: Path, policy: Policy) -> Judged:
    warm_up()
    place = tmp_path.resolve()
    save_policy(policy, place / "chat")
    (place / "prompts.jsonl").write_text('{"prompt": "who sells bread?"}\n{"prompt": "how are you?"}\n')
    recipe = place / "people.yaml"
    recipe.write_text(RECIPE.replace("CHAT", str(place / "chat")).replace("PLACE", str(place)))
    arguments = (str(recipe),)
    whole = Judged(name="collect", finished=place / "whole", earlier=(), compared=(), arguments=arguments)
    ended = in_child(lambda: whole.work(whole.lay_out(place / "whole")))
    assert ended.code == 0, ended.output
    (stage,) = (place / "whole").glob("*-collect")
    return Judged(name="collect", finished=place / "whole", earlier=(), compared=(stage.name,), arguments=arguments)


@pytest.mark.timeout(600)
def test_kill_while_people_are_waited_for_loses_no_verdict_and_ends_equal(judged: Judged, tmp_path: Path) -> None:
    place = tmp_path.resolve() / "points"
    swing = sweep(judged, FAULTS["kill"], place, choose=lambda events: first_of_each_site(events, 1))
    assert swing.tried >= 8
    assert not swing.failures, "\n".join(swing.failures)
