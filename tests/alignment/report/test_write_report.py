"""A report is written whole, and what was there before stays if it cannot be (bar R22)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from alignment.errors import DiskFull, UsageError
from alignment.report.blocks import Facts, Report, Section
from alignment.report.page import write_report
from alignment.report.series import Figure, Series

NAMES = ["index.html", "report.json", "report.md"]


def _report(title: str = "one") -> Report:
    facts = Facts(title="f", items=(("n", 3),))
    return Report(title=title, sections=(Section(id="s", title="s", blocks=(facts,)),))


def _tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_three_twins_are_written_and_nothing_is_left_aside(tmp_path: Path) -> None:
    page = write_report(_report(), tmp_path / "deep" / "report")
    assert page == tmp_path / "deep" / "report" / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == NAMES
    assert json.loads((page.parent / "report.json").read_text(encoding="utf-8"))["title"] == "one"


def test_an_earlier_report_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    write_report(_report("one"), tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    write_report(_report("two"), tmp_path)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert all("two" in (tmp_path / name).read_text(encoding="utf-8") for name in NAMES)


def test_a_report_that_cannot_be_drawn_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(_report("one"), tmp_path)
    before = _tree(tmp_path)
    monkeypatch.setattr("alignment.report.as_html.render_svg", lambda *_, **__: 1 / 0)
    figure = Figure(title="t", kind="line", series=(Series(name="s", x=(0,), y=(1,)),), x_label="x", y_label="y")
    with pytest.raises(ZeroDivisionError):
        write_report(replace(_report("two"), sections=(Section(id="s", title="s", blocks=(figure,)),)), tmp_path)
    assert _tree(tmp_path) == before


def test_a_full_disk_leaves_the_old_report_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(_report("one"), tmp_path)
    before = _tree(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("alignment.store.atomic.os.fsync", full)
    with pytest.raises(DiskFull):
        write_report(_report("two"), tmp_path)
    assert _tree(tmp_path) == before


def test_a_report_over_a_killed_one_is_whole_again(tmp_path: Path) -> None:
    write_report(_report("one"), tmp_path)
    (tmp_path / ".aside-index.html-0123456789ab").write_text("half a pa", encoding="utf-8")
    write_report(_report("two"), tmp_path)
    identity = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["id"]
    assert all(identity in (tmp_path / name).read_text(encoding="utf-8") for name in NAMES)


@pytest.mark.parametrize("name", ["index.html", "report.json"])
def test_a_file_of_someone_else_is_never_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html>my home page</html>", encoding="utf-8")
    before = _tree(tmp_path)
    with pytest.raises(UsageError, match="no report of ours"):
        write_report(_report(), tmp_path)
    assert _tree(tmp_path) == before


def test_a_file_or_a_symbolic_link_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    before = _tree(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        write_report(_report(), tmp_path / "file")
    with pytest.raises(UsageError, match="symbolic link"):
        write_report(_report(), tmp_path / "link")
    assert _tree(tmp_path) == before


def test_a_link_in_the_place_of_the_page_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.html"
    target.write_text("mine", encoding="utf-8")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").symlink_to(target)
    with pytest.raises(UsageError, match="left alone"):
        write_report(_report(), tmp_path / "report")
    assert target.read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="cannot be written"):
            write_report(_report(), tmp_path / "report")
    finally:
        tmp_path.chmod(0o700)
