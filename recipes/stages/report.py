"""Stage `report`: one page of the whole run (HTML, Markdown, JSON)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.stages.kind import StageInputs, StageKind

if TYPE_CHECKING:
    from recipes.stages.context import StageContext


@dataclass(frozen=True, kw_only=True)
class ReportInputs(StageInputs):
    """Nothing of the recipe: the page tells what the other stages made."""


def run(inputs: ReportInputs, stage: StageContext) -> dict[str, Any]:
    """Write the page; it stands in the run's own folder, `report/`."""
    return {"page": stage.write_page()}


def stands(run: Path, result: Mapping[str, Any]) -> bool:
    """Whether the page is still there; if not it is written again, since nothing rests on it."""
    return (run / str(result.get("page", ""))).exists()


REPORT = StageKind(
    name="report",
    does="Write the page of the run",
    run=run,
    stands=stands,
    surroundings=frozenset(),
)
