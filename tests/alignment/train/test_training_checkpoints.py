"""Training checkpoints: the newest *verified* one of the same fingerprint is taken, and never rotated away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from alignment.errors import DiskFull
from alignment.store import atomic
from alignment.train.checkpoints import Checkpoints


def _open(folder: Path, notes: list[str] | None = None, *, fingerprint: str = "f", keep: int = 2) -> Checkpoints:
    say = notes.append if notes is not None else lambda _: None
    return Checkpoints(folder / "checkpoints", fingerprint=fingerprint, keep=keep, say=say)


def _save(checkpoints: Checkpoints, step: int) -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3).t() + step}  # not contiguous: as a parameter may be
    checkpoints.save(step, tensors={"model": weights, "optimizer": {"a|step": torch.tensor(1.0)}}, state={"seen": step})


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    _save(_open(tmp_path), 3)
    resumed = _open(tmp_path).newest()
    assert resumed is not None
    assert (resumed.step, resumed.state) == (3, {"seen": 3})
    assert torch.equal(resumed.part("model").whole()["a"], torch.arange(6.0).reshape(2, 3).t() + 3)
    assert resumed.part("optimizer").whole() == {"a|step": torch.tensor(1.0)}
    assert resumed.part("another").whole() == {}


def test_nothing_saved_is_nothing_to_resume(tmp_path: Path) -> None:
    assert _open(tmp_path).newest() is None


def test_the_newest_few_are_kept_by_step_whatever_the_files_times(tmp_path: Path) -> None:
    checkpoints = _open(tmp_path)
    for step in (9, 10, 11, 1_000_000):
        _save(checkpoints, step)
        os.utime(tmp_path / "checkpoints" / f"step-{step:06d}", (4e9 - step, 4e9 - step))
    assert _names(tmp_path) == ["step-000011", "step-1000000"]
    resumed = checkpoints.newest()
    assert resumed is not None
    assert resumed.step == 1_000_000


def test_a_step_saved_again_replaces_itself(tmp_path: Path) -> None:
    checkpoints = _open(tmp_path)
    _save(checkpoints, 3)
    (tmp_path / "checkpoints" / "step-000003" / "state.json").write_text("torn")
    _save(checkpoints, 3)
    assert checkpoints.newest() is not None
    assert _names(tmp_path) == ["step-000003"]


def test_checkpoints_of_another_fingerprint_are_skipped_aloud_and_give_way(tmp_path: Path) -> None:
    for step in (100, 200):
        _save(_open(tmp_path, fingerprint="old"), step)
    notes: list[str] = []
    checkpoints = _open(tmp_path, notes)
    assert checkpoints.newest() is None
    assert [note.split(":")[0] for note in notes] == ["skipped step-000200", "skipped step-000100"]
    assert "its fingerprint is 'old', expected 'f'" in notes[0]
    _save(checkpoints, 10)  # must not be the one that rotation removes
    resumed = checkpoints.newest()
    assert resumed is not None
    assert resumed.step == 10
    assert _names(tmp_path) == ["step-000010"]


@pytest.mark.parametrize("keep", [1, 2])
def test_a_torn_newer_checkpoint_does_not_push_out_the_next_good_one(tmp_path: Path, keep: int) -> None:
    checkpoints = _open(tmp_path, keep=keep)
    for step in (10, 20):
        _save(checkpoints, step)
    (tmp_path / "checkpoints" / "step-000020" / "model.safetensors").write_bytes(b"")
    _save(checkpoints, 15)
    resumed = checkpoints.newest()
    assert resumed is not None
    assert resumed.step == 15


def test_a_folder_renamed_to_another_step_is_refused(tmp_path: Path) -> None:
    notes: list[str] = []
    checkpoints = _open(tmp_path, notes)
    _save(checkpoints, 3)
    (tmp_path / "checkpoints" / "step-000003").rename(tmp_path / "checkpoints" / "step-000009")
    assert checkpoints.newest() is None
    assert "its step is 3, expected 9" in notes[0]


def test_unfinished_folders_and_foreign_names_are_not_checkpoints(tmp_path: Path) -> None:
    checkpoints = _open(tmp_path)
    _save(checkpoints, 3)
    for name in (".aside-step-000009-0", "step-9", "step-000010.bak"):
        (tmp_path / "checkpoints" / name).mkdir()
    resumed = checkpoints.newest()
    assert resumed is not None
    assert resumed.step == 3


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = _open(tmp_path)
    _save(checkpoints, 3)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        with pytest.raises(DiskFull):
            _save(checkpoints, 6)
    assert _names(tmp_path) == ["step-000003"]
    resumed = checkpoints.newest()
    assert resumed is not None
    assert resumed.step == 3


def test_clearing_removes_them_all(tmp_path: Path) -> None:
    checkpoints = _open(tmp_path)
    _save(checkpoints, 3)
    checkpoints.clear()
    assert list(tmp_path.iterdir()) == []
    checkpoints.clear()
