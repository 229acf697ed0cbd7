"""`align annotate`: a run that waits for people, what they are told, and that it goes on with their verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import recipes.cli.run
import recipes.running.runner
from alignment.annotate.people.annotator import PeopleAnnotator
from alignment.annotate.people.items import ITEMS_FILE, read_items
from alignment.annotate.people.server import PageServer
from alignment.annotate.people.verdicts import VerdictFile, read_verdicts
from alignment.store.lock import RunLock
from recipes.running.record import read_record
from recipes.stages.context import StageContext
from tests.alignment.annotate.people.conftest import questions, verdict
from tests.recipes.cli.test_cli import call

COLLECT = """
collect:
  prompts: {train: [{world: prompts/helpfulness}]}
  annotator: people
  temperatures: [0.7, 1.0]
"""


def hands_out(context: StageContext) -> None:
    """The part of the stage that people see."""
    PeopleAnnotator(context.session, ask=f"align annotate {context.session.folder.parent}").hand_out(questions(), [])


@pytest.fixture
def waiting(recipe_file: Path, stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that has come to its people."""
    real = recipes.running.runner.run
    monkeypatch.setattr(recipes.cli.run, "run", lambda *args, **more: real(*args, **{**more, "stages": stages}))
    monkeypatch.setattr(recipes.cli.run, "machine_line", lambda recipe: "machine: fake")
    recipe_file.write_text(recipe_file.read_text(encoding="utf-8") + COLLECT, encoding="utf-8")
    stages.before["collect"] = hands_out
    assert call("run", str(recipe_file), "--out", str(tmp_path / "run")) == 6
    return tmp_path / "run"


def stage_of(run: Path) -> Path:
    return next(run.glob("*-collect"))


def judged(run: Path) -> None:
    """Anna judges all."""
    items = read_items(stage_of(run) / ITEMS_FILE)
    with VerdictFile(stage_of(run), "anna", items) as file:
        file.add({item.id: verdict(item) for item in items})


def filled(run: Path, file: Path) -> list[dict[str, Any]]:
    """An export with a verdict in every line."""
    assert call("annotate", str(run), "--export", str(file)) == 0
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row |= {"preferred": "first", "grade": "better"}
        if row["campaign"] == "safety":
            row |= {"first_safe": True, "second_safe": True}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows


def test_the_run_stops_as_one_that_goes_on_and_says_the_command(
    waiting: Path, recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", str(recipe_file), "--out", str(waiting)) == 6
    told = capsys.readouterr().err.replace("\n", " ")
    why = f"5 of 5 items wait for people's verdicts: `align annotate {waiting}` asks for them"
    assert why in told
    assert "error:" not in told
    record = read_record(stage_of(waiting))
    assert record is not None
    assert record.status == "interrupted"
    assert record.error is not None
    assert record.error.startswith(why)


def test_the_same_command_goes_on_once_all_is_judged(waiting: Path, recipe_file: Path, stages: Any) -> None:
    stages.calls.clear()
    assert call("run", str(recipe_file), "--out", str(waiting)) == 6
    assert stages.calls == ["collect"]
    judged(waiting)
    assert call("run", str(recipe_file), "--out", str(waiting)) == 0
    record = read_record(stage_of(waiting))
    assert record is not None
    assert (record.status, record.error) == ("finished", None)
    assert stages.calls[-1] == "report"


def test_what_was_exported_and_filled_is_taken_in_and_the_next_command_told(
    waiting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "work.jsonl"
    filled(waiting, file)
    told = capsys.readouterr().out
    assert f"align annotate {waiting} --import {file} --name NAME" in told
    assert call("annotate", str(waiting), "--import", str(file), "--name", "anna") == 0
    told = capsys.readouterr().out
    assert "new verdicts: 5 of anna; 0 were known, 0 lines are open" in told
    assert f"every item has a verdict; go on with\nalign run {waiting / 'recipe.yaml'} --out {waiting}" in told


def test_a_wrong_line_takes_nothing_and_ends_with_an_error(
    waiting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "work.jsonl"
    rows = filled(waiting, file)
    rows[2]["grade"] = "much"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert call("annotate", str(waiting), "--import", str(file), "--name", "anna") not in (0, 1)
    assert f"{file}:3: grade is 'much'" in capsys.readouterr().err
    assert read_verdicts(stage_of(waiting), read_items(stage_of(waiting) / ITEMS_FILE)) == {}


def test_agreement_is_told_where_two_judged(waiting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "work.jsonl"
    filled(waiting, file)
    for name in ("anna", "ben"):
        assert call("annotate", str(waiting), "--import", str(file), "--name", name) == 0
    told = capsys.readouterr().out
    assert "verdicts by annotator: anna 5, ben 5" in told
    assert "on 5 items that several judged they prefer the same in 100% (Gwet's AC1 1.00)" in told


def test_the_page_is_served_until_somebody_ends_it(
    waiting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(self: PageServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", ended)
    assert call("annotate", str(waiting), "--port", "0", "--name", "anna") == 0
    told = capsys.readouterr().out
    assert "anna has judged 0, 5 wait: open http://127.0.0.1:" in told
    assert "5 of 5 items have no verdict" in told


def test_people_may_judge_while_a_process_works_on_the_run(waiting: Path, tmp_path: Path) -> None:
    file = tmp_path / "work.jsonl"
    filled(waiting, file)
    with RunLock(waiting):
        assert call("annotate", str(waiting), "--import", str(file), "--name", "anna") == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--stage", "sft"), "--stage is 'sft', which has no items for people; collect is right"),
        (("--export", "a.jsonl", "--import", "b.jsonl"), "give one of the two"),
        (("--name", "../x"), "the annotator's name is '../x'"),
        (("--import", "nowhere.jsonl", "--name", "anna"), "nowhere.jsonl"),
    ],
)
def test_what_cannot_be_asked_is_told(
    arguments: tuple[str, ...], why: str, waiting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call("annotate", str(waiting), *arguments) not in (0, 1)
    assert why in capsys.readouterr().err.replace("\n", " ")


def test_a_finished_stage_takes_no_more_and_still_exports(
    waiting: Path, recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(waiting)
    assert call("run", str(recipe_file), "--out", str(waiting)) == 0
    file = tmp_path / "work.jsonl"
    filled(waiting, file)
    assert call("annotate", str(waiting), "--import", str(file), "--name", "ben") not in (0, 1)
    assert "is finished, and its preferences rest on the verdicts that it has" in capsys.readouterr().err


def test_a_run_without_items_for_people_is_told(
    recipe_file: Path, stages: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from recipes.load import load_recipe

    recipes.running.runner.run(load_recipe(recipe_file), out=tmp_path / "run", stages=stages, until="sft")
    assert call("annotate", str(tmp_path / "run")) not in (0, 1)
    assert "has items for people; one whose annotator is `people` writes them" in capsys.readouterr().err
