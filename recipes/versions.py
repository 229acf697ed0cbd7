"""RLHF's part of a plan: what is collected, the reward models, the versions, Ghost Attention.  No torch.

`rlhf: {versions: 5, ppo_from: 5}` becomes rlhf-v1 … rlhf-v4, rlhf-v5-rejection and rlhf-v5; Ghost Attention comes
after its version, and the next version starts from its model (Llama 2 paper, 3.3).  With `rlhf.refresh` each version
from the second on begins with collect-vN, reward-helpfulness-vN and the others of its reward models, and PPO with
collect-vN-ppo and those of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alignment.annotate.settings import WORLD, CollectSettings
from alignment.data.record_types import DIALOGUES
from alignment.data.settings import DataSettings
from recipes.accumulated import accumulated, collected_by_version, reads_collected
from recipes.draft import Draft
from recipes.reading.schema import Recipe, RewardStageSettings
from recipes.stages.collect import COLLECT, CollectInputs
from recipes.stages.gatt import GATT, GattInputs
from recipes.stages.kind import DataSet
from recipes.stages.own_answers import START
from recipes.stages.ppo import PPO, PpoInputs
from recipes.stages.rejection import REJECTION, RejectionInputs
from recipes.stages.reward import REWARD, RewardInputs
from recipes.stages.rlhf_inputs import RewardModels, RewardSource
from rl.settings import CombinationSettings, RejectionSettings

if TYPE_CHECKING:
    from alignment.records import Dialogue


@dataclass(frozen=True, kw_only=True)
class Versions:
    """What the versions came to in the plan.

    Attributes:
        models: the stages whose models are evaluated, in order; PPO's start is one of them.
        newest: the last version's reward models.
        learnt_from: model -> the reward models that learnt from its answers.
    """

    models: tuple[str, ...]
    newest: RewardModels | None
    learnt_from: Mapping[str, RewardModels]


def add_collection(plan: Draft, chat: str | None, tokenizer: str) -> None:
    settings = plan.recipe.collect
    if settings is None:
        return
    variants = settings.variants or tuple(name for name in (chat,) if name is not None)
    plan.add(COLLECT, "collect", _collect_inputs(plan, settings, variants), *variants, tokenizer=tokenizer)


def _collect_inputs(plan: Draft, settings: CollectSettings, variants: tuple[str, ...], **later: Any) -> CollectInputs:
    return CollectInputs(
        world=plan.world(settings.prompts, settings.safety_prompts, judged=settings.annotator == WORLD),
        settings=settings,
        variants=variants,
        **later,
        **(plan.start(None) if not variants else {}),
    )


def add_reward_models(plan: Draft, chat: str | None, tokenizer: str) -> RewardModels | None:
    recipe = plan.recipe
    if recipe.reward is None:
        return None
    sources: dict[str, RewardSource] = {}
    for role, settings in recipe.reward.by_role().items():
        if settings.data is None:
            sources[role] = RewardSource(key=f"reward.{role}", brought=settings.brought)
            continue
        inputs = _reward_inputs(plan, role, settings, settings.data, **plan.start(chat))
        name = plan.add(REWARD, f"reward-{role}", inputs, starts_from=chat, tokenizer=tokenizer)
        sources[role] = RewardSource(key=f"reward.{role}", stage=name)
    return RewardModels(
        helpfulness=sources["helpfulness"],
        safety=sources.get("safety"),
        watch=sources.get("watch"),
        combination=recipe.rlhf.combination if recipe.rlhf is not None else CombinationSettings(),
        checks=recipe.rlhf.checks if recipe.rlhf is not None else None,
    )


def _reward_inputs(
    plan: Draft, role: str, settings: RewardStageSettings, comparisons: DataSettings, **more: Any
) -> RewardInputs:
    # what a model of helpfulness notices is asked in the town, wherever its comparisons come from; a model of
    # safety that learnt there is asked of both campaigns
    helps, rlhf = role == "helpfulness", plan.recipe.rlhf
    return RewardInputs(
        world=plan.world(comparisons, judged=helps),
        role=role,
        settings=settings,
        comparisons=comparisons,
        settings_key=f"reward.{role}",
        probed=("helpfulness",) if helps else ("helpfulness", "safety"),
        safety_threshold=rlhf.combination.safety_threshold if rlhf is not None else None,
        **more,
    )


def _refreshed(
    plan: Draft, judges: RewardModels, policy: str | None, tokenizer: str, version: int, *, ppo: bool
) -> RewardModels:
    """Reward models that have learnt from the newest model's answers too; those of before where none is asked for."""
    recipe = plan.recipe
    rlhf, reward, first = recipe.rlhf, recipe.reward, recipe.collect
    if rlhf is None or reward is None or first is None or rlhf.collect is None or rlhf.refresh is None:
        return judges
    later = f"v{version}-ppo" if ppo else f"v{version}"
    asked = collected_by_version(first, rlhf.collect, temperature=rlhf.ppo.sampling.temperature if ppo else None)
    earlier = tuple(stage.name for stage in plan.stages if stage.kind is COLLECT)
    variants = (policy,) if policy is not None else ()
    asked = asked.model_copy(update={"variants": variants})
    said = rlhf.collect.model_copy(update={"older_share": 1.0})  # which is no matter of a collection
    inputs = _collect_inputs(plan, asked, variants, later=later, earlier=earlier, said=said, anew=True)
    later_models = {"rlhf.collect": rlhf.collect, "rlhf.refresh": rlhf.refresh}
    newest = plan.add(COLLECT, f"collect-{later}", inputs, *earlier, policy, tokenizer=tokenizer)
    sources: dict[str, RewardSource] = {}
    for role, source in judges.by_role().items():
        settings = reward.by_role()[role]
        sources[role] = source
        if settings.data is None or not reads_collected(settings.data):
            continue  # brought, or of comparisons that no version adds to
        data = accumulated(settings.data, (*earlier, newest), rlhf.collect.older_share)
        continues = source.stage if rlhf.refresh == "continue" else None
        new: dict[str, Any] = {"version": version, "later": later_models, "continues": continues, "anew": True}
        reward_inputs = _reward_inputs(plan, role, settings, data, **new, **plan.start(policy))
        name = plan.add(
            REWARD, f"reward-{role}-{later}", reward_inputs, continues, starts_from=policy, tokenizer=tokenizer
        )
        sources[role] = RewardSource(key=f"reward.{role}", stage=name)
    return dataclasses.replace(
        judges,
        helpfulness=sources["helpfulness"],
        safety=sources.get("safety"),
        watch=sources.get("watch"),
    )


def add_versions(plan: Draft, chat: str | None, tokenizer: str, judges: RewardModels | None) -> Versions:
    """RLHF-V1 … Vn and Ghost Attention.

    Args:
        judges: the first version's.
    """
    recipe, policy = plan.recipe, chat
    models: list[str] = []
    learnt_from = {chat or START: judges} if judges is not None else {}
    versions = recipe.rlhf.versions if recipe.rlhf else 0
    gatt_after = (recipe.gatt.after or versions) if recipe.gatt else -1
    for version in range(1, versions + 1):
        rlhf, prompts = recipe.rlhf, plan.prompts
        if rlhf is None or prompts is None or judges is None:
            break  # the recipe was checked
        with_ppo = version >= rlhf.ppo_from
        checked = judges if version > 1 else None
        if not (with_ppo and rlhf.ppo.on == "previous"):
            if version > 1:
                judges = _refreshed(plan, judges, policy, tokenizer, version, ppo=False)
            if judges != checked:
                learnt_from[policy or START] = judges
            policy = _rejection(plan, policy, chat, tokenizer, judges, version, new_judges=judges != checked)
            models.append(policy)  # beside PPO's model too, so that the page says what PPO adds
            checked = judges
        if with_ppo:
            if rlhf.ppo.refresh:
                judges = _refreshed(plan, judges, policy, tokenizer, version, ppo=True)
            if judges != checked:
                learnt_from[policy or START] = judges
            policy = _ppo(plan, policy, tokenizer, judges, version, new_judges=judges != checked)
            models.append(policy)
        if version == gatt_after:
            policy = _gatt(plan, policy, tokenizer, models)
    if gatt_after == 0:
        _gatt(plan, policy, tokenizer, models)
    return Versions(models=tuple(models), newest=judges, learnt_from=learnt_from)


def _rejection(
    plan: Draft,
    policy: str | None,
    chat: str | None,
    tokenizer: str,
    judges: RewardModels,
    version: int,
    *,
    new_judges: bool,
) -> str:
    """One version's rejection sampling; `policy` is the newest model, which samples."""
    recipe, rlhf, prompts = plan.recipe, plan.recipe.rlhf, plan.prompts
    assert rlhf is not None
    assert prompts is not None
    base = policy if rlhf.rejection.start_from == "latest" else chat
    mixed = _mixed_in(recipe, rlhf.rejection)
    replay = plan.replay("rlhf.rejection.replay", rlhf.rejection.replay)
    before = tuple(stage.name for stage in plan.stages if stage.kind is REJECTION)
    earlier = before if rlhf.rejection.pool == "all" else ()
    inputs = RejectionInputs(
        world=plan.world(prompts.helpfulness, prompts.safety, mixed.settings if mixed is not None else None, replay),
        version=version,
        settings=rlhf.rejection,
        samples_from=policy if policy != base else None,
        earlier=earlier,
        mixed_in=mixed,
        replay=replay,
        prompts=prompts,
        judges=judges,
        new_judges=new_judges,
        pools=plan.pools(prompts) if not before else None,
        **plan.start(base),
    )
    name = f"rlhf-v{version}-rejection" if version >= rlhf.ppo_from else f"rlhf-v{version}"
    return plan.add(REJECTION, name, inputs, *judges.stages(), *earlier, policy, starts_from=base, tokenizer=tokenizer)


def _mixed_in(recipe: Recipe, settings: RejectionSettings) -> DataSet[Dialogue] | None:
    """The demonstrations that rejection sampling mixes in: its own sources', or what SFT trains on."""
    if not settings.sft_share:
        return None
    if settings.sft_source is not None:
        data = DataSettings(train=settings.sft_source)
        return DataSet(key="rlhf.rejection.sft_source", settings=data, records=DIALOGUES)
    assert recipe.sft is not None  # the recipe was checked
    return DataSet(key="sft", settings=recipe.sft.data, records=DIALOGUES)


def _ppo(
    plan: Draft, start: str | None, tokenizer: str, judges: RewardModels, version: int, *, new_judges: bool
) -> str:
    """One version's PPO."""
    rlhf, prompts = plan.recipe.rlhf, plan.prompts
    assert rlhf is not None
    assert prompts is not None
    replay = plan.replay("rlhf.ppo.replay", rlhf.ppo.replay)
    inputs = PpoInputs(
        world=plan.world(prompts.helpfulness, prompts.safety, replay),
        replay=replay,
        settings=rlhf.ppo,
        prompts=prompts,
        judges=judges,
        new_judges=new_judges,
        **plan.start(start),
    )
    name = f"rlhf-v{version}"
    return plan.add(PPO, name, inputs, *judges.stages(), starts_from=start, tokenizer=tokenizer)


def _gatt(plan: Draft, policy: str | None, tokenizer: str, models: list[str]) -> str | None:
    recipe = plan.recipe
    if recipe.gatt is None:
        return policy
    mixed = recipe.sft.data if recipe.sft is not None and recipe.gatt.sft_share > 0 else None
    replay = plan.replay("gatt.replay", recipe.gatt.replay)
    inputs = GattInputs(
        world=plan.world(recipe.gatt.data, mixed, replay, judged=recipe.gatt.constraints == "world"),
        settings=recipe.gatt,
        mixed_in=mixed,
        replay=replay,
        **plan.start(policy),
    )
    models.append(plan.add(GATT, "gatt", inputs, starts_from=policy, tokenizer=tokenizer))
    return models[-1]
