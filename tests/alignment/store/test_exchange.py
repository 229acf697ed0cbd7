"""Two names are exchanged in one step where the system can, and the fallback loses nothing where it cannot."""

from __future__ import annotations

import ctypes
import errno
import sys
from pathlib import Path

import pytest

from alignment.store import atomic, exchange
from alignment.store.atomic import clear_leftovers, kept_path, staged_folder

can = pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two names in one step")


def _folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


@can
def test_two_folders_exchange_their_names(tmp_path: Path) -> None:
    one, other = _folder(tmp_path / "one", "1"), _folder(tmp_path / "other", "2")
    if not exchange.exchange(one, other):
        pytest.skip("this file system cannot exchange two names")
    assert ((one / "file").read_text(), (other / "file").read_text()) == ("2", "1")


@can
def test_a_missing_name_is_an_error_and_the_other_stays(tmp_path: Path) -> None:
    one = _folder(tmp_path / "one", "1")
    with pytest.raises(FileNotFoundError):
        exchange.exchange(one, tmp_path / "none")
    assert (one / "file").read_text() == "1"


class _Library:
    """A C library whose call fails with one code."""

    def __init__(self, code: int) -> None:
        self.code = code

    def renameat2(self, *_: object) -> int:
        ctypes.set_errno(self.code)
        return -1


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL])
def test_a_system_or_file_system_without_the_call_says_no(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange.ctypes, "CDLL", lambda *_, **__: _Library(code))
    assert not exchange.exchange(tmp_path / "one", tmp_path / "other")


def test_another_system_or_library_says_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange.ctypes, "CDLL", lambda *_, **__: object())
    assert not exchange.exchange(tmp_path / "one", tmp_path / "other")
    monkeypatch.setattr(exchange.sys, "platform", "other")
    assert not exchange.exchange(tmp_path / "one", tmp_path / "other")


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_replaced_folder_is_the_new_one_and_nothing_is_left(
    can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
        _folder(kept_path(tmp_path / "folder"), "of a crash after the second rename")
    _folder(tmp_path / "folder", "old")
    with staged_folder(tmp_path / "folder", replace=True) as aside:
        (aside / "file").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "file").read_text() == "new"


def test_a_users_folder_called_as_one_that_stands_back_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    _folder(tmp_path / ".kept-folder", "mine")
    _folder(tmp_path / "folder", "old")
    with staged_folder(tmp_path / "folder", replace=True) as aside:
        (aside / "file").write_text("new")
    assert (tmp_path / ".kept-folder" / "file").read_text() == "mine"


def test_a_name_too_long_to_stand_back_under_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    target = _folder(tmp_path / ("x" * 255), "old")
    with staged_folder(target, replace=True) as aside:
        (aside / "file").write_text("new")
    assert (target / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_folder_that_stood_back_is_put_back_unless_another_took_its_name(tmp_path: Path) -> None:
    _folder(kept_path(tmp_path / "lost"), "old")
    _folder(kept_path(tmp_path / "there"), "old")
    _folder(tmp_path / "there", "new")
    assert clear_leftovers(tmp_path) == [kept_path(tmp_path / "there").name]
    assert {path.name: (path / "file").read_text() for path in tmp_path.iterdir()} == {"lost": "old", "there": "new"}


def test_links_and_pipes_in_a_staged_folder_are_not_opened(tmp_path: Path) -> None:
    import os

    with staged_folder(tmp_path / "folder") as aside:
        (aside / "dangling").symlink_to("nowhere")
        os.mkfifo(aside / "pipe")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["dangling", "pipe"]
