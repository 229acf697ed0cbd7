"""The data of a run on its page: each data set once, whoever read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.report.table import Table
from alignment.train.report import data_section


def report(read: int, **quarantined: int) -> dict[str, Any]:
    source = {"name": "a.jsonl", "part": "train", "read": read, "records": read, "skipped": {}}
    sources = [{**source, "quarantined": quarantined}]
    return {"sources": sources, "train": read, "held_out": 2, "duplicates": 0, "overlap": 0}


def tables(folder: Path, reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Table]:
    for stage, found in reports.items():
        (folder / stage).mkdir()
        (folder / stage / "data.json").write_text(json.dumps(found))
    (folder / "nothing").mkdir()
    section = data_section({stage: folder / stage for stage in (*reports, "nothing")})
    return {block.title: block for block in section.details if isinstance(block, Table)}


def test_what_several_stages_read_alike_stands_once_with_their_names(tmp_path: Path) -> None:
    prompts = {"helpfulness": report(300), "safety": report(100)}
    found = tables(tmp_path, {"rlhf-v1": prompts, "rlhf-v2": prompts})
    assert found["Data, source by source"].rows == (
        ("helpfulness", "a.jsonl", "train", 300, 300, 0, 0, "rlhf-v1, rlhf-v2"),
        ("safety", "a.jsonl", "train", 100, 100, 0, 0, "rlhf-v1, rlhf-v2"),
    )
    assert len(found["Data after cleaning"].rows) == 2


def test_a_data_set_that_was_read_otherwise_stands_for_itself(tmp_path: Path) -> None:
    found = tables(tmp_path, {"rlhf-v1": {"helpfulness": report(300)}, "rlhf-v2": {"helpfulness": report(299)}})
    assert [row[-1] for row in found["Data, source by source"].rows] == ["rlhf-v1", "rlhf-v2"]


def test_rows_set_aside_are_listed_with_their_reason(tmp_path: Path) -> None:
    found = tables(tmp_path, {"sft": {"sft": report(9, empty=2)}})
    assert found["Rows set aside"].rows == (("a.jsonl", "empty", 2),)
