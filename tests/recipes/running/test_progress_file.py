"""How far the stage at work is, for another process: written seldom, read with care, gone when the stage ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment.train.session import Silent
from recipes.running.progress import EVERY, NAME, KeptProgress, read_progress


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_written_every_few_seconds_with_the_time_left(tmp_path: Path) -> None:
    clock = Clock()
    kept = KeptProgress(Silent(), tmp_path, "03-sft", clock=clock)
    kept.begin(100, "steps")
    kept.step(40, {})
    clock.now = EVERY / 2
    kept.step(41, {})
    assert read_progress(tmp_path) is None
    clock.now = 10.0
    kept.step(60, {})
    clock.now = 10.0 + EVERY / 2
    kept.step(61, {})  # too soon after the last
    found = read_progress(tmp_path)
    assert found is not None
    assert (found.stage, found.done, found.total, found.unit) == ("03-sft", 60, 100, "steps")
    assert (found.seconds, found.seconds_left) == (10.0, 20.0)  # 20 steps in 10 seconds, 40 to go
    kept.close()
    assert not (tmp_path / NAME).exists()


def test_a_disk_that_is_full_does_not_stop_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recipes.running.progress.write_json", full)
    monkeypatch.setattr("recipes.running.progress.EVERY", 0.0)
    kept = KeptProgress(Silent(), tmp_path, "03-sft")
    kept.step(1, {})
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize("broken", ["", "[]", "{}", '{"stage": "x"}', {"done": "many"}, {"unit": 3}, {"seconds": None}])
def test_a_file_that_is_not_usable_tells_nothing(broken: str | dict[str, Any], tmp_path: Path) -> None:
    good = {"stage": "x", "done": 1, "total": None, "unit": "steps", "seconds": 1.0, "seconds_left": None}
    (tmp_path / NAME).write_text(broken if isinstance(broken, str) else json.dumps(good | broken))
    assert read_progress(tmp_path) is None
    (tmp_path / NAME).write_text(json.dumps(good))
    assert read_progress(tmp_path) is not None
