"""Short trainings of the tiny policy, stopped where a test wants, and one definition of "equal"."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from alignment.store.journal import read_journal
from alignment.train.session import Session, Silent, StopFlag
from alignment.train.settings import ComputeSettings, OptimizerSettings, SftSettings


class Watch(Silent):
    """Keeps the notes, and asks to stop after a step."""

    def __init__(self, stop: StopFlag, at: int | None, signal_number: int) -> None:
        self.stop, self.at, self.signal_number = stop, at, signal_number
        self.notes: list[str] = []
        self.steps: list[int] = []

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        self.steps.append(done)
        if self.at is not None and done == self.at and metrics:
            self.stop.request(self.signal_number)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def make_session(tmp_path: Path) -> Callable[..., Session]:
    """A session in a named folder; `stop_after` asks to stop after that step."""

    def make(
        name: str, *, stop_after: int | None = None, fingerprint: str = "f", signal_number: int = 15, seed: int = 0
    ) -> Session:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        stop = StopFlag()
        return Session(
            folder=folder,
            seed=seed,
            fingerprint=fingerprint,
            compute=ComputeSettings(precision="fp32", threads=1),
            progress=Watch(stop, stop_after, signal_number),
            stop=stop,
        )

    return make


@pytest.fixture(scope="session")
def make_sft_settings() -> Callable[..., SftSettings]:
    """Six steps of two forests of 96 tokens each, a checkpoint every two steps."""

    def make(**changes: Any) -> SftSettings:
        base: dict[str, Any] = {
            "context_length": 96,
            "batch_size": 2,
            "epochs": 3.0,
            "max_steps": 6,
            "save_every": 2,
            "optimizer": OptimizerSettings(learning_rate=1e-2, warmup_steps=2),
        }
        return SftSettings(**{**base, **changes})

    return make


def same(folder: Path) -> dict[str, Any]:
    """What must be equal between two runs: digests of all safetensors files, and the metrics without times."""
    weights = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.safetensors"))
    }
    rows = read_journal(folder / "metrics.jsonl")
    return {"weights": weights, "rows": [{k: v for k, v in row.items() if not k.startswith("time_")} for row in rows]}


@pytest.fixture(scope="session")
def equal_parts() -> Callable[[Path], dict[str, Any]]:
    return same
