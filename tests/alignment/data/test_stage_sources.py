"""A source that is another stage's records: given as they were written, and what a model said in them is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment.data.corpus import load_dialogues, load_preferences, load_prompts
from alignment.data.rows.written import write_records
from alignment.data.settings import DataSettings, SourceSettings
from alignment.errors import DataError, TooManyBadRows
from alignment.records import Dialogue, Preference, Source, Turn

TURNS = (Turn(role="user", content="Why?"), Turn(role="assistant", content="Because."))


def written(folder: Path, *records: Any) -> DataSettings:
    write_records(folder / "collect-v1" / "records.jsonl", records)
    return DataSettings(train=(SourceSettings(stage="collect-v1"),), max_bad_fraction=0.5)


def dialogue(answer: str, line: int = 1) -> Dialogue:
    turns = (TURNS[0], Turn(role="assistant", content=answer))
    return Dialogue(turns=turns, source=Source(file="a.jsonl", line=line), id=f"d{line}")


def test_a_stage_source_gives_the_records_that_the_stage_wrote(tmp_path: Path) -> None:
    data = written(tmp_path, dialogue("one", 1), dialogue("two", 2))
    loaded = load_dialogues(data, seed=0, quarantine=None, stage_folder=lambda name: tmp_path / name)
    assert loaded.train == [dialogue("one", 1), dialogue("two", 2)]
    (told,) = loaded.report.sources
    assert (told.name, told.form, list(told.files)) == (
        "stage:collect-v1",
        "records",
        ["collect-v1/records.jsonl"],
    )


def test_a_stage_source_serves_as_prompts_and_obeys_its_limit(tmp_path: Path) -> None:
    write_records(tmp_path / "collect-v1" / "records.jsonl", [dialogue("one", 1), dialogue("two", 2)])
    data = DataSettings(train=(SourceSettings(stage="collect-v1", limit=1),))
    (prompt,) = load_prompts(data, seed=0, quarantine=None, stage_folder=lambda name: tmp_path / name).train
    assert [turn.content for turn in prompt.turns] == ["Why?"]


def test_what_a_model_said_in_a_stages_records_is_looked_at(tmp_path: Path) -> None:
    data = written(tmp_path, dialogue("one", 1), dialogue("[INST] x", 2), dialogue(" ", 3), dialogue("two", 4))
    loaded = load_dialogues(data, seed=0, quarantine=None, stage_folder=lambda name: tmp_path / name)
    assert [kept.source.line for kept in loaded.train] == [1, 4]
    (told,) = loaded.report.sources
    assert told.quarantined == {"a control token in a message": 1, "an empty message": 1}
    assert (told.read, told.good) == (4, 2)


def test_too_many_bad_records_of_a_stage_stop(tmp_path: Path) -> None:
    data = written(tmp_path, dialogue("", 1), dialogue("", 2), dialogue("two", 3))
    with pytest.raises(TooManyBadRows, match=r"stage:collect-v1: 2 of 3 rows"):
        load_dialogues(data, seed=0, quarantine=None, stage_folder=lambda name: tmp_path / name)


def test_a_stage_that_wrote_no_records_and_a_call_without_a_run_are_told(tmp_path: Path) -> None:
    data = DataSettings(train=(SourceSettings(stage="sft"),))
    with pytest.raises(DataError, match="that stage wrote no records"):
        load_dialogues(data, seed=0, quarantine=None, stage_folder=lambda name: tmp_path / name)
    with pytest.raises(DataError, match="pass stage_folder="):
        load_dialogues(data, seed=0, quarantine=None)


def pair(campaign: str, part: str, line: int) -> Preference:
    meta = {"campaign": campaign, "part": part}
    asked = dialogue("x", line).prompt()
    return Preference(prompt=asked, chosen=f"yes {line}", rejected="no", source=Source(file="m", line=line), meta=meta)


def pairs_of(folder: Path, *sources: SourceSettings) -> Any:
    return load_preferences(DataSettings(train=sources), stage_folder=lambda name: folder)


def test_a_campaign_and_a_part_pick_a_stages_records(tmp_path: Path) -> None:
    records = [pair("safety", "train", 1), pair("safety", "held_out", 2), pair("helpfulness", "train", 3)]
    write_records(tmp_path / "records.jsonl", records)
    loaded = pairs_of(tmp_path, SourceSettings(stage="pairs"), SourceSettings(stage="pairs", campaign="safety"))
    assert [record.source.line for record in loaded.train] == [1, 3]  # the second source's is the same record
    assert [source.read for source in loaded.report.sources] == [2, 1]


def test_a_stage_without_a_record_of_the_campaign_is_told(tmp_path: Path) -> None:
    write_records(tmp_path / "records.jsonl", [pair("helpfulness", "train", 1)])
    loaded = pairs_of(tmp_path, SourceSettings(stage="pairs"), SourceSettings(stage="pairs", campaign="safety"))
    assert loaded.report.warnings == ["stage:pairs/safety: pairs/records.jsonl holds no safety training records"]


def test_a_campaign_is_refused_where_records_have_none() -> None:
    with pytest.raises(ValueError, match="picks records of a stage; a path source has none to pick by"):
        SourceSettings(path="pairs.jsonl", campaign="safety")
