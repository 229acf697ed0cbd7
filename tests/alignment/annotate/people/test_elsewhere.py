"""Items exported and imported: what comes back is all right, or nothing of it is taken and every fault has its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment.annotate.people.elsewhere import TakenIn, export_items, import_verdicts
from alignment.annotate.people.items import ITEMS_FILE, write_items
from alignment.annotate.people.verdicts import VerdictFile, read_verdicts
from alignment.errors import DataError, UsageError
from tests.alignment.annotate.people.conftest import items

Rows = list[dict[str, Any]]


@pytest.fixture
def filled(stage: Path, tmp_path: Path) -> Rows:
    """What was exported, with a verdict in every line."""
    file = tmp_path / "out.jsonl"
    assert export_items(stage, file) == 5
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row |= {"preferred": "second", "grade": "slightly"}
        if row["campaign"] == "safety":
            row |= {"first_safe": False, "second_safe": True}
    return rows


def brought(rows: Rows, folder: Path) -> Path:
    file = folder / "back.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_what_was_exported_and_filled_comes_back_as_verdicts(stage: Path, tmp_path: Path, filled: Rows) -> None:
    assert import_verdicts(stage, brought(filled, tmp_path), "anna") == TakenIn(taken={"anna": 5}, known=0, open=0)
    said = read_verdicts(stage, items())["anna"]
    assert {verdict.preferred for verdict in said.values()} == {-1}
    labels = {(verdict.first_safe, verdict.second_safe) for verdict in said.values()}
    assert labels == {(None, None), (False, True)}


def test_an_export_is_blind_and_asks_for_what_is_to_be_filled_in(stage: Path, tmp_path: Path) -> None:
    export_items(stage, tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    shown = {"id", "campaign", "prompt", "first", "second"}
    assert set(row) == shown | {"preferred", "grade", "first_safe", "second_safe"}


def test_an_export_overwrites_nothing(stage: Path, tmp_path: Path) -> None:
    work = tmp_path / "out.jsonl"
    work.write_text("somebody's work")
    with pytest.raises(UsageError, match="exists already, and may hold somebody's work"):
        export_items(stage, work)
    assert work.read_text() == "somebody's work"


def test_ids_and_verdicts_are_enough_and_other_members_are_nobodys_matter(
    stage: Path, tmp_path: Path, filled: Rows
) -> None:
    needed = ("id", "preferred", "grade", "first_safe", "second_safe")
    rows = [{**{name: row[name] for name in needed}, "lead_time": 3.5} for row in filled]
    assert import_verdicts(stage, brought(rows, tmp_path), "anna").taken == {"anna": 5}


def test_lines_still_open_are_passed_over(stage: Path, tmp_path: Path, filled: Rows) -> None:
    filled[0] |= {"preferred": None, "grade": None}
    assert import_verdicts(stage, brought(filled, tmp_path), "anna") == TakenIn(taken={"anna": 4}, known=0, open=1)


def test_the_same_file_twice_changes_nothing(stage: Path, tmp_path: Path, filled: Rows) -> None:
    file = brought(filled, tmp_path)
    import_verdicts(stage, file, "anna")
    before = read_verdicts(stage, items())
    assert import_verdicts(stage, file, "anna") == TakenIn(taken={}, known=5, open=0)
    assert read_verdicts(stage, items()) == before


def test_two_annotators_on_one_item_are_both_kept(stage: Path, tmp_path: Path, filled: Rows) -> None:
    rows = [{**row, "annotator": name} for row in filled for name in ("anna", "ben")]
    assert import_verdicts(stage, brought(rows, tmp_path)).taken == {"anna": 5, "ben": 5}


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row.pop(name)


def put(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row.update(values)


@pytest.mark.parametrize(
    ("line", "change", "why"),
    [
        (2, put(id="0" * 24), "there is no item '000000000000000000000000' here; it is another run's"),
        (2, put(id=7), "there is no item 7 here"),
        (2, without("id"), "has no id"),
        (2, put(preferred="A"), "preferred is 'A'; first, second, unsure are right"),
        (2, put(preferred=1), "preferred is 1; first, second, unsure are right"),
        (2, put(preferred=["first"]), "preferred is ['first']; first, second, unsure are right"),
        (2, put(preferred=None), "has a grade or a label and no preferred"),
        (2, put(grade="much"), "grade is 'much'; negligibly, slightly, better, significantly are right"),
        (2, put(grade=None), "grade is None; negligibly, slightly"),
        (2, put(preferred="unsure"), "is unsure, and grade is 'slightly'"),
        (2, put(first_safe=True), "first_safe is True; labels belong to the safety campaign, this item is of helpful"),
        (4, put(second_safe=None), "second_safe is None; in the safety campaign true or false is needed"),
        (5, put(first_safe="yes"), "first_safe is 'yes'; in the safety campaign true or false is needed"),
        (3, put(first="other"), "is not what was exported; restore it, or leave it out"),
        (3, put(annotator="ben"), "annotator is 'ben', and --name says 'anna'; leave one of the two out"),
        (3, put(annotator="../x"), "the annotator's name is '../x'"),
        (3, put(annotator=3.5), "annotator is '3.5', and --name says 'anna'"),
    ],
)
def test_a_line_that_cannot_be_taken_is_told_and_none_is_taken(
    line: int, change: Callable[[dict[str, Any]], Any], why: str, stage: Path, tmp_path: Path, filled: Rows
) -> None:
    change(filled[line - 1])
    with pytest.raises(DataError) as caught:
        import_verdicts(stage, brought(filled, tmp_path), "anna")
    (told,) = str(caught.value).splitlines()[1:]
    assert f"back.jsonl:{line}: " in told
    assert why in told
    assert read_verdicts(stage, items()) == {}


def test_all_faults_are_told_at_once(stage: Path, tmp_path: Path, filled: Rows) -> None:
    filled[0]["grade"], filled[4]["preferred"] = "much", "both"
    with pytest.raises(DataError, match=r"nothing is taken of .*, 2 lines of which cannot be:\n.*:1: .*\n.*:5: "):
        import_verdicts(stage, brought(filled, tmp_path), "anna")


def test_doubles_are_told_with_both_lines(stage: Path, tmp_path: Path, filled: Rows) -> None:
    rows = [*filled, {**filled[1], "preferred": "first"}]
    with pytest.raises(DataError, match=r":6: anna judges item \w+ here and in line 2; one verdict is right"):
        import_verdicts(stage, brought(rows, tmp_path), "anna")


def test_another_runs_items_are_unknown(stage: Path, tmp_path: Path, filled: Rows) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_items(other / ITEMS_FILE, items("run-b"))
    with pytest.raises(DataError, match=r"5 lines .*\n.*:1: there is no item '\w+' here; it is another run's"):
        import_verdicts(other, brought(filled, tmp_path), "anna")


def test_a_verdict_that_contradicts_an_earlier_one_is_refused(stage: Path, tmp_path: Path, filled: Rows) -> None:
    import_verdicts(stage, brought(filled, tmp_path), "anna")
    filled[0]["preferred"] = "first"
    with pytest.raises(DataError, match=r":1: anna has judged item \w+ already, and otherwise"):
        import_verdicts(stage, brought(filled, tmp_path), "anna")


def test_a_verdict_of_nobody_is_refused(stage: Path, tmp_path: Path, filled: Rows) -> None:
    with pytest.raises(DataError, match=":1: nobody says whose verdict it is; add annotator to the line, or give"):
        import_verdicts(stage, brought(filled, tmp_path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[1]\n", ":1: is no JSON object"),
        (b"{\n", ":1: is no JSON object"),
        (b"\n\n", "holds no line"),
        (b"[" * 100_000, ":1: is no JSON object"),
    ],
)
def test_a_file_that_is_no_json_lines_is_refused(text: bytes, why: str, stage: Path, tmp_path: Path) -> None:
    file = tmp_path / "back.jsonl"
    file.write_bytes(text)
    with pytest.raises(DataError, match=why):
        import_verdicts(stage, file, "anna")


def test_nobodys_verdicts_are_taken_while_one_of_them_is_at_work(stage: Path, tmp_path: Path, filled: Rows) -> None:
    rows = [{**row, "annotator": name} for row in filled for name in ("anna", "ben")]
    with VerdictFile(stage, "ben", items()), pytest.raises(UsageError, match="ben annotates in another process"):
        import_verdicts(stage, brought(rows, tmp_path))
    assert not any(read_verdicts(stage, items()).values())
