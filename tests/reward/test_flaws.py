"""Flawed copies of right answers in a user's file: what is read, and what is told of a row that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import DataError
from alignment.text.tokenizer import Tokenizer
from reward.flaws import read_flaws, require_room


def written(folder: Path, *rows: Any) -> str:
    """A file of these rows."""
    path = folder / "flaws.jsonl"
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_row_has_one_flawed_copy_or_several_by_name(tmp_path: Path) -> None:
    one = {"prompt": "Who bakes?", "right": "The baker.", "flawed": "The miller.", "flaw": "wrong"}
    several = {"prompt": "Who bakes?", "right": "The baker.", "flawed": {"rude": "Find out.", "refusal": "No."}}
    unnamed = {"prompt": "Who bakes?", "right": "The baker.", "flawed": "Bread."}
    probes = read_flaws(written(tmp_path, one, several, unnamed))
    assert [dict(probe.others) for probe in probes] == [
        {"wrong": "The miller."},
        {"rude": "Find out.", "refusal": "No."},
        {"flawed": "Bread."},
    ]
    assert {(probe.right, probe.origin) for probe in probes} == {("The baker.", "flaws.jsonl")}


GOOD = {"prompt": "Who bakes?", "right": "The baker.", "flawed": "The miller."}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "Who?", "flawed": "x"}, "a missing field (right)"),
        ({"prompt": "Who?", "right": "x"}, "a missing field (flawed)"),
        ({**GOOD, "flawed": 3}, "flawed is a number, a text or a mapping was expected"),
        ({**GOOD, "flawed": {}}, "a field is empty (flawed)"),
        ({**GOOD, "flawed": {"wrong": ""}}, "an empty message (flawed.wrong)"),
        ({**GOOD, "flawed": "The  baker."}, "a flawed copy that equals the right answer (flawed.flawed)"),
        ({**GOOD, "flaw": 7}, "a flaw's name is a short text (it was '7')"),
        ("not json\n", "flaws.jsonl:2"),
    ],
)
def test_a_row_that_is_none_is_told_with_its_line(row: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_flaws(written(tmp_path, GOOD, row))
    assert "flaws.jsonl:2" in str(caught.value)
    assert told in str(caught.value)


def test_an_answer_that_does_not_fit_the_model_is_told_before_the_training(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    probes = read_flaws(written(tmp_path, GOOD, {**GOOD, "flawed": {"long": "The baker. " * 40}}))
    require_room(probes, tokenizer, 4_000)
    with pytest.raises(DataError, match=r"flaws\.jsonl:2: prompt and answer \(long\) are [\d,]+ tokens long"):
        require_room(probes, tokenizer, 60)
