"""Records mixed in by a share: how many, which, and the same ones each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from alignment.data.corpus import Loaded, load_preferences
from alignment.data.mixing import mix_in
from alignment.data.rows.written import write_records
from alignment.data.settings import DataSettings, MixSettings, SourceSettings
from alignment.data.split import Split
from alignment.records import Dialogue, LabelledAnswer, Preference, Source
from alignment.report.table import Table
from alignment.train.report import data_section

OWN, EXTRA = list(range(10)), list(range(100, 140))


def test_the_records_come_first_and_the_share_says_how_many_follow() -> None:
    for share, count in ((0.0, 0), (0.25, 2), (0.5, 5), (2.0, 20)):
        mixed = mix_in(OWN, EXTRA, share, seed=0, names=("mix",))
        assert mixed[:10] == OWN
        assert len(set(mixed[10:]) & set(EXTRA)) == len(mixed) - 10 == count
        assert mixed == sorted(mixed)


def test_where_there_are_too_few_all_are_taken_once() -> None:
    assert mix_in(OWN, EXTRA[:3], 1.0, seed=0, names=("mix",)) == [*OWN, *EXTRA[:3]]
    assert mix_in(OWN, [], 1.0, seed=0, names=("mix",)) == OWN


def test_the_draw_is_named_by_the_seed_and_its_names() -> None:
    drawn = mix_in(OWN, EXTRA, 0.5, seed=0, names=("rejection-mix", 1))
    assert drawn == mix_in(OWN, EXTRA, 0.5, seed=0, names=("rejection-mix", 1))
    assert drawn != mix_in(OWN, EXTRA, 0.5, seed=0, names=("rejection-mix", 2))
    assert drawn != mix_in(OWN, EXTRA, 0.5, seed=1, names=("rejection-mix", 1))


def pairs(name: str, count: int) -> list[Preference]:
    return [
        Preference(
            prompt=Dialogue.of(f"{name} {i}?"), chosen="yes", rejected="no", source=Source(file=name, line=i + 1)
        )
        for i in range(count)
    ]


def mixed(
    folder: Path, share: float, own: int, *others: int, seed: int = 0, split: Split | None = None
) -> Loaded[Preference | LabelledAnswer]:
    """Own pairs, and others of one source each."""
    write_records(folder / "own" / "records.jsonl", pairs("own", own))
    for i, count in enumerate(others):
        write_records(folder / f"other-{i}" / "records.jsonl", pairs(f"other-{i}", count))
    settings = DataSettings(
        train=(SourceSettings(stage="own"),),
        mix=MixSettings(sources=tuple(SourceSettings(stage=f"other-{i}") for i in range(len(others))), share=share),
    )
    return load_preferences(settings, seed=seed, split=split, stage_folder=lambda name: folder / name)


class TestByShare:
    """Llama 2 paper, 3.2.2: as many again of other data (a half), or a tenth."""

    def test_a_half_is_as_many_again_as_all_of_ones_own(self, tmp_path: Path) -> None:
        loaded = mixed(tmp_path, 0.5, 40, 300, 100)
        files = [record.source.file for record in loaded.train]
        assert files[:40] == ["own"] * 40
        assert len(files) == 80
        assert 20 <= files.count("other-0") <= 38  # 300 of 400: drawn from both together, uniformly

    def test_a_tenth_leaves_nine_tenths_ones_own(self, tmp_path: Path) -> None:
        assert len(mixed(tmp_path, 0.1, 90, 50).train) == 100

    def test_the_report_says_what_was_drawn(self, tmp_path: Path) -> None:
        report = mixed(tmp_path, 0.5, 10, 4, 3).report.as_dict()
        assert report["mixture"] == {
            "asked": 0.5,
            "share": 7 / 17,  # there were no more
            "own": {"stage:own": 10},
            "available": {"stage:other-0": 4, "stage:other-1": 3},
            "drawn": {"stage:other-0": 4, "stage:other-1": 3},
        }

    def test_the_page_shows_what_was_drawn(self, tmp_path: Path) -> None:
        told = {"reward": mixed(tmp_path, 0.5, 10, 40).report.as_dict()}
        (tmp_path / "data.json").write_text(json.dumps(told))
        tables = {
            block.title: block for block in data_section({"reward": tmp_path}).details if isinstance(block, Table)
        }
        assert [row[:5] for row in tables["Mixtures as drawn"].rows] == [
            ("reward", "stage:own", "own", 10, 10),
            ("reward", "stage:other-0", "mixed in", 40, 10),
        ]

    def test_the_draw_goes_by_the_seed(self, tmp_path: Path) -> None:
        first = mixed(tmp_path, 0.5, 10, 100).train
        assert mixed(tmp_path, 0.5, 10, 100).train == first
        assert mixed(tmp_path, 0.5, 10, 100, seed=1).train != first

    def test_what_the_split_holds_out_of_the_others_is_neither_trained_on_nor_measured_by(self, tmp_path: Path) -> None:
        loaded = mixed(tmp_path, 0.5, 100, 100, split=Split(test=0.1, validation=0.2))
        assert {record.source.file for record in (*loaded.held_out, *loaded.test)} == {"own"}
        kept = sum(loaded.report.mixture.available.values()) if loaded.report.mixture else 0
        assert 50 <= kept <= 90

    def test_a_data_set_without_a_mixture_reports_none(self, tmp_path: Path) -> None:
        write_records(tmp_path / "own" / "records.jsonl", pairs("own", 2))
        settings = DataSettings(train=(SourceSettings(stage="own"),))
        loaded = load_preferences(settings, stage_folder=lambda name: tmp_path / name)
        assert "mixture" not in loaded.report.as_dict()

    @pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
    def test_a_share_of_nothing_or_of_all_is_refused(self, share: float) -> None:
        with pytest.raises(ValidationError, match="share"):
            MixSettings(sources=(SourceSettings(stage="own"),), share=share)
