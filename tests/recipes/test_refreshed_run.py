"""Two versions and PPO with comparisons and reward models of their own, real, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.running.runner import run
from tests.tiny_recipe import REFRESHED

pytestmark = pytest.mark.slow  # a whole run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refreshed") / "run"
    run(load_recipe("quickstart", REFRESHED), out=folder)
    return folder


def told(finished: Path, stage: str, file: str) -> Any:
    (folder,) = (path for path in finished.glob(f"[0-9][0-9]-{stage}") if path.name[3:] == stage)
    return json.loads((folder / file).read_text(encoding="utf-8"))


def test_every_stage_finishes(finished: Path) -> None:
    names = [stage.name for stage in stages_of(load_recipe("quickstart", REFRESHED))]
    assert {"collect-v2", "reward-watch-v2", "collect-v2-ppo", "reward-safety-v2-ppo"} <= set(names)
    for name in names:
        assert told(finished, name, "stage.json")["status"] == "finished", name


def test_a_later_collection_is_of_the_newest_models_answers(finished: Path) -> None:
    variants = {way.rpartition(" at ")[0] for way in told(finished, "collect-v2", "collect.json")["chosen"]}
    assert variants == {"rlhf-v1"}
    before_ppo = told(finished, "collect-v2-ppo", "collect.json")["chosen"]
    assert set(before_ppo) == {"rlhf-v2-rejection at 1"}


def test_the_page_tells_the_reward_models_version_by_version(finished: Path) -> None:
    versions = told(finished, "evaluate", "reward_versions.json")
    assert [entry["version"] for entry in versions] == ["rlhf-v1", "rlhf-v2-rejection", "rlhf-v2"]
    assert set(versions[-1]["accuracy"]) == {"helpfulness", "safety", "watch"}
    page = (finished / "report" / "report.md").read_text(encoding="utf-8")
    assert "Reward models, version by version" in page
    assert "Preferences on the policy's own answers: v2-ppo" in page


def test_the_page_tells_which_versions_keep_instructions(finished: Path) -> None:
    kept = told(finished, "evaluate", "instructions.json")
    assert [entry["version"] for entry in kept] == ["pretrain", "sft", "rlhf-v1", "rlhf-v2-rejection", "rlhf-v2"]
    page = (finished / "report" / "report.md").read_text(encoding="utf-8")
    assert "Answers that keep an instruction, by version" in page


def test_a_second_call_does_no_work(finished: Path) -> None:
    assert not run(load_recipe("quickstart", REFRESHED), out=finished).worked


def test_a_models_record_tells_all_that_it_came_from(finished: Path) -> None:
    lineage = told(finished, "rlhf-v2", "stage.json")["lineage"]
    assert lineage["policies"] == ["pretrain", "sft", "rlhf-v1", "rlhf-v2-rejection"]
    assert lineage["reward models"][-3:] == [f"reward-{role}-v2-ppo" for role in ("helpfulness", "safety", "watch")]
    assert lineage["samples"] == ["collect", "rlhf-v1", "collect-v2", "rlhf-v2-rejection", "collect-v2-ppo"]
    assert lineage["prompts"] == ["world:prompts/helpfulness", "world:prompts/safety"]
    assert lineage["annotators"] == ["world"]


def test_the_drawn_lineage_goes_through_each_versions_comparisons(finished: Path) -> None:
    report = json.loads((finished / "report" / "report.json").read_text(encoding="utf-8"))
    into = {child: {parent for parent, other in report["lineage"] if other == child} for _, child in report["lineage"]}
    assert into["collect-v2"] == {"rlhf-v1"}
    assert into["reward-safety-v2"] == {"collect-v2"}
    assert into["rlhf-v2"] == {
        "rlhf-v2-rejection",
        *(f"reward-{role}-v2-ppo" for role in ("helpfulness", "safety", "watch")),
    }


def test_the_page_names_the_reward_models_that_judged_the_evaluation(finished: Path) -> None:
    report = json.loads((finished / "report" / "report.json").read_text(encoding="utf-8"))
    names = [name for name, _ in report["judges"]]
    assert len(names) == len(set(names))
    assert "reward-safety-v2-ppo" in dict(report["judges"])["reward"]
    assert "reward-safety-v2 " not in dict(report["judges"])["reward"]


def test_a_table_of_so_many_stages_is_folded(finished: Path) -> None:
    report = json.loads((finished / "report" / "report.json").read_text(encoding="utf-8"))
    (overview,) = (section for section in report["sections"] if section["id"] == "overview")
    assert "Stages" not in {block["title"] for block in overview["blocks"]}
    (table,) = (block for block in overview["details"] if block["title"] == "Stages")
    assert "reward-safety-v2-ppo" in {row[0] for row in table["rows"]}
