"""Loggers beside `metrics.jsonl`: figures to TensorBoard, W&B, MLflow or trackio, through Accelerate's trackers.

Off unless asked for.  A logger is a window, never a part of a result: one that fails is told and left out, and the
training goes on.  No torch until the first figure.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from alignment.errors import MissingExtra
from alignment.train.session import Progress, Silent

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

Logger = Literal["tensorboard", "wandb", "mlflow", "trackio"]
LOGGERS: tuple[Logger, ...] = get_args(Logger)
_MODULES = {"tensorboard": ("tensorboard", "tensorboardX")}  # any of them will do; of the others their name
# a logger says what it is given and nothing about its user
_NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def require_loggers(names: Sequence[Logger]) -> None:
    """See that the packages of these loggers are installed; imports none.

    Raises:
        MissingExtra: naming the first that is not, and the extra that brings it.
    """
    for name in names:
        if not any(importlib.util.find_spec(module) for module in _MODULES.get(name, (name,))):
            raise MissingExtra(name, name)


class Tracked:
    """A stage's Progress that passes everything on and gives every step's figures to loggers.

    From Python: `Session(folder=folder, progress=Tracked(["tensorboard"], project="mine", folder=folder))`.

    Args:
        loggers: their names.
        project: what runs stand together under (W&B's and trackio's project, MLflow's experiment).
        folder: TensorBoard's files go to `tensorboard/` in it; W&B's local ones too.
        name: of this run among the project's; a stage's run is "RUN/03-sft".
        mark: a resumed stage of the same mark goes on in the same run, where the logger can.
        shown: told everything.
    """

    def __init__(
        self,
        loggers: Sequence[Logger],
        *,
        project: str,
        folder: Path,
        name: str = "training",
        mark: str = "",
        shown: Progress | None = None,
    ) -> None:
        self._loggers, self._project, self._folder = tuple(loggers), project, folder
        self._name, self._mark = name, mark
        self._shown: Progress = shown if shown is not None else Silent()
        self._trackers: dict[str, GeneralTracker] | None = None

    def begin(self, total_steps: int | None, unit: str) -> None:
        self._shown.begin(total_steps, unit)

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        if metrics:
            self._log(done, dict(metrics))
        self._shown.step(done, metrics)

    def note(self, text: str) -> None:
        self._shown.note(text)

    def end(self) -> None:
        self._shown.end()

    def close(self) -> None:
        """Let the loggers finish what they write."""
        for name, tracker in list((self._trackers or {}).items()):
            self._try(name, tracker.finish)
        self._trackers = None

    def _log(self, step: int, figures: dict[str, float]) -> None:
        if self._trackers is None:
            self._trackers = {}
            self._start()
        for name, tracker in list(self._trackers.items()):
            self._try(name, tracker.log, figures, step=step)

    def _start(self) -> None:
        """Begin a run with every logger; in the main process alone, which is known once training has begun."""
        from accelerate import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        if not PartialState().is_main_process:
            return
        for variable, value in _NO_TELEMETRY.items():
            os.environ.setdefault(variable, value)
        for name in self._loggers:
            kind, arguments = LOGGER_TYPE_TO_CLASS[name], self._arguments(name)
            self._try(name, lambda name=name, kind=kind, given=arguments: self._begin(name, kind(**given)))

    def _begin(self, name: str, tracker: GeneralTracker) -> None:
        tracker.start()
        assert self._trackers is not None
        self._trackers[name] = tracker

    def _arguments(self, name: Logger) -> dict[str, Any]:
        if name == "tensorboard":
            return {"run_name": self._name.rpartition("/")[2], "logging_dir": self._folder / "tensorboard"}
        if name == "mlflow":
            return {"experiment_name": self._project, "run_name": self._name}
        own: dict[str, Any] = {"run_name": self._project, "name": self._name, "resume": "allow"}
        if name == "wandb":
            own |= {"dir": str(self._folder)} | ({"id": self._mark} if self._mark else {})
        return own

    def _try(self, name: str, call: Any, *arguments: Any, **options: Any) -> None:
        try:
            call(*arguments, **options)
        except Exception as error:  # whatever a logger or its server may raise
            (self._trackers or {}).pop(name, None)
            said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            self.note(f"the logger {name} failed ({said}); it is left out, metrics.jsonl holds every figure")
