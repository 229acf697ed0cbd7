"""The stages of a recipe, in order, with what each starts from.  No torch.

`rlhf: {versions: 5, ppo_from: 5}` becomes rlhf-v1 … rlhf-v4, rlhf-v5-rejection and rlhf-v5; Ghost
Attention comes after its version, and the next version starts from its model (Llama 2 paper, 3.3).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from alignment.errors import UsageError
from recipes.reading.schema import Recipe

Kind = Literal["tokenizer", "pretrain", "sft", "reward", "rejection", "ppo", "gatt", "evaluate", "report"]
KINDS: tuple[Kind, ...] = ("tokenizer", "pretrain", "sft", "reward", "rejection", "ppo", "gatt", "evaluate", "report")


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One stage of a run.

    Attributes:
        name: unique in the run ("rlhf-v2").
        kind: which function does it.
        number: 1-based place in the plan.
        parents: names of the stages whose folders it reads.
        starts_from: the stage whose model it starts from; None: `model.path`, or fresh weights.
        role: which reward model ("helpfulness", "safety").
        version: which RLHF version.
    """

    name: str
    kind: Kind
    number: int
    parents: tuple[str, ...] = ()
    starts_from: str | None = None
    role: str | None = None
    version: int | None = None

    @property
    def folder(self) -> str:
        """Its folder's name in the run."""
        return f"{self.number:02d}-{self.name}"

    @property
    def makes_policy(self) -> bool:
        """Whether it leaves a language model that can be talked to."""
        return self.kind in ("pretrain", "sft", "rejection", "ppo", "gatt")


class _Stages:
    def __init__(self) -> None:
        self.stages: list[PlannedStage] = []

    def add(
        self,
        name: str,
        kind: Kind,
        *parents: str | None,
        starts_from: str | None = None,
        role: str | None = None,
        version: int | None = None,
    ) -> str:
        unique = tuple(dict.fromkeys(p for p in (starts_from, *parents) if p is not None))
        self.stages.append(
            PlannedStage(
                name=name,
                kind=kind,
                number=len(self.stages) + 1,
                parents=unique,
                starts_from=starts_from,
                role=role,
                version=version,
            )
        )
        return name


def stages_of(recipe: Recipe) -> tuple[PlannedStage, ...]:
    """Expand a recipe into its stages, parents before children."""
    plan = _Stages()
    tokenizer = plan.add("tokenizer", "tokenizer")
    policy: str | None = None
    if recipe.pretrain is not None:
        policy = plan.add("pretrain", "pretrain", tokenizer)
    if recipe.sft is not None:
        policy = plan.add("sft", "sft", tokenizer, starts_from=policy)
    chat = policy
    rewards: list[str] = []
    if recipe.reward is not None:
        for role in ("helpfulness", "safety"):
            rewards.append(plan.add(f"reward-{role}", "reward", tokenizer, starts_from=chat, role=role))
    models: list[str] = []
    if recipe.sft is not None:
        models = [stage.name for stage in plan.stages if stage.kind in ("pretrain", "sft")]
    rejections: list[str] = []
    versions = recipe.rlhf.versions if recipe.rlhf else 0
    gatt_after = (recipe.gatt.after or versions) if recipe.gatt else -1
    for version in range(1, versions + 1):
        assert recipe.rlhf is not None  # there are versions
        with_ppo = version >= recipe.rlhf.ppo_from
        name = f"rlhf-v{version}"
        base = policy if recipe.rlhf.rejection.start_from == "latest" else chat
        rejection = plan.add(
            f"{name}-rejection" if with_ppo else name,
            "rejection",
            tokenizer,
            *rewards,
            *(rejections if recipe.rlhf.rejection.pool == "all" else []),
            policy,  # last: the newest model, which draws the answers whatever the training starts from
            starts_from=base,
            version=version,
        )
        rejections.append(rejection)
        policy = rejection
        if with_ppo:
            policy = plan.add(name, "ppo", tokenizer, *rewards, starts_from=rejection, version=version)
        models.append(policy)
        if version == gatt_after:
            policy = plan.add("gatt", "gatt", tokenizer, starts_from=policy)
            models.append(policy)
    if recipe.gatt is not None and gatt_after == 0:
        policy = plan.add("gatt", "gatt", tokenizer, starts_from=policy)
        models.append(policy)
    if models:
        plan.add("evaluate", "evaluate", tokenizer, *models, *rewards)
    plan.add("report", "report", *(stage.name for stage in plan.stages))
    return tuple(plan.stages)


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
    """The stages that a name or a kind means ("rlhf-v2"; "reward": both reward models).

    Raises:
        UsageError: there is none; names the nearest.
    """
    names = [stage.name for stage in stages]
    if name in names:
        return (name,)
    of_kind = tuple(stage.name for stage in stages if stage.kind == name)
    if of_kind:
        return of_kind
    if name in KINDS:
        raise UsageError(f"the recipe has no stage of the kind {name!r}; add its section; it has {', '.join(names)}")
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
    raise UsageError(f"the recipe has no stage {name[:100]!r}; {hint}")
