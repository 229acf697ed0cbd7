"""A study's run: what members have in common is made once, and the page puts the variants side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment.report.intervals import mean_over_seeds
from recipes.plan import stages_of
from recipes.running.record import read_record
from recipes.running.shared import take_over
from recipes.running.study import run_study
from recipes.study import Study, load_study

TEXT = """recipe: {recipe}
seeds: [0, 1]
until: reward
variants:
  none: {{reward.helpfulness.margin: none}}
  large: {{reward.helpfulness.margin: large}}
"""


@pytest.fixture
def study(tmp_path: Path, recipe_file: Path) -> Study:
    path = tmp_path / "margin.yaml"
    path.write_text(TEXT.format(recipe=recipe_file))
    return load_study(path, out=tmp_path / "study")


class Measuring(dict[str, Any]):
    """Stages that remember their calls and report a figure that depends on the variant and the seed."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __missing__(self, kind: str) -> Any:
        def work(inputs: Any, context: Any) -> dict[str, Any]:
            run = context.session.folder.parent.name
            self.calls.append(f"{run}/{context.stage.name}")
            (context.session.folder / "made").write_text(context.session.fingerprint)
            margin = 0.1 * (getattr(getattr(inputs, "settings", None), "margin", "") == "large")
            return {"accuracy": 0.5 + margin + 0.01 * context.session.seed, "seconds": 3.0}

        return work


def test_what_members_have_in_common_is_made_once_a_seed(study: Study) -> None:
    stages = Measuring()
    run_study(study, stages=stages)
    assert stages.calls == [
        *(f"none-0/{name}" for name in ("tokenizer", "pretrain", "sft", "reward-helpfulness", "reward-safety")),
        "large-0/reward-helpfulness",
        *(f"none-1/{name}" for name in ("tokenizer", "pretrain", "sft", "reward-helpfulness", "reward-safety")),
        "large-1/reward-helpfulness",
    ]


def test_a_stage_that_was_taken_over_stands_in_the_members_own_folder(study: Study) -> None:
    run_study(study, stages=Measuring())
    first, taken = (study.folder / name / "03-sft" for name in ("none-0", "large-0"))
    assert not taken.is_symlink()
    assert (taken / "made").read_text() == (first / "made").read_text()
    assert (taken / "stage.json").read_bytes() == (first / "stage.json").read_bytes()


def test_a_second_call_does_no_work(study: Study) -> None:
    run_study(study, stages=Measuring())
    again = Measuring()
    run_study(study, stages=again)
    assert again.calls == []


@pytest.mark.parametrize("damage", ["output", "record", "fingerprint"])
def test_a_siblings_stage_that_is_damaged_or_other_is_not_taken_over(study: Study, tmp_path: Path, damage: str) -> None:
    run_study(study, stages=Measuring())
    member = study.members[0]
    stage = next(stage for stage in stages_of(member.recipe) if stage.name == "sft")
    record = read_record(member.folder / stage.folder)
    assert record is not None
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    if damage == "output":
        (member.folder / stage.folder / "made").unlink()
    elif damage == "record":
        (member.folder / stage.folder / "stage.json").write_text("{")
    mark = "another" if damage == "fingerprint" else record.fingerprint
    assert take_over(stage, mark, fresh, [member.folder]) is None
    assert list(fresh.iterdir()) == []


def test_the_page_shows_each_variants_mean_and_the_differences_seed_by_seed(study: Study) -> None:
    page = run_study(study, stages=Measuring()).page
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    section = next(section for section in report["sections"] if section["id"] == "reward-helpfulness")
    mean, paired = (block for block in section["blocks"] if block["type"] == "table")
    assert mean["columns"] == ["figure", "none", "large"]
    assert [row[0] for row in mean["rows"]] == ["accuracy"]
    assert mean["rows"][0][2]["value"] == pytest.approx(0.605)
    assert paired["rows"][0][1]["value"] == pytest.approx(0.1)
    assert paired["rows"][0][1]["high"] - paired["rows"][0][1]["low"] == pytest.approx(0.0, abs=1e-9)


def test_what_no_variant_changes_stands_once_and_folded(study: Study) -> None:
    page = run_study(study, stages=Measuring()).page
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    sections = {section["id"]: section for section in report["sections"]}
    (mean,) = (block for block in sections["reward-safety"]["blocks"] if block["type"] == "table")
    assert mean["columns"] == ["figure", "every variant"]
    assert mean["rows"][0][1]["value"] == pytest.approx(0.605)
    assert {name for name, section in sections.items() if section.get("folded")} == {
        *("tokenizer", "pretrain", "sft", "reward-safety")
    }


def test_an_interval_over_seeds_is_students() -> None:
    found = mean_over_seeds([1.0, 2.0, 3.0])  # t(2) = 4.303, deviation 1
    assert (found.value, found.high - found.low) == (2.0, pytest.approx(2 * 4.303 / 3**0.5))
