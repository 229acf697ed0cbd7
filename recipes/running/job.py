"""What one call of `run` was asked, with whom, and the lock that it works under.  No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.store.lock import RunLock
from alignment.train.session import StopFlag
from recipes.reading.schema import Recipe
from recipes.running.company import Company
from recipes.running.digests import Digests
from recipes.running.telling import Display
from recipes.stages.context import StageContext
from recipes.stages.kind import PlannedStage, StageInputs

# kind -> what is called in its place
StageTable = Mapping[str, Callable[[StageInputs, StageContext], Any]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One call of `run`."""

    recipe: Recipe
    folder: Path
    plan: tuple[PlannedStage, ...]
    needed: tuple[PlannedStage, ...]
    redo: bool
    stages: StageTable | None
    allow_code: bool
    display: Display
    stop: StopFlag
    before_work: Callable[[], None]
    siblings: Sequence[Path]
    company: Company
    lock: RunLock
    digests: Digests

    def require_lock(self) -> None:
        """Refuse to write into a run that another process may have taken."""
        if self.company.keeps_books:
            self.lock.require()
