"""Loggers beside metrics.jsonl: every training stage's figures, and no failure of theirs stops a training."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import accelerate.tracking
import pytest
from accelerate.tracking import GeneralTracker

from alignment.errors import MissingExtra
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.store.journal import read_journal
from alignment.train.session import Session
from alignment.train.settings import SftSettings
from alignment.train.sft import sft
from alignment.train.tracking import LOGGERS, Tracked, require_loggers


class Remembering(GeneralTracker):
    """A tracker of Accelerate's kind that remembers."""

    name = "trackio"
    requires_logging_directory = False
    made: ClassVar[list[Remembering]] = []

    def __init__(self, run_name: str, **options: Any) -> None:
        super().__init__()
        self.run_name, self.options = run_name, options
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.finished = False
        self.made.append(self)

    @property
    def tracker(self) -> Remembering:
        return self

    def log(self, values: dict[str, float], step: int | None = None, **kwargs: Any) -> None:
        self.rows.append((step, values))

    def finish(self) -> None:
        self.finished = True


class Failing(Remembering):
    """One whose server goes away."""

    def log(self, values: dict[str, float], step: int | None = None, **kwargs: Any) -> None:
        raise ConnectionError("no route to the server\nat all")


class Noting:
    """A display that remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, total_steps: int | None, unit: str) -> None: ...

    def step(self, done: int, metrics: Any) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self) -> None: ...


@pytest.fixture
def trackers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, type[GeneralTracker]]]:
    """Accelerate's table of trackers, with the remembering one for trackio; the environment as it was, after."""
    table = {**accelerate.tracking.LOGGER_TYPE_TO_CLASS, "trackio": Remembering}
    monkeypatch.setattr(accelerate.tracking, "LOGGER_TYPE_TO_CLASS", table)
    monkeypatch.setattr(Remembering, "made", [])
    before = dict(os.environ)
    yield table
    os.environ.clear()
    os.environ.update(before)


def test_every_step_of_a_training_reaches_the_loggers_with_the_figures_of_the_journal(
    policy: Policy,
    dialogues: list[Dialogue],
    session: Session,
    make_sft_settings: Callable[..., SftSettings],
    trackers: object,
) -> None:
    tracked = Tracked(["trackio"], project="mine", folder=session.folder, name="run/03-sft")
    sft(policy, dialogues, make_sft_settings(), replace(session, progress=tracked), dialogues[:3])
    tracked.close()
    (tracker,) = Remembering.made
    assert (tracker.run_name, tracker.options["name"], tracker.finished) == ("mine", "run/03-sft", True)
    journal = read_journal(session.folder / "metrics.jsonl")
    timeless = [{key: value for key, value in row.items() if not key.startswith("time_")} for row in journal]
    assert [{"step": step, **row} for step, row in tracker.rows] == timeless


def test_a_logger_that_fails_is_told_and_left_out_and_the_others_go_on(
    trackers: dict[str, type[GeneralTracker]], tmp_path: Path
) -> None:
    trackers["wandb"] = Failing
    shown = Noting()
    tracked = Tracked(["wandb", "trackio"], project="mine", folder=tmp_path, shown=shown)
    for step in (1, 2):
        tracked.step(step, {"loss": 1.0})
    (told,) = shown.notes
    assert told.startswith("the logger wandb failed (ConnectionError: no route to the server); it is left out")
    assert [len(tracker.rows) for tracker in Remembering.made] == [0, 2]


def test_one_that_cannot_even_start_is_left_out(
    trackers: dict[str, type[GeneralTracker]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise RuntimeError("not logged in")

    monkeypatch.setattr(Remembering, "start", refuse)
    shown = Noting()
    Tracked(["trackio"], project="mine", folder=tmp_path, shown=shown).step(1, {"loss": 1.0})
    assert "not logged in" in shown.notes[0]


def test_loggers_send_no_telemetry_unless_their_user_says_so(
    trackers: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    Tracked(["trackio"], project="mine", folder=tmp_path).step(1, {"loss": 1.0})
    assert (os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["WANDB_ERROR_REPORTING"]) == ("true", "true")


@pytest.mark.parametrize("name", LOGGERS)
def test_a_missing_package_names_the_extra_that_brings_it(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match=rf"{name} is not installed.*llama2-alignment-suite\[{name}\]"):
        require_loggers([name])


def test_tensorboards_files_stand_in_the_folder_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, Any] = {}

    class Writer:
        """As torch.utils.tensorboard's."""

        def __init__(self, folder: str) -> None:
            written["folder"] = folder

        def add_scalar(self, name: str, value: float, global_step: int) -> None:
            written[name] = (global_step, value)

        def flush(self) -> None: ...

        def close(self) -> None:
            written["closed"] = True

    module = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr("torch.utils.tensorboard", module, raising=False)
    tracked = Tracked(["tensorboard"], project="mine", folder=tmp_path, name="run/03-sft")
    tracked.step(7, {"loss": 1.5})
    tracked.close()
    assert written == {"folder": f"{tmp_path}/tensorboard/03-sft", "loss": (7, 1.5), "closed": True}
