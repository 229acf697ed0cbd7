"""From a recipe to its stages: each kind with its inputs, in order, with what it starts from.  No torch.

With `versions.py`, which plans RLHF's part, the one place that asks whether a section of the recipe is there, and so
the one that knows what each stage is handed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignment.data.settings import DataSettings, SourceSettings
from alignment.evaluate.compared import Compared
from recipes.draft import Draft
from recipes.reading.schema import Recipe
from recipes.stages.collect import COLLECT
from recipes.stages.compared_pairs import ComparedPairs
from recipes.stages.control import CONTROL, ControlInputs
from recipes.stages.dpo import DPO, DpoInputs
from recipes.stages.evaluate import EVALUATE
from recipes.stages.evaluate_inputs import EvaluateInputs
from recipes.stages.gatt import GATT
from recipes.stages.grpo import GRPO, GrpoInputs
from recipes.stages.kind import FromPolicy, Makes, PlannedStage, StageKind
from recipes.stages.own_answers import START
from recipes.stages.ppo import PPO, PpoInputs
from recipes.stages.pretrain import PRETRAIN, PretrainInputs
from recipes.stages.rejection import REJECTION, RejectionInputs
from recipes.stages.report import REPORT, ReportInputs
from recipes.stages.rlhf_inputs import RewardModels
from recipes.stages.sft import SFT, SftInputs
from recipes.stages.tokenizer import TOKENIZER, TokenizerInputs
from recipes.versions import add_collection, add_reward_models, add_versions
from rl.settings import DpoSettings, GrpoSettings


def stages_of(recipe: Recipe) -> tuple[PlannedStage, ...]:
    """Expand a recipe into its stages, parents before children."""
    plan = Draft(recipe)
    tokenizer = plan.add(TOKENIZER, "tokenizer", _tokenizer_inputs(plan))
    policy: str | None = None
    if recipe.pretrain is not None:
        inputs: FromPolicy = PretrainInputs(
            world=plan.world(recipe.pretrain.data), model=recipe.model, settings=recipe.pretrain
        )
        policy = plan.add(PRETRAIN, "pretrain", inputs, tokenizer=tokenizer)
    if recipe.sft is not None:
        replay = plan.replay("sft.replay", recipe.sft.replay)
        inputs = SftInputs(
            world=plan.world(recipe.sft.data, replay),
            model=recipe.model,
            settings=recipe.sft,
            replay=replay,
        )
        policy = plan.add(SFT, "sft", inputs, starts_from=policy, tokenizer=tokenizer)
    # the models that the evaluation compares; a chat model's own base is one of them
    models = plan.making(Makes.POLICY) if recipe.sft is not None else []
    chat = policy
    add_collection(plan, policy, tokenizer)
    judges = add_reward_models(plan, policy, tokenizer)
    versions = add_versions(plan, policy, tokenizer, judges)
    models += versions.models
    _controls(plan, chat, tokenizer)
    _baselines(plan, chat, tokenizer, judges)
    controls = plan.making(Makes.CONTROL)
    prompts, demonstrations = plan.prompts, recipe.sft.data if recipe.sft is not None else None
    # SFT alone that holds nothing out leaves nothing to ask
    if models and (prompts is not None or (demonstrations is not None and demonstrations.holds_out)):
        kinds = {stage.name: stage.kind for stage in plan.stages}
        plan.add(
            EVALUATE,
            "evaluate",
            EvaluateInputs(
                world=recipe.world,
                model=recipe.model,
                settings=recipe.evaluate,
                versions=tuple(models),
                controls=tuple(controls),
                with_start=recipe.sft is None,
                compared=_compared({name: kinds[name] for name in models}, chat),
                prompts=prompts,
                demonstrations=demonstrations if prompts is None else None,
                judges=versions.newest,
                pairs=_compared_pairs(recipe, plan),
                learnt_from=versions.learnt_from,
                answering=_answering(recipe, chat),
            ),
            *models,
            *controls,
            *plan.making(Makes.REWARD_MODEL),
            tokenizer=tokenizer,
        )
    plan.add(REPORT, "report", ReportInputs(), *(stage.name for stage in plan.stages))
    return tuple(plan.stages)


def _tokenizer_inputs(plan: Draft) -> TokenizerInputs:
    recipe = plan.recipe
    documents = recipe.tokenizer_data
    borrowed = recipe.tokenizer.data is None and recipe.tokenizer.path is None and recipe.pretrain is not None
    chats = recipe.sft.data if documents is not None and recipe.sft is not None else None
    taken = recipe.tokenizer.path is None and documents is None
    return TokenizerInputs(
        world=plan.world(documents, chats, recipe.tokenizer.data),
        settings=recipe.tokenizer,
        documents=documents,
        documents_key="pretrain" if borrowed else None,
        chats=chats,
        checkpoint=recipe.model if taken else None,
    )


def _controls(plan: Draft, chat: str | None, tokenizer: str) -> None:
    """What is evaluated beside the versions: the chat model trained on as long as they were, without a reward."""
    recipe = plan.recipe
    if recipe.rlhf is None:
        return
    rejections = tuple(stage.name for stage in plan.stages if stage.kind is REJECTION)
    for control in recipe.rlhf.controls:
        replay = plan.replay("rlhf.rejection.replay", recipe.rlhf.rejection.replay)
        demonstrations = recipe.sft.data if control == "steps" and recipe.sft is not None else None
        asked = plan.prompts if control == "greedy" else None
        inputs = ControlInputs(
            world=plan.world(demonstrations, *((asked.helpfulness, asked.safety) if asked else ()), replay),
            settings=recipe.rlhf.rejection,
            demonstrations=demonstrations,
            prompts=asked,
            versions=rejections,
            replay=replay,
            **plan.start(chat),
        )
        plan.add(CONTROL, f"control-{control}", inputs, *rejections, starts_from=chat, tokenizer=tokenizer)


def _baselines(plan: Draft, chat: str | None, tokenizer: str, judges: RewardModels | None) -> None:
    """What people use instead, from the model that the first version starts from; evaluated beside the versions."""
    for baseline in plan.recipe.rlhf.baselines if plan.recipe.rlhf is not None else ():
        if baseline == "dpo":
            _dpo(plan, chat, tokenizer)
        elif judges is not None:
            _grpo(plan, chat, tokenizer, judges)


def _dpo(plan: Draft, chat: str | None, tokenizer: str) -> None:
    recipe = plan.recipe
    settings = (recipe.rlhf.dpo if recipe.rlhf is not None else None) or DpoSettings()
    pairs = settings.data or _collected(plan)
    if pairs is None:
        return  # the recipe was checked
    inputs = DpoInputs(world=plan.world(pairs), settings=settings, pairs=pairs, **plan.start(chat))
    plan.add(DPO, "dpo", inputs, starts_from=chat, tokenizer=tokenizer)


def _collected(plan: Draft) -> DataSettings | None:
    """All that the run collects, of both campaigns, but for the watch model's; None where nothing is collected."""
    settings = plan.recipe.collect
    sources = tuple(SourceSettings(stage=stage.name) for stage in plan.stages if stage.kind is COLLECT)
    if settings is None or not sources:
        return None
    return DataSettings(train=sources, held_out=sources if settings.num_held_out else ())


def _grpo(plan: Draft, chat: str | None, tokenizer: str, judges: RewardModels) -> None:
    rlhf, prompts = plan.recipe.rlhf, plan.prompts
    if rlhf is None or prompts is None:
        return  # the recipe was checked
    settings = rlhf.grpo or GrpoSettings()
    sampled_by: dict[str, int | None] = {}
    if settings.samples is None:
        sizes = {REJECTION.name: None, PPO.name: rlhf.ppo.batch_size}
        sampled_by = {stage.name: sizes[stage.kind.name] for stage in plan.stages if stage.kind.name in sizes}
    inputs = GrpoInputs(
        world=plan.world(prompts.helpfulness, prompts.safety),
        settings=settings,
        prompts=prompts,
        judges=judges,
        sampled_by=sampled_by,
        **plan.start(chat),
    )
    plan.add(GRPO, "grpo", inputs, *judges.stages(), *sampled_by, starts_from=chat, tokenizer=tokenizer)


def _compared_pairs(recipe: Recipe, plan: Draft) -> ComparedPairs:
    """The comparisons of the reward models that the recipe trains, where there are two models to compare."""
    roles = recipe.reward.by_role() if recipe.reward is not None else {}
    if len(roles) < 2:
        return ComparedPairs()
    data = {role: section.data for role, section in roles.items() if section.data is not None}
    lengths = {role: roles[role].context_length for role in data}
    # the watch model stands beside the two on their pairs; what is held out of its own is of the same prompts
    judged = {
        stage.name: stage.inputs.judges
        for stage in plan.stages
        if isinstance(stage.inputs, (RejectionInputs, PpoInputs))
    }
    several = judged if len(set(judged.values())) > 1 else {}
    return ComparedPairs(comparisons={r: d for r, d in data.items() if r != "watch"}, lengths=lengths, versions=several)


def _answering(recipe: Recipe, chat: str | None) -> tuple[str, ...]:
    """The models on whose own answers the reward models are measured: unless others are named, the chat model that
    these start from."""
    own = recipe.evaluate.own_answers
    if own is None:
        return ()
    return own.models or (START if chat is None else chat,)


def _compared(models: Mapping[str, StageKind[Any, Any]], chat: str | None) -> Compared | None:
    """The two models of the page's first sentence: what RLHF, else Ghost Attention, else fine-tuning set out from and
    came to; Ghost Attention after RLHF serves another aim."""
    names = list(models)
    rlhf = [name for name in names if models[name] in (REJECTION, PPO)]
    gatt = [name for name in names if models[name] is GATT]
    before = chat if chat is not None and chat in models else names[0]
    for after, work in ((rlhf[-1:], "alignment"), (gatt, "Ghost Attention")):
        if after:
            return Compared(before=before, after=after[0], work=work) if before != after[0] else None
    return Compared(before=names[0], after=names[-1], work="fine-tuning") if len(names) > 1 else None
