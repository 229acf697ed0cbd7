"""A path or glob as files: Python's own glob where there is nothing odd, a sentence where there is."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from alignment.data.rows.find import find_files
from alignment.data.settings import SourceSettings
from alignment.errors import DataError


def found(pattern: Path | str) -> list[str]:
    return [str(path) for path in find_files(SourceSettings(path=str(pattern)))]


def refused(pattern: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        found(pattern)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jsonl", "b.jsonl", "b.json", ".hidden.jsonl", "in/c.jsonl", "in/deep/d.jsonl", ".off/e.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "x[1].jsonl").touch()
    (tmp_path / "linked").symlink_to("in", target_is_directory=True)
    (tmp_path / "c.link.jsonl").symlink_to("in/c.jsonl")
    return tmp_path


PATTERNS = (
    *("*.jsonl", "**/*.jsonl", "**", "*/*.jsonl", "in/**/d.*", "**/deep/**", "[ab].json*", ".*.jsonl"),
    *("./in/../*.json", "x[[]1].jsonl", "?.jsonl", "in/c.jsonl", "**/**/*.jsonl", "linked/*"),
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_glob_finds_what_pythons_own_finds(folder: Path, pattern: str) -> None:
    names = glob.glob(str(Path(folder / pattern)), recursive=True)  # noqa: PTH207
    expected = sorted({name for name in names if Path(name).is_file()}, key=Path)
    assert found(folder / pattern) == expected
    assert expected


def test_a_relative_glob_is_seen_from_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert found("in/**/*.jsonl") == ["in/c.jsonl", "in/deep/d.jsonl"]


def test_a_link_to_a_folder_above_is_followed_once(folder: Path) -> None:
    (folder / "in" / "round").symlink_to(folder, target_is_directory=True)
    assert sum(path.endswith("/d.jsonl") for path in found(folder / "**" / "d.jsonl")) <= 4


def test_a_pipe_a_device_and_links_that_lead_nowhere_are_called_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    (tmp_path / "one.jsonl").symlink_to("other.jsonl")
    (tmp_path / "other.jsonl").symlink_to("one.jsonl")
    (tmp_path / "dangling.jsonl").symlink_to("nothing.jsonl")
    for name, what in {
        "pipe": "is a pipe; a regular file is needed",
        "zero": "is a device; a regular file is needed",
        "one": "is a link that leads in a circle",
        "dangling": "is a link to nothing.jsonl, which cannot be reached (No such file or directory)",
    }.items():
        assert what in refused(tmp_path / f"{name}.jsonl")


def test_what_is_no_file_among_a_globs_matches_is_told_and_not_passed_over(folder: Path) -> None:
    (folder / "z.jsonl").symlink_to("moved-away.jsonl")
    assert f"finds {folder}/z.jsonl, which is a link to moved-away.jsonl" in refused(folder / "*.jsonl")


def test_a_glob_that_leads_through_a_whole_disk_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignment.data.rows.find.MOST_NAMES", 5)
    assert "name the folder more closely" in refused(folder / "**" / "*.txt")
    assert found(folder / "in" / "*.jsonl")
