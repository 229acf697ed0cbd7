"""Writes are whole or absent: an old file survives a failing write, a folder appears complete or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from alignment.errors import DiskFull
from alignment.store import atomic
from alignment.store.atomic import (
    aside_path,
    clear_leftovers,
    remove_folder,
    staged_folder,
    write_bytes,
    write_json,
    write_text,
)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_that_is_removed_is_gone_also_if_the_flush_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("x")

    def fail(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("alignment.store.atomic.flush_folder", fail)
    with pytest.raises(OSError, match="No space"):
        remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_with_its_parents_and_nothing_is_left_aside(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "file", b"content")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"
    assert _names(tmp_path / "a" / "b") == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_the_old_file_survives_a_write_that_fails(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    if call == "fsync":
        monkeypatch.setattr(atomic.os, "fsync", broken)
    else:
        monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="Input/output error"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file"]


def test_an_interrupt_while_writing_leaves_the_old_file_and_nothing_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert (path.read_text(), _names(tmp_path)) == ("old", ["file"])


def test_no_space_for_a_file_is_told_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    monkeypatch.setattr(atomic.os, "fsync", _no_space)
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1234})())
    with pytest.raises(DiskFull, match=r"5,000 bytes are needed, 1,234 bytes are free") as caught:
        write_bytes(path, bytes(5000))
    assert caught.value.exit_code == 5
    assert (path.read_text(), _names(tmp_path)) == ("old", ["file"])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("kind", [OSError, SafetensorError])
def test_no_space_inside_a_staged_folder_is_told_whoever_wrote(tmp_path: Path, code: int, kind: type) -> None:
    rust = f"Error while serializing: I/O error: {os.strerror(code)} (os error {code})"
    error = OSError(code, os.strerror(code)) if kind is OSError else SafetensorError(rust)

    def save() -> None:
        with staged_folder(tmp_path / "folder") as aside:
            (aside / "first").write_text("whole")
            raise error

    with pytest.raises(DiskFull, match="bytes are free"):
        save()
    assert _names(tmp_path) == []


def test_another_error_of_a_writer_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError, match="something else"), staged_folder(tmp_path / "folder"):
        raise SafetensorError("something else (os error 5)")
    assert _names(tmp_path) == []


def test_a_full_disk_at_every_write_of_a_folder_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    with staged_folder(target) as aside:
        (aside / "a").write_text("old")
    real, calls = os.fsync, [0]

    def save() -> None:
        with staged_folder(target, replace=True) as aside:
            for name in "abc":
                write_text(aside / name, "new")

    monkeypatch.setattr(atomic.os, "fsync", lambda handle: (calls.__setitem__(0, calls[0] + 1), real(handle))[1])
    probe = tmp_path / "probe"
    with staged_folder(probe) as aside:
        for name in "abc":
            write_text(aside / name, "new")
    writes = calls[0] - 1  # the last flush is after the folder has appeared
    remove_folder(probe)
    assert writes >= 6
    for k in range(1, writes + 1):
        calls[0] = 0

        def fails_at_k(handle: int, k: int = k) -> None:
            calls[0] += 1
            if calls[0] == k:
                _no_space()
            real(handle)

        monkeypatch.setattr(atomic.os, "fsync", fails_at_k)
        with pytest.raises(DiskFull):
            save()
        assert [(p.name, p.read_text()) for p in target.iterdir()] == [("a", "old")], f"write {k}"
        assert _names(tmp_path) == ["folder"], f"write {k}"
    monkeypatch.setattr(atomic.os, "fsync", real)
    save()
    assert _names(target) == ["a", "b", "c"]


def test_a_staged_folder_appears_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with staged_folder(target) as aside:
        (aside / "a").write_text("1")
        assert not target.exists()
        (aside / "b").write_text("2")
    assert _names(target) == ["a", "b"]
    assert _names(target.parent) == ["folder"]


def test_a_staged_folder_that_fails_never_appears(tmp_path: Path) -> None:
    def save() -> None:
        with staged_folder(tmp_path / "folder") as aside:
            (aside / "a").write_text("1")
            raise KeyError("the writer's own error")

    with pytest.raises(KeyError):
        save()
    assert _names(tmp_path) == []


def test_an_existing_folder_is_refused_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(FileExistsError, match="exists already"), staged_folder(target):
        pass
    assert _names(target) == ["old"]
    with staged_folder(target, replace=True) as aside:
        (aside / "new").write_text("new")
    assert _names(target) == ["new"]
    assert _names(tmp_path) == ["folder"]


def test_a_replacement_that_fails_at_the_last_rename_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a system that cannot exchange two names."""
    monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    target = tmp_path / "folder"
    with staged_folder(target) as aside:
        (aside / "a").write_text("old")
    real, renames = Path.rename, [0]

    def second_fails(self: Path, to: Path) -> Path:
        renames[0] += 1
        if renames[0] == 2:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(OSError, match="Input/output error"), staged_folder(target, replace=True) as aside:
        (aside / "a").write_text("new")
    assert (target / "a").read_text() == "old"
    assert _names(tmp_path) == ["folder"]


def test_leftovers_of_crashes_are_found_at_any_depth_and_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    names = [aside_path(tmp_path / name).name for name in ("a-folder", "inner", "file", "link")]
    (tmp_path / "kept" / names[2]).write_text("torn")
    (tmp_path / names[0] / names[1]).mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "kept" / names[3]).symlink_to(tmp_path / "outside", target_is_directory=True)
    assert clear_leftovers(tmp_path) == [names[0], f"kept/{names[2]}", f"kept/{names[3]}"]
    assert _names(tmp_path) == ["kept", "outside"]
    assert _names(tmp_path / "kept") == []


@pytest.mark.parametrize("name", [".aside-mine", ".aside-mine-2", ".aside-x-0123456789AB", ".kept-notes", ".kept-"])
def test_a_users_own_folder_is_no_leftover_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / name).mkdir()
    (tmp_path / name / "file").write_text("mine")
    assert clear_leftovers(tmp_path) == []
    assert (tmp_path / name / "file").read_text() == "mine"


def test_leftovers_are_not_looked_for_behind_a_link(tmp_path: Path) -> None:
    elsewhere = aside_path(tmp_path / "elsewhere" / "file")
    elsewhere.parent.mkdir()
    elsewhere.write_text("of another run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(elsewhere.parent, target_is_directory=True)
    assert clear_leftovers(tmp_path / "run") == []
    assert elsewhere.exists()


def test_a_removed_folder_vanishes_at_once_even_if_its_files_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    monkeypatch.setattr(atomic.shutil, "rmtree", lambda *_, **__: None)  # as if killed before it
    remove_folder(tmp_path / "folder")
    assert [name for name in _names(tmp_path) if not name.startswith(".aside-")] == []
    remove_folder(tmp_path / "never was")


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "🦙" * 63])
def test_names_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "x")
    assert _names(tmp_path) == [name]


def test_json_with_a_nan_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", {"a": float("nan")})
    assert (tmp_path / "file").read_text() == '{\n "a": 1\n}\n'
