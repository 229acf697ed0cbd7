"""The definition of Equal: it ignores times and the order in which samples arrived, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.faults.same import differences


def folder(place: Path, *, weight: float = 1.0, loss: float = 0.5, seconds: float = 1.0, late: bool = False) -> Path:
    place.mkdir()
    save_file({"w": torch.full((3,), weight)}, place / "model.safetensors")
    (place / "stage.json").write_text(json.dumps({"loss": loss, "seconds": seconds, "ended": str(seconds)}))
    rows: list[dict[str, Any]] = [
        {"prompt": name, "sample": 0, "token_ids": [1], "log_probs": [-0.1], "finish": "stop"} for name in "ab"
    ]
    text = "".join(json.dumps(row) + "\n" for row in (rows[::-1] if late else rows))
    (place / "samples.jsonl").write_text(text)
    return place


def test_times_and_order_of_arrival_do_not_count(tmp_path: Path) -> None:
    assert differences(folder(tmp_path / "a"), folder(tmp_path / "b", seconds=2.0, late=True)) == []


@pytest.mark.parametrize(
    ("changes", "told"), [({"weight": 1.0000001}, "tensor w differs"), ({"loss": 0.25}, "stage.json: .loss")]
)
def test_a_weight_or_a_figure_that_differs_is_named(tmp_path: Path, changes: dict[str, float], told: str) -> None:
    (found,) = differences(folder(tmp_path / "a"), folder(tmp_path / "b", **changes))  # type: ignore[arg-type]
    assert told in found


def test_a_file_that_is_missing_left_behind_or_altered_is_named(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "a"), folder(tmp_path / "b")
    (one / "only.txt").write_text("x")
    (other / ".aside-x").write_text("x")
    (one / "notes.txt").write_text("x")
    (other / "notes.txt").write_text("yy")
    found = "\n".join(differences(one, other))
    assert "only.txt: only in" in found
    assert ".aside-x: left behind" in found
    assert "notes.txt: 1 and 2 bytes" in found


def test_another_sample_is_named(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "a"), folder(tmp_path / "b")
    text = (other / "samples.jsonl").read_text()
    (other / "samples.jsonl").write_text(text.replace('"token_ids": [1]', '"token_ids": [2]', 1))
    assert "sample ('a', 0) is another" in "\n".join(differences(one, other))
