"""A missing or different file of the data folder is named with its public origin."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from alignment.data.catalogue.origins import (
    compare_folder,
    describe_different,
    describe_missing,
    main,
    origins_table,
    read_origins,
)
from alignment.data.corpus import load_dialogues
from alignment.data.settings import DataSettings, SourceSettings
from alignment.errors import DataError

DOLLY = "sft/dolly_3k.jsonl.gz"


def test_every_file_has_a_hash_a_licence_and_an_origin() -> None:
    origins = read_origins()
    assert len({origin.path for origin in origins}) == len(origins) > 20
    for origin in origins:
        assert re.fullmatch(r"[0-9a-f]{64}", origin.sha256)
        assert re.fullmatch(r"[0-9a-f]{64}", origin.content_sha256)
        assert origin.origin
        assert origin.licence


def test_a_missing_file_of_the_folder_is_named_with_repository_commit_licence_and_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNMENT_DATA", str(tmp_path))
    source = SourceSettings(path=str(tmp_path / DOLLY))
    with pytest.raises(DataError) as error:
        load_dialogues(DataSettings(train=(source,)), seed=0, quarantine=None)
    origin = next(origin for origin in read_origins() if origin.path == DOLLY)
    for part in (
        origin.origin,
        origin.origin_path,
        origin.commit,
        origin.licence,
        origin.sha256,
        str(tmp_path),
    ):
        assert part in str(error.value)


def test_a_missing_glob_names_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNMENT_DATA", str(tmp_path))
    told = describe_missing(tmp_path / "text" / "books" / "*.txt.gz")
    assert told is not None
    assert "12 files" in told
    assert "moby-dick.txt.gz" in told


def test_a_path_outside_the_table_has_no_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIGNMENT_DATA", raising=False)
    assert describe_missing("my/own/rows.jsonl") is None
    assert describe_missing(f"anywhere/{DOLLY}") is not None


def test_a_different_file_is_told_and_the_same_rows_packed_anew_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNMENT_DATA", str(tmp_path))
    path = tmp_path / DOLLY
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b'{"instruction": "a", "output": "b"}\n'))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    told = describe_different(path, sha256)
    assert told is not None
    assert "differs from the file that the recipes were measured with" in told
    assert "gpt4life/alpagasus" in told
    source = SourceSettings(path=str(path))
    report = load_dialogues(DataSettings(train=(source,)), seed=0, quarantine=None).report
    assert report.warnings == [told]
    content = hashlib.sha256(b'{"instruction": "a", "output": "b"}\n').hexdigest()
    origin = next(origin for origin in read_origins() if origin.path == DOLLY)
    changed = replace(origin, content_sha256=content)
    monkeypatch.setattr("alignment.data.catalogue.origins.read_origins", lambda: (changed,))
    assert describe_different(path, sha256) is None


def test_a_folder_is_compared_file_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert all(state.startswith("missing; from ") for _, state in compare_folder(tmp_path))
    assert main([str(tmp_path)]) == 1
    assert f"{DOLLY}: missing; from gpt4life/alpagasus" in capsys.readouterr().out


def test_the_table_in_the_documentation_is_the_one_that_the_command_prints() -> None:
    page = (Path(__file__).parents[4] / "docs" / "data.md").read_text(encoding="utf-8")
    assert origins_table() in page
