"""From a recipe to its stages: each kind with its inputs, in order, with what it starts from.  No torch.

The one place that asks whether a section of the recipe is there, and so the one that knows what each stage is handed.

`rlhf: {versions: 5, ppo_from: 5}` becomes rlhf-v1 … rlhf-v4, rlhf-v5-rejection and rlhf-v5; Ghost Attention comes
after its version, and the next version starts from its model (Llama 2 paper, 3.3).  With `rlhf.refresh` each version
from the second on begins with collect-vN, reward-helpfulness-vN and the others of its reward models, and PPO with
collect-vN-ppo and those of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from alignment.annotate.settings import WORLD, CollectSettings
from alignment.data.record_types import DOCUMENTS, PREFERENCES
from alignment.data.settings import DataSettings, SourceSettings
from alignment.evaluate.compared import Compared
from alignment.train.settings import ReplaySource
from alignment.world.settings import WorldSettings
from recipes.accumulated import accumulated, collected_by_version, reads_collected
from recipes.reading.schema import Recipe, RewardStageSettings
from recipes.reading.sources_said import sources_said
from recipes.stages.apart import Apart, Section
from recipes.stages.collect import COLLECT, CollectInputs
from recipes.stages.compared_pairs import ComparedPairs
from recipes.stages.control import CONTROL, ControlInputs
from recipes.stages.disjoint import PromptPools
from recipes.stages.dpo import DPO, DpoInputs
from recipes.stages.evaluate import EVALUATE, EvaluateInputs
from recipes.stages.gatt import GATT, GattInputs
from recipes.stages.grpo import GRPO, GrpoInputs
from recipes.stages.kind import DataSet, FromPolicy, Makes, PlannedStage, StageInputs, StageKind
from recipes.stages.own_answers import START
from recipes.stages.ppo import PPO, PpoInputs
from recipes.stages.pretrain import PRETRAIN, PretrainInputs
from recipes.stages.rejection import REJECTION, RejectionInputs
from recipes.stages.replayed import Replay
from recipes.stages.report import REPORT, ReportInputs
from recipes.stages.reward import REWARD, RewardInputs
from recipes.stages.rlhf_inputs import CampaignPrompts, RewardModels, RewardSource
from recipes.stages.sft import SFT, SftInputs
from recipes.stages.tokenizer import TOKENIZER, TokenizerInputs
from rl.settings import CombinationSettings, DpoSettings, GrpoSettings


class _Plan:
    """Stages as they are added, parents before children."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.stages: list[PlannedStage] = []
        self.sections = [
            Section(key=key, settings=settings, records=records)
            for key, (settings, records) in recipe.data_sections.items()
        ]

    def add(
        self,
        kind: StageKind[Any, Any],
        name: str,
        inputs: StageInputs,
        *parents: str | None,
        starts_from: str | None = None,
        tokenizer: str | None = None,
    ) -> str:
        """Plan a stage; returns its name.  The stages whose records it reads are parents too."""
        read = (source.stage for data in inputs.data() for source in data.settings.sources)
        unique = tuple(dict.fromkeys(p for p in (starts_from, tokenizer, *parents, *read) if p is not None))
        self.stages.append(
            PlannedStage(
                name=name,
                kind=kind,
                inputs=dataclasses.replace(inputs, apart=self.apart(inputs.data())),
                number=len(self.stages) + 1,
                parents=unique,
                starts_from=starts_from,
                tokenizer=tokenizer,
            )
        )
        return name

    def start(self, parent: str | None) -> dict[str, Any]:
        """What every stage that starts from a policy is handed of the model's section."""
        model = self.recipe.model
        if parent is None:
            return {"model": model}
        return {"gradient_checkpointing": model.gradient_checkpointing}

    def apart(self, read: Sequence[DataSet[Any]]) -> Apart | None:
        """What the run keeps from the training of a stage that reads files; None where there is nothing to keep."""
        files = [data for data in read if _reads_files(data.settings)]
        if not files:
            return None
        texts = any(data.records is DOCUMENTS for data in files)
        later = [section for section in self.sections if section.records is not DOCUMENTS]
        test, validation = self.recipe.shares
        found = Apart(
            test=test,
            validation=validation,
            named=tuple(section for section in later if section.names_held_out),
            searched=tuple(s for s in later if s.reads_files)
            if texts and self.recipe.split.search_texts and test + validation
            else (),
            unsearched=texts and not self.recipe.split.search_texts,
            compares=any(data.records is PREFERENCES for data in files),
        )
        return found if found else None

    def world(self, *read: DataSettings | Replay | None, judged: bool = False) -> WorldSettings | None:
        """The embedded world for a stage that reads it, or judges by it."""
        data = [part.documents if isinstance(part, Replay) else part for part in read]
        return self.recipe.world if judged or any(sources_said(part, (), "world") for part in data) else None

    def replay(self, key: str, settings: ReplaySource | None) -> Replay | None:
        """The documents that a stage replays, where it is asked to."""
        pretraining = self.recipe.pretrain.data if self.recipe.pretrain is not None else None
        documents = settings.data(pretraining) if settings is not None else None
        if settings is None or documents is None:
            return None  # the recipe was checked
        return Replay(key=key, documents=documents, borrowed=settings.source is None)

    def pools(self, prompts: CampaignPrompts) -> PromptPools:
        """What the stages so far read, and the prompts of RLHF."""
        read = [(data, stage.inputs.apart) for stage in self.stages for data in stage.inputs.data()]
        apart = self.apart(prompts.data())
        return PromptPools.of([*read, *((data, apart) for data in prompts.data())], self.recipe.world)

    def making(self, what: Makes) -> list[str]:
        """The stages so far that make something."""
        return [stage.name for stage in self.stages if stage.makes(what)]


def stages_of(recipe: Recipe) -> tuple[PlannedStage, ...]:
    """Expand a recipe into its stages, parents before children."""
    plan = _Plan(recipe)
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
    _collect(plan, policy, tokenizer)
    judges = _reward_models(plan, policy, tokenizer)
    learnt_from = {chat or START: judges} if judges is not None else {}
    newest = _versions(plan, policy, tokenizer, judges, models, learnt_from)
    _controls(plan, chat, tokenizer)
    _baselines(plan, chat, tokenizer, judges)
    controls = plan.making(Makes.CONTROL)
    prompts, demonstrations = _prompts(recipe), recipe.sft.data if recipe.sft is not None else None
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
                judges=newest,
                pairs=_compared_pairs(recipe, plan),
                learnt_from=learnt_from,
                answering=_answering(recipe, chat),
            ),
            *models,
            *controls,
            *plan.making(Makes.REWARD_MODEL),
            tokenizer=tokenizer,
        )
    plan.add(REPORT, "report", ReportInputs(), *(stage.name for stage in plan.stages))
    return tuple(plan.stages)


def _tokenizer_inputs(plan: _Plan) -> TokenizerInputs:
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


def _collect(plan: _Plan, chat: str | None, tokenizer: str) -> None:
    settings = plan.recipe.collect
    if settings is None:
        return
    variants = settings.variants or tuple(name for name in (chat,) if name is not None)
    plan.add(COLLECT, "collect", _collect_inputs(plan, settings, variants), *variants, tokenizer=tokenizer)


def _collect_inputs(plan: _Plan, settings: CollectSettings, variants: tuple[str, ...], **later: Any) -> CollectInputs:
    return CollectInputs(
        world=plan.world(settings.prompts, settings.safety_prompts, judged=settings.annotator == WORLD),
        settings=settings,
        variants=variants,
        **later,
        **(plan.start(None) if not variants else {}),
    )


def _reward_models(plan: _Plan, chat: str | None, tokenizer: str) -> RewardModels | None:
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
    plan: _Plan, role: str, settings: RewardStageSettings, comparisons: DataSettings, **more: Any
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
    plan: _Plan, judges: RewardModels, policy: str | None, tokenizer: str, version: int, *, ppo: bool
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


def _versions(
    plan: _Plan,
    chat: str | None,
    tokenizer: str,
    judges: RewardModels | None,
    models: list[str],
    learnt_from: dict[str, RewardModels],
) -> RewardModels | None:
    """RLHF-V1 … Vn and Ghost Attention; adds to `models` and `learnt_from`, returns the newest reward models."""
    recipe, policy = plan.recipe, chat
    versions = recipe.rlhf.versions if recipe.rlhf else 0
    gatt_after = (recipe.gatt.after or versions) if recipe.gatt else -1
    rejections: list[str] = []
    for version in range(1, versions + 1):
        rlhf, prompts = recipe.rlhf, _prompts(recipe)
        if rlhf is None or prompts is None or judges is None:
            break  # the recipe was checked
        with_ppo, name = version >= rlhf.ppo_from, f"rlhf-v{version}"
        before = judges
        if version > 1:
            judges = _refreshed(plan, judges, policy, tokenizer, version, ppo=False)
            learnt_from |= {policy: judges} if policy is not None and judges != before else {}
        base, previous = policy if rlhf.rejection.start_from == "latest" else chat, policy
        mixed = recipe.sft.data if recipe.sft is not None and rlhf.rejection.sft_share > 0 else None
        replay = plan.replay("rlhf.rejection.replay", rlhf.rejection.replay)
        earlier = tuple(rejections) if rlhf.rejection.pool == "all" else ()
        inputs: FromPolicy = RejectionInputs(
            world=plan.world(prompts.helpfulness, prompts.safety, mixed, replay),
            version=version,
            settings=rlhf.rejection,
            samples_from=policy if policy != base else None,
            earlier=earlier,
            mixed_in=mixed,
            replay=replay,
            prompts=prompts,
            judges=judges,
            new_judges=version == 1 or judges != before,
            pools=plan.pools(prompts) if version == 1 else None,
            **plan.start(base),
        )
        rejection = plan.add(
            REJECTION,
            f"{name}-rejection" if with_ppo else name,
            inputs,
            *judges.stages(),
            *earlier,
            policy,
            starts_from=base,
            tokenizer=tokenizer,
        )
        rejections.append(rejection)
        models.append(rejection)  # beside PPO's model too, so that the page says what PPO adds
        policy = rejection
        if with_ppo:
            start, before = rejection if rlhf.ppo.on == "rejection" else previous, judges
            if rlhf.ppo.refresh:
                judges = _refreshed(plan, judges, start, tokenizer, version, ppo=True)
                learnt_from |= {start: judges} if start is not None else {}
            replay = plan.replay("rlhf.ppo.replay", rlhf.ppo.replay)
            inputs = PpoInputs(
                world=plan.world(prompts.helpfulness, prompts.safety, replay),
                replay=replay,
                settings=rlhf.ppo,
                prompts=prompts,
                judges=judges,
                new_judges=judges != before,
                **plan.start(start),
            )
            policy = plan.add(PPO, name, inputs, *judges.stages(), starts_from=start, tokenizer=tokenizer)
            models.append(policy)
        if version == gatt_after:
            policy = _gatt(plan, policy, tokenizer, models)
    if gatt_after == 0:
        _gatt(plan, policy, tokenizer, models)
    return judges


def _gatt(plan: _Plan, policy: str | None, tokenizer: str, models: list[str]) -> str | None:
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


def _controls(plan: _Plan, chat: str | None, tokenizer: str) -> None:
    """What is evaluated beside the versions: the chat model trained on as long as they were, without a reward."""
    recipe = plan.recipe
    if recipe.rlhf is None:
        return
    rejections = tuple(stage.name for stage in plan.stages if stage.kind is REJECTION)
    for control in recipe.rlhf.controls:
        replay = plan.replay("rlhf.rejection.replay", recipe.rlhf.rejection.replay)
        demonstrations = recipe.sft.data if control == "steps" and recipe.sft is not None else None
        asked = _prompts(recipe) if control == "greedy" else None
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


def _baselines(plan: _Plan, chat: str | None, tokenizer: str, judges: RewardModels | None) -> None:
    """What people use instead, from the model that the first version starts from; evaluated beside the versions."""
    for baseline in plan.recipe.rlhf.baselines if plan.recipe.rlhf is not None else ():
        if baseline == "dpo":
            _dpo(plan, chat, tokenizer)
        elif judges is not None:
            _grpo(plan, chat, tokenizer, judges)


def _dpo(plan: _Plan, chat: str | None, tokenizer: str) -> None:
    recipe = plan.recipe
    settings = (recipe.rlhf.dpo if recipe.rlhf is not None else None) or DpoSettings()
    pairs = settings.data or _collected(plan)
    if pairs is None:
        return  # the recipe was checked
    inputs = DpoInputs(world=plan.world(pairs), settings=settings, pairs=pairs, **plan.start(chat))
    plan.add(DPO, "dpo", inputs, starts_from=chat, tokenizer=tokenizer)


def _collected(plan: _Plan) -> DataSettings | None:
    """All that the run collects, of both campaigns, but for the watch model's; None where nothing is collected."""
    settings = plan.recipe.collect
    sources = tuple(SourceSettings(stage=stage.name) for stage in plan.stages if stage.kind is COLLECT)
    if settings is None or not sources:
        return None
    return DataSettings(train=sources, held_out=sources if settings.num_held_out else ())


def _grpo(plan: _Plan, chat: str | None, tokenizer: str, judges: RewardModels) -> None:
    rlhf, prompts = plan.recipe.rlhf, _prompts(plan.recipe)
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


def _reads_files(data: DataSettings) -> bool:
    """Whether the run's split holds for a data set: a town's records and other stages' are split already."""
    return bool(data.held_out_fraction) or any(source.path or source.hub for source in data.sources)


def holds_out(data: DataSettings, test: float) -> bool:
    """Whether a data set has a test part: sources of its own, a town's, or a share of its prompts."""
    return bool(data.held_out or any(source.world for source in data.train) or (test and _reads_files(data)))


def _compared_pairs(recipe: Recipe, plan: _Plan) -> ComparedPairs:
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


def _prompts(recipe: Recipe) -> CampaignPrompts | None:
    if recipe.rlhf is None:
        return None
    return CampaignPrompts(helpfulness=recipe.rlhf.prompts, safety=recipe.rlhf.safety_prompts)
