"""Questions about a plan: which stages a target needs, what stands on a stage, what a name means.  No torch."""

from __future__ import annotations

import difflib

from alignment.errors import UsageError
from recipes.stages.kind import PlannedStage
from recipes.stages.table import STAGES


def needed_for(stages: tuple[PlannedStage, ...], targets: tuple[str, ...]) -> tuple[PlannedStage, ...]:
    """The stages that some of them need, themselves included, in order."""
    by_name = {stage.name: stage for stage in stages}
    needed: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(by_name[name].parents)
    return tuple(stage for stage in stages if stage.name in needed)


def descendants(stages: tuple[PlannedStage, ...], names: set[str]) -> tuple[str, ...]:
    """The stages that stand on any of them, themselves included, in order."""
    fallen = set(names)
    for stage in stages:  # parents come first
        if fallen.intersection(stage.parents):
            fallen.add(stage.name)
    return tuple(stage.name for stage in stages if stage.name in fallen)


def find_stages(stages: tuple[PlannedStage, ...], name: str) -> tuple[str, ...]:
    """The stages that a name or a kind means ("rlhf-v2"; "reward": the first version's reward models).

    Of what later versions do anew (collections, reward models) a kind means the first version's alone, so that
    `align reward` runs no RLHF; the others go by their names.

    Raises:
        UsageError: there is none; names the nearest.
    """
    names = [stage.name for stage in stages]
    if name in names:
        return (name,)
    of_kind = tuple(stage.name for stage in stages if stage.kind.name == name and not stage.inputs.anew)
    if of_kind:
        return of_kind
    if name in STAGES:
        raise UsageError(
            f"the recipe has no stage of the kind {name!r}; add its section, or hold out what it needs "
            f"(held_out, held_out_fraction); it has {', '.join(names)}"
        )
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
    raise UsageError(f"the recipe has no stage {name[:100]!r}; {hint}")
