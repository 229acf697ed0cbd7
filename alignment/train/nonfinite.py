"""Steps that are not finite: each is told in `nonfinite.json`, and skipped as often as the settings allow.  No torch.

The file describes the stage as it stands: `stopped` is what ended it, `skipped` what it went past.  The
skipped steps travel in the training checkpoints, so a resumed stage counts on; a stage that ends well
without any removes the file of an earlier attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from alignment.errors import NonFiniteError
from alignment.store.atomic import write_json

NAME = "nonfinite.json"


class NonFiniteSteps:
    """Counts the updates that were not made because something was NaN or infinite.

    Args:
        folder: of the stage; the file is written there.
        allowed: how many may be skipped before the stage stops; 0 stops at the first.
        skipped: those of earlier attempts, from the checkpoint.
        writes: whether this process writes (of several, one does).

    Attributes:
        skipped: the skipped updates: quantity, value (as text), step and rows of each.
    """

    def __init__(
        self, folder: Path, *, allowed: int, skipped: Sequence[Mapping[str, Any]] = (), writes: bool = True
    ) -> None:
        self.path, self.allowed, self.writes = folder / NAME, allowed, writes
        self.skipped = [dict(event) for event in skipped]

    def refuse(self, quantity: str, value: str, *, step: int, rows: Sequence[str]) -> None:
        """Count an update that must not be made; returns if it may be skipped.

        Raises:
            NonFiniteError: as many were skipped as is allowed.
        """
        if len(self.skipped) >= self.allowed:
            self.stop(quantity, value, step=step, rows=rows)
        self.skipped.append(_event(quantity, value, step, rows))
        self._write(stopped=None)

    def stop(self, quantity: str, value: str, *, step: int, rows: Sequence[str]) -> NoReturn:
        """Stop whatever is allowed: for what cannot be skipped.

        Raises:
            NonFiniteError: always.
        """
        self._write(stopped=_event(quantity, value, step, rows))
        raise NonFiniteError(quantity, step=step, value=value, rows=rows)

    def finish(self) -> None:
        """The stage's steps are done: nothing stopped it, so the file tells of skipped steps or is gone."""
        if self.skipped:
            self._write(stopped=None)
        elif self.writes:
            self.path.unlink(missing_ok=True)

    def _write(self, stopped: Mapping[str, Any] | None) -> None:
        if self.writes:
            write_json(self.path, {"allowed_skips": self.allowed, "skipped": self.skipped, "stopped": stopped})


def _event(quantity: str, value: str, step: int, rows: Sequence[str]) -> dict[str, Any]:
    return {"quantity": quantity, "value": value, "step": step, "rows": list(rows)}
