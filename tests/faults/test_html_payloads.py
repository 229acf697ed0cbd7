"""S5: a run whose data is hostile in every place that reaches the report still makes a page of ours.

The run is real; what users, models, annotators and errors would have brought into its folder is put there: prompts,
answers, file names, reasons of rows set aside, notes of the recipe, names of tasks and judges, the error of a stage.
"""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment.report.visible import visible
from recipes.running.page import compare_runs, write_run_report
from tests.alignment.report.allow_list import NASTY, faults_of
from tests.alignment.report.page_reader import Page
from tests.faults.watched import Watched

HOSTILE = " ".join(text for text in NASTY if len(text) < 1000)
Spoil = Callable[[Any, Callable[[str], str]], None]


def _data(value: Any, put: Callable[[str], str]) -> None:
    source = value["sft"]["sources"][0]
    source["name"] = put("name of a data file")
    source["quarantined"] = {put("reason of a row set aside"): 3}


def _pool(value: Any, put: Callable[[str], str]) -> None:
    value["pool_origins"] = {put("version of a kept answer"): 1}


def _gatt(value: Any, put: Callable[[str], str]) -> None:
    for when in ("before", "after"):
        example = value[when]["seen"]["examples"][0]
        example["exchanges"] = [[put("user's turn"), put(f"answer {when}")]]
        example["kept"] = [True]
    value["before"]["seen"]["examples"][0]["instruction"] = put("instruction")


def _reward(value: Any, put: Callable[[str], str]) -> None:
    group = f"source:{put('file of pairs')}"
    value["accuracy"][group], value["mean_gap"][group] = value["accuracy"]["all"], 0.5
    value["safety"] = {put("name of a safety figure"): 0.5}


def _noticed(value: Any, put: Callable[[str], str]) -> None:
    value[0] |= {"flaw": put("name of a flaw"), "origin": put("file of flaws")}


def _side_by_side(value: Any, put: Callable[[str], str]) -> None:
    value["accuracy"][f"safety: {put('file of compared pairs')}"] = value["accuracy"]["safety"]


def _own_answers(value: Any, put: Callable[[str], str]) -> None:
    for entry in value["measures"]:
        entry |= {"version": put("policy that answers"), "campaign": put("campaign of prompts")}
        for best in entry["best"]:
            best["chosen"][put("reward model that chooses")] = best["chosen"].pop("helpfulness")


def _evaluation(value: Any, put: Callable[[str], str]) -> None:
    for entry in value["versions"]:
        if entry["task"] == value["versions"][1]["task"]:
            entry["task"] = put("task")
        entry["figures"][put("name of a figure")] = next(iter(entry["figures"].values()))
    value["comparisons"][0] |= {"judge": put("judge"), "figure": put("what decides")}
    for rate in value["comparisons"][0]["win_rates"]:
        rate["later"] = put("version that wins") if rate["later"] == "gatt" else rate["later"]
    for place in value["comparisons"][0]["ranking"]:
        place[0] = put("version that wins") if place[0] == "gatt" else place[0]
    value["recall"] = [
        {"version": put("version that knows"), "person_group": put("group"), "prompts": 2, "correct": entry_of(value)}
    ]


def entry_of(evaluation: Any) -> Any:
    """Some interval of an evaluation."""
    return {name: evaluation["versions"][0]["figures"]["gold.safety"][name] for name in ("value", "low", "high")}


def _answers(rows: Any, put: Callable[[str], str]) -> None:
    for row in rows:
        row |= {"system": put("system message"), "answer": put("answer"), "turns": [["user", put("prompt")]]}
        row["scores"] = {put("name of a score"): 0.5}
        row["version"] = put("version that answers")


def _failed(value: Any, put: Callable[[str], str]) -> None:
    value |= {"status": "failed", "error": put("error of a stage"), "result": {}}


def _result(value: Any, put: Callable[[str], str]) -> None:
    value["result"] |= {put("name of a result"): put("text of a result"), "headline": put("headline of a stage")}


def _recipe(value: Any, put: Callable[[str], str]) -> None:
    def allowed(place: str) -> str:  # a recipe refuses these by itself
        return "".join(sign for sign in put(place) if sign != "\0" and unicodedata.category(sign) != "Cs")

    value["description"] = allowed("notes of a recipe")
    value["sft"]["data"]["train"] = [{"path": allowed("path in a recipe")}]


FILES: dict[str, Spoil] = {
    "03-sft/data.json": _data,
    "03-sft/stage.json": _result,
    "05-reward-helpfulness/evaluation.json": _reward,
    "06-reward-safety/noticed.json": _noticed,
    "08-rlhf-v1/rejection.json": _pool,
    "10-rlhf-v2/stage.json": _failed,
    "11-gatt/gatt.json": _gatt,
    "13-evaluate/evaluation.json": _evaluation,
    "13-evaluate/answers.jsonl": _answers,
    "13-evaluate/reward_models.json": _side_by_side,
    "13-evaluate/own_answers.json": _own_answers,
    "recipe.yaml": _recipe,
}


def spoil(run: Path, text: str) -> list[str]:
    """Put `[place]text` wherever data comes into a run; returns the places."""
    places: list[str] = []

    def put(place: str) -> str:
        places.append(f"[{place}]")
        return f"[{place}]{text}"

    for name, change in FILES.items():
        path = run / name
        raw = path.read_text(encoding="utf-8")
        if name.endswith(".jsonl"):
            rows = [json.loads(line) for line in raw.splitlines()]
            change(rows, put)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif name.endswith(".yaml"):
            value = yaml.safe_load(raw)
            change(value, put)
            path.write_text(yaml.safe_dump(value).replace("${", "$${"))
        else:
            value = json.loads(raw)
            if path.name == "stage.json":
                value.pop("sha256")  # as whoever spoils it would: a record of 0.1.0 has none
            change(value, put)
            path.write_text(json.dumps(value))
    return sorted(set(places))


@pytest.fixture(scope="module")
def hostile(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A finished run, spoiled, with the report that it now makes; and the places that were spoiled."""
    return _reported(watched, tmp_path_factory.mktemp("hostile") / "run", HOSTILE)


def _reported(watched: Watched, run: Path, text: str) -> tuple[Path, list[str]]:
    shutil.copytree(watched.run, run, ignore=shutil.ignore_patterns("checkpoint*", "report", "tokenizer"))
    places = spoil(run, text)
    write_run_report(run)
    return run, places


def test_every_spoiled_place_is_on_the_page(hostile: tuple[Path, list[str]]) -> None:
    run, places = hostile
    words = Page((run / "report" / "index.html").read_text(encoding="utf-8")).named("body")[0].text
    assert [place for place in places if place not in words] == []
    assert visible(HOSTILE).split()[0] in words


def test_the_page_holds_no_script_handler_or_address_of_theirs(hostile: tuple[Path, list[str]]) -> None:
    assert faults_of((hostile[0] / "report" / "index.html").read_text(encoding="utf-8")) == []


def test_hostile_texts_change_nothing_of_the_page_but_its_words(
    hostile: tuple[Path, list[str]], watched: Watched, tmp_path: Path
) -> None:
    def skeleton(run: Path) -> list[tuple[str, tuple[str, ...]]]:
        html = (run / "report" / "index.html").read_text(encoding="utf-8")
        # drawings hold a glyph a letter
        return [(e.tag, tuple(e.attributes)) for e in Page(html).elements if "svg" not in (e.tag, *e.inside)]

    plain, _ = _reported(watched, tmp_path / "run", "plain words")
    assert len(skeleton(plain)) > 500
    assert skeleton(hostile[0]) == skeleton(plain)


def test_a_comparison_of_hostile_runs_is_a_page_of_ours(hostile: tuple[Path, list[str]], tmp_path: Path) -> None:
    run, _ = hostile
    other = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copytree(run, other)
    page = compare_runs([run, other], tmp_path / "compared").read_text(encoding="utf-8")
    assert faults_of(page) == []
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_the_markdown_of_a_hostile_run_has_no_live_tag(hostile: tuple[Path, list[str]]) -> None:
    fence, outside = "", []
    for line in (hostile[0] / "report" / "report.md").read_text(encoding="utf-8").split("\n"):
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = line[: len(line) - len(line.lstrip("`"))]
        else:
            outside.append(line)
    assert any("[reason of a row set aside]" in line.replace("\\", "") for line in outside)
    assert [line for line in outside if re.search(r"<[a-zA-Z!/?]", line)] == []
