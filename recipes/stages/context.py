"""What a stage's function is given: the recipe, its place in the plan and its session.  No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignment.errors import UsageError
from alignment.train.session import Session
from recipes.plan import PlannedStage, stages_of
from recipes.reading.schema import Recipe


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """One stage about to run.

    Attributes:
        recipe: all settings.
        stage: which stage, with parents, role and version.
        run_folder: the run.
        session: the stage's folder, seed, fingerprint, progress and stop flag.
    """

    recipe: Recipe
    stage: PlannedStage
    run_folder: Path
    session: Session

    def folder_of(self, stage_name: str) -> Path:
        """A finished stage's folder in the run.

        Raises:
            UsageError: the stage is not a parent, so that the plan would not know of the dependence.
        """
        if stage_name == self.stage.name:
            return self.session.folder
        if stage_name not in self.stage.parents:
            raise UsageError(
                f"stage {self.stage.name} asks for the folder of {stage_name}, which is none of its parents "
                f"({', '.join(self.stage.parents) or 'none'})"
            )
        return self.run_folder / self.plan[stage_name].folder

    @property
    def plan(self) -> dict[str, PlannedStage]:
        """All stages of the run by name."""
        return {stage.name: stage for stage in stages_of(self.recipe)}
