"""Stage `evaluate`: every model answers the same held-out prompts, and judges score the answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.stages.compared_pairs import FILE as REWARD_MODELS_FILE
from recipes.stages.compared_pairs import VERSIONS_FILE
from recipes.stages.doubts import evaluation_doubts
from recipes.stages.evaluate_inputs import EvaluateInputs
from recipes.stages.kind import StageKind
from reward.measure.own_result import FILE as OWN_ANSWERS_FILE

if TYPE_CHECKING:
    from alignment.evaluate.judge_words import JudgeWords
    from alignment.report.blocks import Opening, Section
    from recipes.stages.context import StageContext


def run(inputs: EvaluateInputs, stage: StageContext) -> dict[str, Any]:
    """Answer and judge; saves `answers.jsonl`, `evaluation.json`; of reward models `reward_models.json` and, where the
    recipe asks for it, `own_answers.json`."""
    from alignment.evaluate.improvement import headline, improvements
    from alignment.evaluate.result import read_answers
    from alignment.evaluate.versions import evaluate_versions
    from recipes.stages.asked import asked_prompts, asked_versions, judges_of
    from recipes.stages.instructed import measure_instructions
    from recipes.stages.own_answers import measure_own
    from rl.hacked_versions import hacked

    versions, prompts = asked_versions(inputs, stage), asked_prompts(inputs, stage)
    judges = judges_of(inputs, stage, prompts)
    evaluation = evaluate_versions(versions, prompts, judges, inputs.settings, stage.session, first=inputs.held_against)
    inputs.pairs.measure(inputs.judges, stage)
    measure_own(inputs, stage, versions, prompts, judges)
    unlearnt = measure_instructions(inputs, stage, versions)
    found = improvements(evaluation, read_answers(stage.session.folder), inputs.compared)
    unjudged = "" if judges else f"{sum(map(len, prompts.values())):,} prompts answered; nobody judged"
    parted = hacked(stage.session.folder)
    return {
        **evaluation.as_json(),
        "headline": headline(found, inputs.compared) or unjudged,
        **parted,
        **({"unlearnt": unlearnt} if unlearnt else {}),
    }


def opening(inputs: EvaluateInputs, folder: Path) -> Opening:
    """Whether training made the model better, by how much and by whose word: the top of the page."""
    from alignment.evaluate.report import opening_of

    return opening_of(folder, compared=inputs.compared, words=_words(inputs))


def _words(inputs: EvaluateInputs) -> JudgeWords:
    from alignment.evaluate.judge_words import JudgeWords

    outside, watch = inputs.settings.endpoint, inputs.judges.outside_watch if inputs.judges is not None else None
    return JudgeWords.of_a_run(*(None if endpoint is None else endpoint.model for endpoint in (outside, watch)))


def figures(folder: Path) -> dict[str, float]:
    """Every judge's mean figures by version and campaign, instructions kept, the reward models' on own answers."""
    from alignment.evaluate.result import mean_figures
    from gatt.kept import FILE as INSTRUCTIONS_FILE
    from gatt.kept import instruction_figures
    from reward.measure.own_report import own_figures

    kept = instruction_figures(folder / INSTRUCTIONS_FILE)
    return {**mean_figures(folder), **kept, **own_figures(folder / OWN_ANSWERS_FILE)}


def doubts(inputs: EvaluateInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Versions whose answers are all empty or cut, those whose reward rose while the independent judge's fell, and
    instructions that were unlearnt."""
    unlearnt = (str(result["unlearnt"]),) if "unlearnt" in result else ()
    return (*evaluation_doubts(result, "evaluate"), *result.get("parted", ()), *unlearnt)


def section(inputs: EvaluateInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from alignment.evaluate.report import section as evaluation_section
    from gatt.kept import FILE as INSTRUCTIONS_FILE
    from gatt.report import instructions_by_version
    from reward.measure.own_report import own_answers
    from reward.report import compared_models, versions_of_models
    from rl.report import reward_against_judge

    settings, words = inputs.settings, _words(inputs)
    found = evaluation_section(folder, num_examples=settings.num_examples, compared=inputs.compared, words=words)
    models = (*compared_models(folder / REWARD_MODELS_FILE), *versions_of_models(folder / VERSIONS_FILE))
    own = (*own_answers(folder / OWN_ANSWERS_FILE, words), *reward_against_judge(folder, words))
    kept = instructions_by_version(folder / INSTRUCTIONS_FILE)
    return dataclasses.replace(found, details=(*found.details, *kept, *models, *own))


EVALUATE = StageKind(
    name="evaluate",
    does="Answer held-out prompts with every version and judge them",
    run=run,
    section=section,
    opening=opening,
    figures=figures,
    doubts=doubts,
    # 1, release 0.1.0: helpfulness decided both campaigns, one tie width for every judge
    # 2: asked the prompts that PPO had chosen its best iteration by
    revision=3,
)
