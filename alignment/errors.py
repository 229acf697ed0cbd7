"""What a user can get wrong, and what a machine can do to a run: one class each, with an exit code.

Every message is one sentence in this order: what is wrong, where (file:line or key), what it was,
what would be right.  Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial


class AlignmentError(Exception):
    """Base of every error that the suite raises on purpose; the CLI prints it without a traceback.

    Attributes:
        exit_code: the process's exit status when the error ends a command.
    """

    exit_code: int = 1


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One fault in a recipe: where it stands, what it is and what would be right."""

    where: str  # "recipe.yaml:12" or "override 'sft.epochs=two'"
    key: str  # dotted key, "" for the file as a whole
    message: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.where}: {key}{self.message}"


class RecipeError(AlignmentError):
    """A recipe cannot be used; carries *all* its problems at once."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.problems,)


class UsageError(AlignmentError):
    """A call or command cannot be carried out as it was given (wrong folder, name or combination)."""

    exit_code = 2


class ArgumentError(UsageError, TypeError, ValueError):
    """A model's forward was given an argument that it cannot obey; what knows transformers expects a Python error."""


class DataError(AlignmentError):
    """A data file is missing, unreadable or does not hold what its recipe says."""

    exit_code = 2


class SettingError(DataError):
    """A setting asks of the data what it cannot give; whoever has the recipe adds file and line.

    Attributes:
        key: of the setting, below the section of the settings that were handed over ("replay.share").
        message: what is wrong with it, without the key.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key, self.message = key, message
        super().__init__(f"{key}: {message}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.key, self.message)


class TooManyBadRows(DataError):
    """More rows were set aside than `max_bad_fraction` allows; the stage stops before training."""


class TokenizerError(AlignmentError):
    """A tokenizer cannot be trained, read, or does not belong to the checkpoint it is used with."""

    exit_code = 2


class CheckpointError(AlignmentError):
    """A checkpoint is truncated, altered, incomplete or of another shape than its configuration."""


class CheckpointUnavailable(CheckpointError):
    """A hub checkpoint is not on this machine and cannot be fetched.

    Attributes:
        checkpoint: its hub name.
        why: what stands against fetching it.
        instead: what would be right without fetching it.
    """

    exit_code = 2

    def __init__(self, checkpoint: str, why: str, *, instead: str = "name a local folder that holds it") -> None:
        self.checkpoint, self.why, self.instead = checkpoint, why, instead
        super().__init__(
            f"the checkpoint {checkpoint} is not on this machine and cannot be fetched: {why}; {instead}, or fetch it: "
            f"where it is gated, accept its terms at https://huggingface.co/{checkpoint}, and log in (hf auth login)"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), instead=self.instead), (self.checkpoint, self.why)


class ForestError(AlignmentError, ValueError):
    """A forest layout is impossible: a parent that does not come first, a negative length, …"""


class RequestTooLong(AlignmentError, ValueError):
    """A prompt (with its answer's limit) does not fit the model's context."""

    exit_code = 2


class NonFiniteError(AlignmentError):
    """A loss, gradient, reward or ratio is NaN or infinite; raised *before* the update that would use it.

    Attributes:
        quantity: what was not finite ("loss", "gradient", …).
        step: the optimizer step, counted from 1, that was about to be taken.
        rows: where the step's data came from, "file:line" each.
    """

    def __init__(self, quantity: str, *, step: int, value: str, rows: Sequence[str] = ()) -> None:
        self.quantity, self.step, self.value, self.rows = quantity, step, value, tuple(rows)
        shown = ", ".join(self.rows[:8]) + (f" and {len(self.rows) - 8} more" if len(self.rows) > 8 else "")
        super().__init__(
            f"{quantity} is not finite ({value}) at step {step}; stopped before the update, the last good "
            f"checkpoint stands; the step's rows: {shown or 'none recorded'}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_non_finite, (self.quantity, self.step, self.value, self.rows)


def _rebuild_non_finite(quantity: str, step: int, value: str, rows: tuple[str, ...]) -> NonFiniteError:
    return NonFiniteError(quantity, step=step, value=value, rows=rows)


class RunLocked(AlignmentError):
    """Another process works on the run folder; names the process, its host and since when."""

    exit_code = 3


class RunChanged(AlignmentError):
    """The recipe, data or code of finished stages changed; going on needs `--redo`."""

    exit_code = 4


class DiskFull(AlignmentError):
    """There is no space left for a write; what was there before is untouched."""

    exit_code = 5


class Interrupted(AlignmentError):
    """A signal asked the run to stop; the step was finished and saved.

    Attributes:
        exit_code: 130 after SIGINT, 143 after SIGTERM.
    """

    def __init__(self, signal_number: int, *, step: int | None = None) -> None:
        self.signal_number, self.step = signal_number, step
        self.exit_code = 128 + signal_number
        at = f" after step {step}" if step is not None else ""
        super().__init__(f"stopped by signal {signal_number}{at}; the same command goes on from here")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_interrupted, (self.signal_number, self.step)


def _rebuild_interrupted(signal_number: int, step: int | None) -> Interrupted:
    return Interrupted(signal_number, step=step)


class Unreachable(DataError):
    """An outside model does not answer now; what it said is kept, and the same command goes on once it does again."""

    exit_code = 7


class Waiting(AlignmentError):
    """A stage waits for people; what it did is saved, and the same command goes on once they have done their part.

    Nothing is wrong: a code of its own tells a script that somebody has to sit down before the run is started again.
    """

    exit_code = 6


class MissingExtra(AlignmentError, ImportError):
    """An optional package is needed; names the extra that installs it."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{package} is not installed; it comes with the extra '{extra}': "
            f"pip install 'llama2-alignment-suite[{extra}]'"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.package, self.extra)
