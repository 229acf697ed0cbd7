"""R22: what was there stays: no run and no report is written over, a killed report is the old one or the new one."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from alignment.report.blocks import Facts, Report, Section
from alignment.report.page import write_report
from alignment.store import atomic
from alignment.store.atomic import ASIDE, KEPT, clear_leftovers
from recipes.cli import main

TWINS = ("index.html", "report.json", "report.md")


def tree(folder: Path) -> dict[str, str]:
    """Every entry below a folder with its kind, content and permissions."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            fact = f"link to {path.readlink()}"
        elif path.is_dir():
            fact = "folder"
        else:
            fact = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.relative_to(folder).as_posix()] = f"{path.lstat().st_mode:o} {fact}"
    return found


def align(*arguments: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _other_folder(place: Path) -> None:
    place.mkdir()
    (place / "thesis.tex").write_text("years of work")
    (place / "01-tokenizer").mkdir()


def _file(place: Path) -> None:
    place.write_text("a file")


def _link_to_a_folder(place: Path) -> None:
    (place.parent / "target").mkdir()
    place.symlink_to(place.parent / "target")


def _link_to_nowhere(place: Path) -> None:
    place.symlink_to(place.parent / "nowhere")


def _link_to_a_run(place: Path) -> None:
    (place.parent / "target").mkdir()
    (place.parent / "target" / "run.json").write_text('{"version": 1, "name": "x", "made": "then"}')
    place.symlink_to(place.parent / "target")


def _below_a_file(place: Path) -> None:
    place.parent.rmdir()
    place.parent.write_text("a file")


PLACES = [_other_folder, _file, _link_to_a_folder, _link_to_nowhere, _link_to_a_run, _below_a_file]


@pytest.mark.parametrize("make", PLACES)
@pytest.mark.parametrize("verb", [("run",), ("run", "--redo"), ("tokenizer",), ("sft",)], ids=" ".join)
def test_a_place_that_is_no_run_is_refused_and_nothing_touched(
    make: Callable[[Path], None], verb: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "here" / "run"
    place.parent.mkdir()
    make(place)
    before = tree(tmp_path)
    assert align(verb[0], "quickstart", "--out", str(place), *verb[1:]) == 2
    assert tree(tmp_path) == before
    said = capsys.readouterr().err
    assert "run" in said
    assert "Traceback" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; /proc stands in for it below")
def test_a_read_only_place_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert align("run", "quickstart", "--out", str(tmp_path / "run")) == 2
        assert tree(tmp_path) == {}
    finally:
        tmp_path.chmod(0o700)


def test_a_place_where_nothing_can_be_made_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert align("run", "quickstart", "--out", "/proc/align-run") == 2
    assert "choose another place with --out" in capsys.readouterr().err.replace("\n", " ")


def _report(title: str) -> Report:
    facts = Facts(title="f", items=(("n", 3),))
    return Report(title=title, sections=(Section(id="s", title="s", blocks=(facts,)),))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A folder with an old report, and things of the user's beside it."""
    folder = tmp_path / "report"
    write_report(_report("old"), folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "compared" / "deep").mkdir(parents=True)
    (folder / "compared" / "deep" / "plot.svg").write_text("<svg/>")
    (folder / "newest").symlink_to("notes.txt")
    (folder / "dangling").symlink_to("nowhere")
    return folder


def _die_at(number: int, patch: pytest.MonkeyPatch) -> None:
    """Kill this process at its n-th step towards the disk: a flush, a rename, a link, a removal or the exchange."""
    count = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return step

    for owner, names in (
        (os, ("fsync", "rename", "replace", "link", "mkdir", "unlink", "rmdir")),
        (atomic, ("exchange",)),
    ):
        for name in names:
            patch.setattr(owner, name, counted(getattr(owner, name)))


def _killed_while_writing(folder: Path, number: int, patch: pytest.MonkeyPatch) -> bool:
    """Write the new report in a child that dies at its n-th step; False once there are no more steps."""
    child = os.fork()
    if child == 0:
        try:
            _die_at(number, patch)
            write_report(_report("new"), folder)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_kill_at_any_step_of_a_report_leaves_the_old_one_or_the_new_one_whole(
    can_exchange: bool, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a kill takes no written page with it
    if not can_exchange:  # as on a system without renameat2; the next start puts the old folder back
        monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    new = tmp_path / "new"
    write_report(_report("new"), new)
    old_twins, new_twins = ({name: tree(folder)[name] for name in TWINS} for folder in (report, new))
    mine = {name: fact for name, fact in tree(report).items() if name not in TWINS}
    seen, number = set(), 1
    while _killed_while_writing(report, number, monkeypatch):
        if not report.exists():
            assert not can_exchange
            seen.add("gone for a moment")
        clear_leftovers(tmp_path)
        found = tree(report)
        twins = {name: found.pop(name) for name in TWINS}
        assert found == mine, f"step {number}"
        assert twins in (old_twins, new_twins), f"step {number}: half old, half new"
        seen.add("old" if twins == old_twins else "new")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "report"]
        write_report(_report("old"), report)
        number += 1
    assert number > 15
    assert seen == {"old", "new"} | (set() if can_exchange else {"gone for a moment"})
    assert {name: tree(report)[name] for name in TWINS} == new_twins  # the last child was not killed


def test_the_next_writer_puts_the_old_folder_back_before_it_begins(report: Path, tmp_path: Path) -> None:
    before = tree(report)
    report.rename(atomic.kept_path(report))  # as after a kill between the two renames
    with pytest.raises(KeyError), atomic.staged_folder(report, replace=True):
        raise KeyError("the writer's own error")
    assert tree(report) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_report_in_a_folder_of_other_things_or_in_the_current_one_takes_nobodys_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("others", "current"):
        (tmp_path / name).mkdir()
    (tmp_path / "others" / "thesis.tex").write_text("years of work")
    write_report(_report("old"), tmp_path / "current")
    monkeypatch.chdir(tmp_path / "current")
    for name in ("others", "current"):
        place = (tmp_path / name).stat().st_ino
        write_report(_report("new"), tmp_path / name)
        assert (tmp_path / name).stat().st_ino == place
        assert "new" in (tmp_path / name / "report.md").read_text()
    assert (tmp_path / "others" / "thesis.tex").read_text() == "years of work"


def test_where_no_folder_can_stand_beside_the_files_are_written_in_place(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount point cannot be renamed, a file system without links cannot give a second name."""
    for call in ("alignment.store.atomic.exchange", "os.link"):
        with monkeypatch.context() as patch:
            patch.setattr(call, _refuses)
            write_report(_report(f"without {call}"), report)
        assert f"without {call}" in (report / "index.html").read_text()
        assert (report / "notes.txt").read_text() == "mine"
        assert not [path for path in report.parent.iterdir() if path.name.startswith((ASIDE, KEPT))]


def _refuses(*_: object, **__: object) -> bool:
    raise PermissionError(1, "Operation not permitted")


def test_a_run_folder_with_a_report_of_somebody_else_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("<html>my home page</html>")
    before = tree(tmp_path)
    with pytest.raises(Exception, match="no report of ours"):
        write_report(_report("new"), tmp_path / "report")
    assert tree(tmp_path) == before
