"""A real run whose outside annotator goes away: it ends with a code of its own, and goes on when the model is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.data.rows.written import RECORDS_FILE, read_records
from alignment.errors import Unreachable
from alignment.policy.policy import Policy, save_policy
from recipes.cli import main
from tests.alignment.evaluate.conftest import Endpoint
from tests.alignment.evaluate.conftest import endpoint as endpoint
from tests.alignment.evaluate.conftest import paused as paused

RECIPE = """
name: outside
compute: {precision: fp32, threads: 1}
model: {path: CHAT}
collect:
  prompts: {train: [{path: prompts.jsonl}]}
  annotator: {url: 'URL', model: m, price_sent: 1.5}
  answers: 3
  pairs_per_prompt: 2
  temperatures: [0.7, 1.0]
  max_new_tokens: 6
  keep_cut: true
"""


def align(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(str(ended.value.code))


def test_a_run_whose_annotator_is_down_stops_cleanly_and_goes_on_later(
    tmp_path: Path,
    policy: Policy,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_policy(policy, tmp_path / "chat")
    Path("prompts.jsonl").write_text('{"prompt": "who sells bread?"}\n{"prompt": "how are you?"}\n', encoding="utf-8")
    recipe = RECIPE.replace("CHAT", str(tmp_path / "chat")).replace("URL", endpoint.url)
    Path("my.yaml").write_text(recipe, encoding="utf-8")
    command = ("run", "my.yaml", "--out", "run", "--until", "collect")
    better = ["[[A better]]", "[[B better]]"]
    endpoint.replies = [*better * 5, *[503] * 15]  # the probes and one pair; then nothing for as long as it is asked
    assert align(*command) == Unreachable.exit_code
    assert "the stage goes on from them" in capsys.readouterr().err.replace("\n", " ")
    endpoint.replies = better * 20
    assert align(*command) == 0
    (stage,) = Path("run").glob("*-collect")
    drawn = len(list(read_records(stage / RECORDS_FILE)))
    assert len(better * 20) - len(endpoint.replies) == 2 * (drawn - 1)  # what was judged before is not paid for twice
