"""Instructions that can be checked, from wherever a recipe says.  No torch, no pydantic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alignment.errors import UsageError

if TYPE_CHECKING:
    from alignment.constraint import Constraint
    from recipes.stages.context import StageContext


def constraints_of(
    where: str, stage: StageContext, *, grouped: bool = False
) -> tuple[list[Constraint], list[Constraint]]:
    """Constraints to train on, and unseen ones to test with.

    Args:
        where: "world", "builtin", "kinds" or a .yaml file (`gatt.constraints`, `evaluate.instructions.constraints`).
        grouped: whether they are measured by group: the world, whose unseen ones are other words of its three kinds,
            then tests with kinds that it has not, too.

    Raises:
        UsageError: they are the world's, and the stage reads none.
    """
    from gatt.constraints import builtin_constraints, read_constraints
    from gatt.kinds import kind_constraints, unseen_kinds

    if where == "world":
        if stage.world is None:
            raise UsageError("the constraints are 'world', but the stage has no world; say `builtin` or a file")
        seen, unseen = list(stage.world.constraints("train")), list(stage.world.constraints("test"))
        return seen, [*unseen, *(unseen_kinds({one.kind for one in seen}) if grouped else ())]
    if where == "kinds":
        return kind_constraints()
    return builtin_constraints() if where == "builtin" else read_constraints(Path(where))
