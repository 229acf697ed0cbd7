"""An annotator's file: durable at once, one process at a time, nothing in it that is no verdict; and agreement."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alignment.annotate.people.agreement import people_agree
from alignment.annotate.people.verdicts import FOLDER, VerdictFile, checked_name, read_verdicts
from alignment.errors import CheckpointError, UsageError
from alignment.store.journal import Journal
from tests.alignment.annotate.people.conftest import items, verdict

ROOT = Path(__file__).resolve().parents[4]


def test_a_verdict_is_on_the_disk_when_the_process_is_killed_and_the_next_one_goes_on(stage: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from alignment.annotate.people.desk import Desk\n"
        "desk = Desk(Path(sys.argv[1]), 'anna')\n"
        "desk.take({'id': desk.asked_next().id, 'preferred': 'left', 'grade': 'better'})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for done in (1, 2, 3):
        ended = subprocess.run([sys.executable, "-c", code, str(stage)], cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert len(read_verdicts(stage, items())["anna"]) == done


def test_a_torn_last_line_is_cut_and_its_item_asked_again(stage: Path) -> None:
    first, second, *_ = items()
    with VerdictFile(stage, "anna", items()) as file:
        file.add({first.id: verdict(first), second.id: verdict(second)})
    with file.path.open("r+b") as torn:
        torn.truncate(file.path.stat().st_size - 9)
    assert list(read_verdicts(stage, items())["anna"]) == [first.id]
    with VerdictFile(stage, "anna", items()) as file:
        assert list(file.verdicts) == [first.id]


def test_a_later_verdict_on_the_same_item_holds(stage: Path) -> None:
    item = items()[0]
    with VerdictFile(stage, "anna", items()) as file:
        file.add({item.id: verdict(item, 1)})
        file.add({item.id: verdict(item, -1)})
    assert read_verdicts(stage, items()) == {"anna": {item.id: verdict(item, -1)}}


def test_one_name_annotates_in_one_process(stage: Path) -> None:
    with (
        VerdictFile(stage, "anna", items()),
        VerdictFile(stage, "ben", items()),
        pytest.raises(UsageError, match=r"anna annotates in another process, .*; end it, or take another name"),
    ):
        VerdictFile(stage, "anna", items())
    VerdictFile(stage, "anna", items()).close()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 41, "a\n", "-a"])
def test_a_name_that_is_no_files_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"up to 40 letters, digits, _, - and \. are right"):
        checked_name(name)


def test_a_name_may_be_written_in_any_script_and_is_one_whatever_its_normal_form() -> None:
    assert checked_name("Ju\u0308rgen") == checked_name("J\u00fcrgen") == "J\u00fcrgen"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"item": "nothing"}, "is of an item that the stage does not have"),
        ({"grade": "enormously"}, "is no verdict .grade is 'enormously'"),
        ({"preferred": 2}, "is no verdict .says neither first nor second nor unsure"),
        ({"preferred": True}, "is no verdict .says neither first nor second nor unsure"),
        ({"preferred": 0}, "is no verdict .is unsure, and grade is 'better'"),
        ({"first_safe": True}, "is no verdict .first_safe is True; labels belong to the safety campaign"),
    ],
)
def test_a_line_that_is_no_verdict_stops_with_file_and_line(change: dict[str, object], why: str, stage: Path) -> None:
    row = {"item": items()[0].id, "preferred": 1, "grade": "better", "first_safe": None, "second_safe": None}
    path = stage.joinpath(*FOLDER, "anna.jsonl")
    path.parent.mkdir(parents=True)
    with Journal(path) as journal:
        journal.append_all([row, {**row, **change}])
    with pytest.raises(CheckpointError, match=f"anna.jsonl:2 {why}"):
        read_verdicts(stage, items())


def test_a_changed_verdict_is_found_by_its_checksum(stage: Path) -> None:
    with VerdictFile(stage, "anna", items()) as file:
        file.add({item.id: verdict(item) for item in items()})
    lines = file.path.read_text().splitlines(keepends=True)
    assert json.loads(lines[1])["preferred"] == 1
    file.path.write_text("".join([lines[0], lines[1].replace(":1,", ":-1,"), *lines[2:]]))
    with pytest.raises(CheckpointError, match=r"anna\.jsonl:2 was altered"):
        read_verdicts(stage, items())


def test_agreement_is_gwets_ac1_worked_out_by_hand() -> None:
    one, two, three, four, _ = items()
    anna = {item.id: verdict(item, 1) for item in (one, two, three, four)}
    ben = {one.id: verdict(one, 1), two.id: verdict(two, 1), three.id: verdict(three, -1)}
    found = people_agree({"anna": anna, "ben": ben})
    # shares over four items: first (1 + 1 + ½ + 1) / 4, second ½ / 4; chance (⅞·⅛ + 0 + ⅛·⅞) / 2
    chance = 7 / 64
    assert found.items == 3
    assert found.same == pytest.approx(2 / 3)
    assert found.ac1 == pytest.approx((2 / 3 - chance) / (1 - chance))


def test_agreement_counts_every_pair_of_an_items_annotators() -> None:
    item = items()[0]
    said = {name: {item.id: verdict(item, choice)} for name, choice in {"a": 1, "b": 1, "c": -1}.items()}
    assert people_agree(said).same == pytest.approx(1 / 3)


def test_without_an_item_that_two_judged_there_is_no_agreement() -> None:
    item = items()[0]
    assert people_agree({"anna": {item.id: verdict(item)}, "ben": {}}).ac1 is None
