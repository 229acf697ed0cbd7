"""The literal table: what each kind of stage calls.  Every entry is one public Python call with its inputs read.

Heavy imports happen inside, so that the table can be read without torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.errors import UsageError
from alignment.store.atomic import write_json
from recipes.stages.context import StageContext

if TYPE_CHECKING:
    from alignment.constraint import Constraint
    from alignment.data.corpus import Loaded
    from alignment.data.settings import DataSettings
    from alignment.policy.policy import Policy
    from alignment.records import Dialogue
    from alignment.world import World
    from reward.model import RewardModel
    from rl.rollout import Judges

Result = dict[str, Any]


def run_tokenizer(context: StageContext) -> Result:
    """Train or load the tokenizer; saves `tokenizer/`."""
    from alignment.data.corpus import load_dialogues, load_documents
    from alignment.text.chat import dialogue_text
    from alignment.text.tokenizer import Tokenizer, save_tokenizer, train_tokenizer

    recipe, session = context.recipe, context.session
    texts: list[str] = []
    if recipe.tokenizer.path is not None:
        tokenizer, origin = Tokenizer.load(recipe.tokenizer.path), recipe.tokenizer.path
    elif recipe.tokenizer_data is None:
        from alignment.policy.policy import checkpoint_folder

        assert recipe.model.path is not None  # the recipe was checked
        tokenizer = Tokenizer.load(checkpoint_folder(recipe.model.path, recipe.model.revision))
        origin = recipe.model.path
    else:
        loaded = load_documents(
            recipe.tokenizer_data, seed=session.seed, quarantine=_quarantine(context), world=_world(context)
        )
        texts = [document.text for document in loaded.train]
        if recipe.sft is not None:  # first, so that the chat format's markers get pieces of their own
            dialogues = load_dialogues(recipe.sft.data, seed=session.seed, quarantine=None, world=_world(context))
            texts = [*(dialogue_text(dialogue) for dialogue in dialogues.train), *texts]
        tokenizer, origin = train_tokenizer(texts, recipe.tokenizer), "trained"
    save_tokenizer(tokenizer, session.folder / "tokenizer")
    sample = texts[:: max(1, len(texts) // 200)]
    tokens = [token for ids in tokenizer.encode_all(sample) for token in ids]
    characters = sum(len(text) for text in sample)
    return {
        "origin": origin,
        "vocab_size": tokenizer.vocab_size,
        "sha256": tokenizer.sha256,
        "characters_per_token": characters / len(tokens) if tokens else 0.0,
        "byte_share": sum(tokenizer.is_byte(token) for token in tokens) / len(tokens) if tokens else 0.0,
    }


def run_pretrain(context: StageContext) -> Result:
    """Pretrain; saves `checkpoint/`."""
    from alignment.data.corpus import load_documents
    from alignment.model.checkpoint import count_parameters, new_model
    from alignment.policy.pairing import require_same_tokenizer
    from alignment.policy.policy import Policy, load_policy
    from alignment.text.tokenizer import Tokenizer
    from alignment.train.pretrain import pretrain

    recipe, session = context.recipe, context.session
    assert recipe.pretrain is not None
    loaded = load_documents(
        recipe.pretrain.data, seed=session.seed, quarantine=_quarantine(context), world=_world(context)
    )
    _keep_report(context, loaded)
    tokenizer = Tokenizer.load(context.folder_of("tokenizer") / "tokenizer")
    if recipe.model.path is not None:
        policy = load_policy(recipe.model.path, revision=recipe.model.revision)
        require_same_tokenizer(policy.tokenizer, f"the checkpoint {recipe.model.path}", tokenizer, "the run")
    else:
        policy = Policy(model=new_model(recipe.model, tokenizer.vocab_size, seed=session.seed), tokenizer=tokenizer)
    result = pretrain(policy, loaded.train, recipe.pretrain, session, held_out=loaded.held_out)
    return {**result.as_json(), "parameters": count_parameters(policy.model)}


def run_sft(context: StageContext) -> Result:
    """Supervised fine-tuning; saves `checkpoint/`."""
    from alignment.data.corpus import load_dialogues
    from alignment.model.checkpoint import count_parameters
    from alignment.train.sft import sft

    recipe, session = context.recipe, context.session
    assert recipe.sft is not None
    loaded = load_dialogues(recipe.sft.data, seed=session.seed, quarantine=_quarantine(context), world=_world(context))
    _keep_report(context, loaded)
    policy = _start(context)
    result = sft(policy, loaded.train, recipe.sft, session, held_out=loaded.held_out)
    return {**result.as_json(), "parameters": count_parameters(policy.model)}


def run_reward(context: StageContext) -> Result:
    """One reward model; saves `checkpoint/` and `evaluation.json`."""
    from alignment.data.corpus import load_preferences
    from reward.train import train_reward

    recipe, session = context.recipe, context.session
    assert recipe.reward is not None
    assert context.stage.role is not None
    settings = getattr(recipe.reward, context.stage.role)
    loaded = load_preferences(settings.data, seed=session.seed, quarantine=_quarantine(context), world=_world(context))
    _keep_report(context, loaded)
    result = train_reward(
        _start(context), loaded.train, settings, session, held_out=loaded.held_out, name=context.stage.role
    )
    world = _world(context)
    if world is not None and context.stage.role == "helpfulness":
        from reward.model import RewardModel
        from reward.notices import noticed

        model = RewardModel.load(session.folder / "checkpoint")
        write_json(session.folder / "noticed.json", noticed(model, world, session.compute))
    return result.as_json()


def run_rejection(context: StageContext) -> Result:
    """One version by rejection sampling; saves `checkpoint/`, `kept.jsonl`, `rejection.json`."""
    from alignment.policy.policy import load_policy
    from rl.rejection import rejection_sample

    recipe, session, stage = context.recipe, context.session, context.stage
    assert recipe.rlhf is not None
    assert stage.version is not None
    train, _ = rlhf_prompts(context)
    newest = next(name for name in reversed(stage.parents) if _makes_policy(context, name)) if stage.parents else None
    start = _start(context)
    policy = start
    if recipe.rlhf.rejection.start_from == "sft" and newest is not None and newest != stage.starts_from:
        policy = load_policy(context.folder_of(newest) / "checkpoint")
    earlier = [context.folder_of(name) for name in stage.parents if _kind(context, name) == "rejection"]
    return rejection_sample(
        policy,
        train,
        _judges(context),
        recipe.rlhf.rejection,
        session,
        version=stage.version,
        earlier=earlier,
        sft_dialogues=_sft_dialogues(context, recipe.rlhf.rejection.sft_share),
        start=start,
    ).as_json()


def run_ppo(context: StageContext) -> Result:
    """PPO on the version's rejection-sampling model; saves `checkpoint/` and `ppo.json`."""
    from rl.ppo import PromptSplit, train_ppo

    recipe = context.recipe
    assert recipe.rlhf is not None
    train, held_out = rlhf_prompts(context)
    prompts = PromptSplit(train=train, held_out=held_out)
    result = train_ppo(_start(context), _judges(context), prompts, recipe.rlhf.ppo, context.session)
    return result.as_json()


def run_gatt(context: StageContext) -> Result:
    """Ghost Attention; saves `checkpoint/` and `gatt.json`."""
    from alignment.data.corpus import load_dialogues
    from gatt.train import train_gatt

    recipe, session = context.recipe, context.session
    assert recipe.gatt is not None
    loaded = load_dialogues(recipe.gatt.data, seed=session.seed, quarantine=_quarantine(context), world=_world(context))
    _keep_report(context, loaded)
    seen, unseen = _constraints(context, recipe.gatt.constraints)
    return train_gatt(
        _start(context),
        loaded.train,
        loaded.held_out or loaded.train,
        seen,
        unseen,
        recipe.gatt,
        session,
        sft_dialogues=_sft_dialogues(context, recipe.gatt.sft_share),
    ).as_json()


def run_evaluate(context: StageContext) -> Result:
    """Every version answers held-out prompts; saves `answers.jsonl` and `evaluation.json`."""
    from alignment.evaluate.versions import Scorer, Version, choose_held_out, evaluate_versions
    from rl.scorers import gold_scorer, reward_scorer

    recipe, session = context.recipe, context.session
    prompts: dict[str, Sequence[Dialogue]] = {}
    if recipe.rlhf is not None:
        _, held_out = rlhf_prompts(context)
        counts = {"helpfulness": recipe.evaluate.num_prompts, "safety": recipe.evaluate.num_safety_prompts}
        for campaign, count in counts.items():
            of_campaign = [prompt for prompt in held_out if prompt.meta.get("campaign", "helpfulness") == campaign]
            if of_campaign:
                prompts[campaign] = choose_held_out(of_campaign, count, seed=session.seed, name=campaign)
    elif recipe.sft is not None:
        from alignment.data.corpus import load_dialogues

        loaded = load_dialogues(recipe.sft.data, seed=session.seed, quarantine=None, world=_world(context))
        asked = [dialogue.prompt() for dialogue in loaded.held_out]
        prompts["helpfulness"] = choose_held_out(
            asked, recipe.evaluate.num_prompts, seed=session.seed, name="helpfulness"
        )
    scorers: dict[str, Scorer] = {}
    if recipe.reward is not None:
        scorers["reward"] = reward_scorer(_judges(context), session.compute)
    world = _world(context)
    if world is not None:
        scorers["gold"] = gold_scorer(world.judge())
    if recipe.evaluate.endpoint is not None:
        from alignment.evaluate.endpoint_scorer import EndpointScorer

        scorers["endpoint"] = EndpointScorer(recipe.evaluate.endpoint, session)
    versions = [
        Version(name=name, checkpoint=context.folder_of(name) / "checkpoint")
        for name in context.stage.parents
        if _makes_policy(context, name)
    ]
    return evaluate_versions(versions, prompts, scorers, recipe.evaluate, session)


def run_report(context: StageContext) -> Result:
    """The page; saves `report/` in the run folder."""
    from recipes.running.page import write_run_report

    path = write_run_report(context.run_folder)
    return {"page": path.relative_to(context.run_folder).as_posix()}


STAGES: dict[str, Callable[[StageContext], Result]] = {
    "tokenizer": run_tokenizer,
    "pretrain": run_pretrain,
    "sft": run_sft,
    "reward": run_reward,
    "rejection": run_rejection,
    "ppo": run_ppo,
    "gatt": run_gatt,
    "evaluate": run_evaluate,
    "report": run_report,
}


def rlhf_prompts(context: StageContext) -> tuple[list[Dialogue], list[Dialogue]]:
    """Training and held-out prompts of both campaigns; safety prompts are tagged."""
    from alignment.data.corpus import load_prompts

    recipe, session = context.recipe, context.session
    assert recipe.rlhf is not None
    train: list[Dialogue] = []
    held_out: list[Dialogue] = []
    campaigns: list[tuple[str, DataSettings | None]] = [
        ("helpfulness", recipe.rlhf.prompts),
        ("safety", recipe.rlhf.safety_prompts),
    ]
    reports = {}
    for campaign, settings in campaigns:
        if settings is None:
            continue
        quarantine = session.folder / f"quarantine-{campaign}.jsonl"
        loaded = load_prompts(settings, seed=session.seed, quarantine=quarantine, world=_world(context))
        reports[campaign] = _plain_report(loaded)
        train += [_tagged(prompt, campaign) for prompt in loaded.train]
        held_out += [_tagged(prompt, campaign) for prompt in loaded.held_out]
    write_json(session.folder / "data.json", reports)
    return train, held_out


def _tagged(prompt: Dialogue, campaign: str) -> Dialogue:
    return dataclasses.replace(prompt, meta={**prompt.meta, "campaign": campaign})


def _world(context: StageContext) -> World | None:
    if context.recipe.world is None:
        return None
    from alignment.world import World

    return World(context.recipe.world)


def _quarantine(context: StageContext) -> Path:
    return context.session.folder / "quarantine.jsonl"


def _keep_report(context: StageContext, loaded: Loaded[Any]) -> None:
    write_json(context.session.folder / "data.json", {context.stage.kind: _plain_report(loaded)})


def _plain_report(loaded: Loaded[Any]) -> dict[str, Any]:
    """The data report without the run's own place, so that two runs' files compare equal."""
    report = loaded.report.as_dict()
    return {**report, "quarantine": Path(report["quarantine"]).name if report.get("quarantine") else None}


def _start(context: StageContext) -> Policy:
    """The policy that the stage starts from, checked against the run's tokenizer."""
    from alignment.policy.pairing import require_same_tokenizer
    from alignment.policy.policy import load_policy
    from alignment.text.tokenizer import Tokenizer

    recipe, parent = context.recipe, context.stage.starts_from
    if parent is not None:
        policy = load_policy(context.folder_of(parent) / "checkpoint")
    else:
        assert recipe.model.path is not None  # the recipe was checked
        policy = load_policy(recipe.model.path, revision=recipe.model.revision)
    tokenizer = Tokenizer.load(context.folder_of("tokenizer") / "tokenizer")
    require_same_tokenizer(policy.tokenizer, f"the checkpoint {parent or recipe.model.path}", tokenizer, "the run")
    if recipe.model.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable()
    return policy


def _judges(context: StageContext) -> Judges:
    from rl.rollout import Judges

    recipe = context.recipe
    threshold = recipe.rlhf.combination.safety_threshold if recipe.rlhf else 0.15
    return Judges(
        helpfulness=_reward_model(context, "helpfulness"),
        safety=_reward_model(context, "safety"),
        safety_threshold=threshold,
    )


def _reward_model(context: StageContext, role: str) -> RewardModel:
    from reward.model import RewardModel

    return RewardModel.load(context.folder_of(f"reward-{role}") / "checkpoint")


def _sft_dialogues(context: StageContext, share: float) -> Sequence[Dialogue]:
    if share <= 0 or context.recipe.sft is None:
        return ()
    from alignment.data.corpus import load_dialogues

    return load_dialogues(
        context.recipe.sft.data, seed=context.session.seed, quarantine=None, world=_world(context)
    ).train


def _constraints(context: StageContext, where: str) -> tuple[list[Constraint], list[Constraint]]:
    """Constraints to train on and unseen ones to test with."""
    if where == "world":
        world = _world(context)
        if world is None:
            raise UsageError(
                "gatt.constraints is 'world', but the recipe has no section world; say `builtin` or a file"
            )
        return list(world.constraints("train")), list(world.constraints("test"))
    from gatt.constraints import builtin_constraints, read_constraints

    return builtin_constraints() if where == "builtin" else read_constraints(Path(where))


def _kind(context: StageContext, name: str) -> str:
    from recipes.plan import stages_of

    return next(stage.kind for stage in stages_of(context.recipe) if stage.name == name)


def _makes_policy(context: StageContext, name: str) -> bool:
    return _kind(context, name) in ("pretrain", "sft", "rejection", "ppo", "gatt")
