"""What no section of a recipe sees alone: a stage that needs an absent one, versions that are not there.  No torch."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from alignment.annotate.settings import WORLD
from alignment.strict_yaml import KeyPath, dotted
from alignment.train.settings import ReplaySource
from recipes.accumulated import collected_by_version, reads_collected
from recipes.adapters import adapter_problems
from recipes.draft import holds_out
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.reading.sources_said import source_settings, sources_said
from recipes.stages.collect import COLLECT
from recipes.stages.evaluate import EVALUATE
from recipes.stages.evaluate_inputs import EvaluateInputs
from recipes.stages.kind import Makes
from recipes.stages.own_answers import START


def section_problems(recipe: Recipe) -> list[tuple[KeyPath, str]]:
    """Every mismatch between a recipe's sections, as (key, sentence)."""
    found: list[tuple[KeyPath, str]] = []

    def need(key: KeyPath, message: str) -> None:
        found.append((key, message))

    has_base = recipe.pretrain is not None or recipe.model.path is not None
    if not has_base:
        need(("model",), "names no path and there is no section pretrain; add `pretrain:` or say model.path")
    if recipe.tokenizer.path is None and recipe.tokenizer_data is None and recipe.model.path is None:
        need(
            ("tokenizer",),
            "has neither path nor data and there is no section pretrain; say tokenizer.path or tokenizer.data",
        )
    if recipe.model.path is not None and recipe.tokenizer.path is None and recipe.tokenizer.data is not None:
        need(
            ("tokenizer", "data"),
            "trains a new tokenizer for the checkpoint in model.path, which has its own; leave it out",
        )
    has_chat = recipe.sft is not None or (recipe.model.path is not None and recipe.pretrain is None)
    for name in ("collect", "reward", "rlhf", "gatt"):
        if getattr(recipe, name) is not None and not has_chat:
            need(
                (name,),
                "needs a chat model: add the section sft, or start from a chat checkpoint (model.path, no pretrain)",
            )
    instructed = recipe.evaluate.instructions
    if instructed is not None and not holds_out(instructed.data, recipe.shares[0]):
        need(
            ("evaluate", "instructions", "data"),
            "holds nothing out to ask; add held_out sources, or a share for it: split.test",
        )
    asked: dict[KeyPath, str] = {}
    if recipe.gatt is not None:
        asked["gatt", "constraints"] = recipe.gatt.constraints
    if instructed is not None:
        asked["evaluate", "instructions", "constraints"] = instructed.constraints
    for key, where in asked.items():
        if where == "world" and recipe.world is None:
            need(
                key, "is 'world', and there is no section world; say 'builtin' or name a .yaml file, or add the section"
            )
    if recipe.rlhf is not None:
        if recipe.reward is None:
            need(("rlhf",), "needs the reward models; add the section reward")
        if recipe.rlhf.ppo_from > recipe.rlhf.versions + 1:
            need(
                ("rlhf", "ppo_from"),
                f"is {recipe.rlhf.ppo_from}; there are {recipe.rlhf.versions} versions, "
                f"{recipe.rlhf.versions + 1} means never",
            )
        demonstrated = recipe.rlhf.rejection
        if demonstrated.sft_share > 0 and recipe.sft is None and demonstrated.sft_source is None:
            need(
                ("rlhf", "rejection", "sft_share"),
                "mixes in SFT dialogues; add the section sft, name sft_source or set it to 0",
            )
        if "steps" in recipe.rlhf.controls and recipe.sft is None:
            need(("rlhf", "controls"), "train on SFT's demonstrations; add the section sft or leave controls out")
        if recipe.rlhf.collect is not None and recipe.collect is None:
            need(
                ("rlhf", "collect"),
                "says what later versions collect otherwise than the first, and there is no section collect; add one",
            )
        if (
            "dpo" in recipe.rlhf.baselines
            and recipe.collect is None
            and (not recipe.rlhf.dpo or not recipe.rlhf.dpo.data)
        ):
            need(
                ("rlhf", "baselines"),
                "names dpo, which learns from the pairs that collect collects; add the section collect, or name pairs: "
                "rlhf.dpo.data",
            )
    if recipe.gatt is not None:
        versions = recipe.rlhf.versions if recipe.rlhf else 0
        if recipe.gatt.after > versions:
            absent = f"there are {versions} versions" if versions else "there is no section rlhf"
            need(("gatt", "after"), f"is {recipe.gatt.after}; {absent}, 0 means the last model")
        anew = recipe.rlhf is not None and recipe.rlhf.rejection.start_from == "sft"
        if anew and 0 < recipe.gatt.after < versions:
            need(
                ("gatt", "after"),
                f"is {recipe.gatt.after} and rlhf.rejection.start_from is sft: version {recipe.gatt.after + 1} would "
                f"start from the SFT model and lose what Ghost Attention taught; say gatt.after: 0, or latest",
            )
        if recipe.gatt.sft_share > 0 and recipe.sft is None:
            need(("gatt", "sft_share"), "mixes in SFT dialogues; add the section sft or set it to 0")
    if recipe.gatt is not None and not holds_out(recipe.gatt.data, recipe.shares[0]):
        need(("gatt", "data"), "holds nothing out to measure with; add held_out sources, or a share for it: split.test")
    if recipe.pretrain is None:
        for key, replay in _replays(recipe).items():
            if replay.source is None:
                need(
                    key,
                    "asks for documents, and there is no section pretrain to take them from; name them: "
                    f"{dotted(key)}.source",
                )
    if recipe.world is None:
        for key in sources_said(recipe, (), "world"):
            need(key, "reads the embedded world; add the section `world: {}`")
    found += [
        *adapter_problems(recipe),
        *_annotator_problems(recipe),
        *_watch_problems(recipe),
        *_refresh_problems(recipe),
    ]
    if not found:  # a plan can be made
        found += _variant_problems(recipe)
    if not found:
        found += [*_stage_source_problems(recipe), *_collected_problems(recipe), *_own_answers_problems(recipe)]
    return found


def _annotator_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Prompts that the embedded world's annotators cannot judge."""
    settings = recipe.collect
    if settings is None or settings.annotator != WORLD:
        return
    if recipe.world is None:
        yield (
            ("collect", "annotator"),
            "is 'world', and there is no embedded world; say `world: {}`, `people`, or an endpoint: {url: …, model: …}",
        )
        return
    for field in ("path", "hub", "stage"):
        for key in sources_said(settings, ("collect",), field):
            yield (
                key,
                "is no part of the embedded world, whose annotators know the truth of its own prompts alone; name "
                "people or an endpoint as collect.annotator",
            )


def _watch_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Comparisons that the watch model and a model that it watches would both learn from."""
    roles = recipe.reward.by_role() if recipe.reward is not None else {}
    watch = roles.pop("watch", None)
    if watch is None or watch.data is None:
        return
    for i, source in enumerate(watch.data.train):
        for role, settings in roles.items():
            mixed = settings.data.mix.sources if settings.data is not None and settings.data.mix is not None else ()
            if settings.data is not None and source in (*settings.data.train, *mixed):
                yield (
                    ("reward", "watch", "data", "train", i),
                    f"is read by reward.{role}.data too; the watch model is to see comparisons that the others do not: "
                    f"name others, or {{stage: collect, part: watch}}",
                )


def _refresh_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Later versions' collections that are no sound ones, or that no reward model reads."""
    rlhf, first = recipe.rlhf, recipe.collect
    if rlhf is None:
        return
    if rlhf.refresh is not None and rlhf.collect is None:
        yield (
            ("rlhf", "refresh"),
            f"is {rlhf.refresh}, and nothing new is collected to learn from; add rlhf.collect, for example "
            f"collect: {{num_prompts: 200}}",
        )
    if rlhf.collect is not None and rlhf.refresh is None:
        yield (
            ("rlhf", "collect"),
            "collects comparisons of every version's answers, and rlhf.refresh is null: no reward model would read "
            "them; say refresh: fresh, or leave collect out",
        )
    if rlhf.collect is None or first is None:
        return
    roles = recipe.reward.by_role().values() if recipe.reward is not None else ()
    if not any(reads_collected(settings.data) for settings in roles if settings.data is not None):
        yield (
            ("rlhf", "refresh"),
            "trains reward models anew on what every version collects, and none of them reads it; name "
            "{stage: collect} among reward.helpfulness.data.train",
        )
    for temperature in (None, rlhf.ppo.sampling.temperature):
        try:
            collected_by_version(first, rlhf.collect, temperature=temperature)
        except ValidationError as error:
            yield ("rlhf", "collect"), f"with what collect says besides: {error.errors()[0]['msg']}"
            return


def _variant_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Variants that are no stage, have no policy, or come too late."""
    if recipe.collect is None:
        return
    plan = {stage.name: stage for stage in stages_of(recipe)}
    collect = plan["collect"]
    earlier = [stage.name for stage in plan.values() if stage.makes(Makes.POLICY) and stage.number < collect.number]
    right = f"right is {' or '.join(earlier)}" if earlier else "no stage before it has one: leave variants out"
    for i, name in enumerate(recipe.collect.variants):
        key = ("collect", "variants", i)
        if name not in plan:
            yield key, f"is {name!r}, which is no stage of this recipe; {right}"
        elif not plan[name].makes(Makes.POLICY):
            yield key, f"is {name!r}, a stage that makes no policy; {right}"
        elif plan[name].number >= collect.number:
            yield key, f"is {name!r}, which comes after collect; {right}"


def _collected_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Sources that read what `collect` does not collect."""
    settings = recipe.collect
    for path, source in source_settings(recipe) if settings is not None else ():
        if settings is None or source.stage != COLLECT.name:
            continue
        if source.campaign == "safety" and settings.safety_prompts is None:
            yield (
                (*path, "campaign"),
                "is 'safety', and collect has no safety_prompts; add them, or leave this out",
            )
        if source.part == "watch" and not settings.num_watch:
            yield (*path, "part"), "is 'watch', and collect.num_watch is 0; say how many prompts it keeps for it"
        if "held_out" in path and not settings.num_held_out:
            yield (*path, "stage"), "is read as held out, and collect.num_held_out is 0; say how many prompts it keeps"


def _stage_source_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Sources that read a stage which is not there, makes no records, or comes too late."""
    plan = {stage.name: stage for stage in stages_of(recipe)}
    readers = {data.key: stage for stage in reversed(plan.values()) for data in stage.inputs.data()}
    for key, name in sources_said(recipe, (), "stage").items():
        sections = [section for section in readers if dotted(key).startswith(f"{section}.")]
        if not sections:
            continue  # no stage reads it: PPO in no version
        reader = readers[max(sections, key=len)]
        earlier = [s.name for s in plan.values() if s.makes(Makes.RECORDS) and s.number < reader.number]
        right = f"right is {' or '.join(earlier)}" if earlier else "no stage before it makes any"
        if name not in plan:
            yield key, f"is {name!r}, which is no stage of this recipe; {right}"
        elif not plan[name].makes(Makes.RECORDS):
            yield key, f"is {name!r}, a stage that makes no records; {right}"
        elif plan[name].number >= reader.number:
            yield key, f"is {name!r}, which comes after {reader.name}, the stage that would read it; {right}"


def _own_answers_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Reward models that are not there to be measured, prompts to measure them on, and models that do not answer."""
    own, key = recipe.evaluate.own_answers, ("evaluate", "own_answers")
    if own is None:
        return
    if recipe.reward is None:
        yield key, "measures reward models, and there are none; add the section reward, or leave it out"
        return
    inputs = next((stage.inputs for stage in stages_of(recipe) if stage.kind is EVALUATE), None)
    if not isinstance(inputs, EvaluateInputs):
        yield (
            key,
            "asks held-out prompts, and there are none; add the section rlhf, or hold demonstrations out: "
            "sft.data.held_out",
        )
        return
    answer = [*([START] if inputs.with_start else []), *inputs.versions, *inputs.controls]
    for i, name in enumerate(own.models):
        if name not in answer:
            yield (*key, "models", i), f"is {name!r}, no model that the evaluation asks; right is {' or '.join(answer)}"


def _replays(recipe: Recipe) -> dict[KeyPath, ReplaySource]:
    """Every setting that asks for documents to replay: its key -> what it says."""
    asked: dict[KeyPath, ReplaySource | None] = {}
    if recipe.sft is not None:
        asked["sft", "replay"] = recipe.sft.replay
    if recipe.rlhf is not None:
        asked["rlhf", "rejection", "replay"] = recipe.rlhf.rejection.replay
        asked["rlhf", "ppo", "replay"] = recipe.rlhf.ppo.replay
    if recipe.gatt is not None:
        asked["gatt", "replay"] = recipe.gatt.replay
    return {key: replay for key, replay in asked.items() if replay is not None}
