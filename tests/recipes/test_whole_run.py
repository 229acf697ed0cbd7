"""The shipped quickstart, shrunk by overrides to half a minute: every stage, real, end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.page import compare_runs, write_run_report
from recipes.running.runner import run
from recipes.stages.evaluate import EVALUATE
from tests.alignment.report.browser import NEEDS_BROWSER, measured
from tests.tiny_recipe import TINY

pytestmark = pytest.mark.slow  # a whole run


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("quickstart", TINY)


@pytest.fixture(scope="module")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(recipe, out=folder)
    return folder


def test_every_stage_of_the_recipe_finishes(recipe: Recipe, finished: Path) -> None:
    names = [stage.name for stage in stages_of(recipe)]
    assert names[:3] == ["tokenizer", "pretrain", "sft"]
    assert [f"rlhf-v{v}" for v in range(1, 6)] == [n for n in names if n.startswith("rlhf-v") and "rejection" not in n]
    for stage in stages_of(recipe):
        record = json.loads((finished / stage.folder / "stage.json").read_text(encoding="utf-8"))
        assert record["status"] == "finished", stage.name


def test_the_report_has_a_section_for_every_stage(recipe: Recipe, finished: Path) -> None:
    report = json.loads((finished / "report" / "report.json").read_text(encoding="utf-8"))
    sections = {section["id"]: section for section in report["sections"]}
    for stage in stages_of(recipe):
        if stage.kind.name != "report":
            assert sections[stage.name]["status"] == "finished", stage.name
    assert (finished / "report" / "index.html").stat().st_size > 50_000
    assert (finished / "report" / "report.md").exists()


def test_every_version_is_judged_by_the_gold_judge_and_by_the_reward_models(finished: Path) -> None:
    folder = next(finished.glob("*-evaluate"))
    versions = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["versions"]
    whole = {entry["version"]: entry["figures"] for entry in versions if not entry["task"]}
    assert {"pretrain", "sft", "rlhf-v1", "rlhf-v5", "gatt"} <= set(whole)
    for figures in whole.values():
        assert {"gold.helpfulness", "gold.safety", "reward.combined"} <= set(figures)


def test_the_reward_models_are_measured_on_what_the_sft_model_says(finished: Path) -> None:
    (folder,) = finished.glob("*-evaluate")
    measured = json.loads((folder / "own_answers.json").read_text())
    assert measured["judge"] == "gold"
    told = [(entry["version"], entry["campaign"], entry["prompts"]) for entry in measured["measures"]]
    assert told == [("sft", "helpfulness", 4), ("sft", "safety", 2)]
    page = (finished / "report" / "report.md").read_text(encoding="utf-8")
    assert "drew 3 answers to each of 4 held-out helpfulness prompts" in page
    assert any("best of 3 by the helpfulness model" in name for name in EVALUATE.figures(folder))


def test_a_second_call_does_no_work(recipe: Recipe, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    summary = run(recipe, out=finished)
    assert not summary.worked
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == {
        **before,
        finished / ".lock": (finished / ".lock").stat().st_mtime_ns,
    }


@pytest.mark.parametrize("name", ["02-pretrain", "03-sft", "08-rlhf-v1", "13-rlhf-v5", "14-gatt"])
def test_every_policy_loads_in_transformers_and_answers_in_the_chat_format(finished: Path, name: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = finished / name / "checkpoint"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hello!"}], return_tensors="pt", return_dict=True)
    out = model.generate(**ids, max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert out.shape[1] > ids["input_ids"].shape[1]


def report_of(run_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_folder / "report" / "report.json").read_text(encoding="utf-8"))
    return found


def test_the_page_begins_with_the_answer_and_compares_sft_with_the_last_version_not_the_last_stage(
    finished: Path,
) -> None:
    report = report_of(finished)
    sentence, figure, facts = report["top"]
    assert sentence["text"].startswith("Did alignment improve the model? ")
    assert "From sft to rlhf-v5, helpfulness " in sentence["text"]
    assert "judged by the gold judge of the embedded world, which took no part in training" in sentence["text"]
    versions = (*(f"rlhf-v{n}" for n in range(1, 5)), "rlhf-v5-rejection", "rlhf-v5")
    assert figure["categories"] == ["pretrain", "sft", *versions, "gatt"]
    assert (facts["title"], facts["categories"]) == ("Facts kept, stage by stage", figure["categories"])
    assert {key["key"].partition(", ")[2] for key in report["headline"]} == {"sft", "rlhf-v5", "rlhf-v5 less sft"}
    (line,) = (section["summary"] for section in report["sections"] if section["id"] == "evaluate")
    assert "sft" in line
    assert "-> rlhf-v5" in line


def test_data_tables_stand_once(finished: Path) -> None:
    blocks = [b for section in report_of(finished)["sections"] for b in (*section["blocks"], *section["details"])]
    titles = [block.get("title", "") for block in blocks]
    assert titles.count("Data, source by source") == titles.count("Data after cleaning") == 1


def test_the_judges_of_a_run_are_told_by_what_they_are(finished: Path) -> None:
    judges = dict(report_of(finished)["judges"])
    assert judges["gold"] == "gold judge of the embedded world (40 people, seed 0)"
    assert "reward-helpfulness " in judges["reward"]
    assert "reward-safety " in judges["reward"]


def test_a_comparison_of_two_runs_lists_the_settings_that_differ(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    recipe_file = other / "recipe.yaml"
    recipe_file.write_text(recipe_file.read_text().replace("num_prompts: 6", "num_prompts: 7"))
    write_run_report(other)
    compare_runs([finished, other], tmp_path / "compared")
    report = json.loads((tmp_path / "compared" / "report.json").read_text())
    tables = {block["title"]: block for block in report["sections"][0]["blocks"] if "title" in block}
    assert tables["Settings that differ"]["rows"] == [["evaluate.num_prompts", "6", "7"]]


class TestInABrowser:
    """The page of a whole run as a reader meets it."""

    pytestmark = NEEDS_BROWSER

    def test_it_is_under_12000_pixels_high_with_its_details_folded(self, finished: Path, tmp_path: Path) -> None:
        html = (finished / "report" / "index.html").read_text(encoding="utf-8")
        assert measured(html, tmp_path, width=1280)["height"] < 12_000

    def test_no_table_is_cut_and_nothing_sticks_out(self, finished: Path, tmp_path: Path) -> None:
        seen = measured((finished / "report" / "index.html").read_text(encoding="utf-8"), tmp_path, width=1280)
        assert (seen["cut"], seen["outside"]) == ([], [])


def test_a_report_is_written_of_metrics_that_are_cut_in_the_middle_of_a_line(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for path in folder.glob("*/metrics.jsonl"):
        path.write_bytes(path.read_bytes()[:-5])
    page = write_run_report(folder)
    sections = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))["sections"]
    assert {section["id"] for section in sections} >= {"sft", "rlhf-v5", "evaluate"}


def test_a_report_of_a_run_without_some_stages_says_so(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for name in ("14-gatt", "15-evaluate"):
        shutil.rmtree(folder / name)
    page = write_run_report(folder)
    sections = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))["sections"]
    missing = {section["id"] for section in sections if section["status"] == "missing"}
    assert missing == {"gatt", "evaluate"}


def test_the_page_shows_who_wins_which_facts_are_known_and_how_annotators_agree(finished: Path) -> None:
    text = (finished / "report" / "report.md").read_text(encoding="utf-8")
    for title in ("Who wins, gold judge", "Facts told rightly", "Agreement of the simulated annotators"):
        assert title in text


def test_the_page_shows_what_the_reward_models_are_worth(finished: Path) -> None:
    text = (finished / "report" / "report.md").read_text(encoding="utf-8")
    for title in (
        "The unsafe side by threshold",
        "the recipe's threshold, 0.15",
        "Calibration on safety labels",
        "Length bias",
        "Reward models on each other's held-out pairs",
    ):
        assert title in text
    safety = json.loads((next(finished.glob("*-reward-safety")) / "noticed.json").read_text(encoding="utf-8"))
    assert {entry["origin"] for entry in safety} == {"world:helpfulness", "world:safety"}
