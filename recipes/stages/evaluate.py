"""Stage `evaluate`: every model answers the same held-out prompts, and judges score the answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import DIALOGUES
from recipes.stages.compared_pairs import FILE as REWARD_MODELS_FILE
from recipes.stages.compared_pairs import VERSIONS_FILE, ComparedPairs
from recipes.stages.doubts import evaluation_doubts
from recipes.stages.kind import DataSet, Reads, StageKind
from recipes.stages.rlhf_inputs import Judged
from reward.measure.own_result import FILE as OWN_ANSWERS_FILE

if TYPE_CHECKING:
    from alignment.data.settings import DataSettings
    from alignment.evaluate.compared import Compared
    from alignment.evaluate.judge_words import JudgeWords
    from alignment.evaluate.settings import EvaluateSettings
    from alignment.report.blocks import Opening, Section
    from recipes.stages.context import StageContext
    from recipes.stages.rlhf_inputs import CampaignPrompts, RewardModels


@dataclass(frozen=True, kw_only=True)
class EvaluateInputs(Judged):
    """All that the stage reads of the recipe; the model's section always (as in every release so far).

    Attributes:
        versions: the stages whose models answer.
        with_start: whether the checkpoint in `model.path` answers too; without SFT it is what the versions came from.
        prompts: held-out prompts by campaign; without them the held-out demonstrations' are asked.
        demonstrations: read only where there are no prompts.
        answering: models on whose own answers the reward models are measured, where the settings ask for that.
        learnt_from: model -> the reward models that learnt from its answers, where these are not `judges`.
        pairs: comparisons on whose held-out part the reward models stand side by side.
        controls: models that stand beside the versions and are none.
        compared: the two models of the page's first sentence; no part of the figures.
    """

    settings: EvaluateSettings
    versions: tuple[str, ...]
    controls: tuple[str, ...] = ()
    answering: tuple[str, ...] = ()
    learnt_from: Mapping[str, RewardModels] = field(default_factory=dict)
    with_start: bool = False
    compared: Compared | None = None
    prompts: CampaignPrompts | None = None
    demonstrations: DataSettings | None = None
    pairs: ComparedPairs = field(default_factory=ComparedPairs)

    def reads(self) -> Reads:
        """The section, and where the prompts come from."""
        found: dict[str, Any] = {**super().reads(), "evaluate": self.settings}
        if self.with_start:
            found["evaluate.with_start"] = True
        if self.prompts is not None:
            found |= self.prompts.reads()
            found["rlhf.combination"] = self.judges.combination if self.judges is not None else None
        elif self.demonstrations is not None:
            found["sft.data"] = self.demonstrations
        return {**found, **self.pairs.reads(), **(self.judges.reads() if self.judges is not None else {})}

    def data(self) -> tuple[DataSet[Any], ...]:
        """What is asked, and the reward models' comparisons."""
        return (*self.asked(), *self.pairs.data())

    @property
    def held_against(self) -> str | None:
        """The model with whose answers an outside watch model compares the others', so that it is asked first."""
        outside = self.judges is not None and self.judges.outside_watch is not None
        return self.compared.before if outside and self.compared is not None else None

    def asked(self) -> tuple[DataSet[Any], ...]:
        """Prompts by campaign, or demonstrations."""
        if self.prompts is not None:
            return self.prompts.data()
        if self.demonstrations is not None:
            return (DataSet(key="sft", settings=self.demonstrations, records=DIALOGUES),)
        return ()


def run(inputs: EvaluateInputs, stage: StageContext) -> dict[str, Any]:
    """Answer and judge; saves `answers.jsonl`, `evaluation.json`; of reward models `reward_models.json` and, where the
    recipe asks for it, `own_answers.json`."""
    from alignment.evaluate.improvement import headline, improvements
    from alignment.evaluate.result import read_answers
    from alignment.evaluate.versions import evaluate_versions
    from recipes.stages.asked import asked_prompts, asked_versions, judges_of
    from recipes.stages.own_answers import measure_own
    from rl.hacked_versions import hacked

    versions, prompts = asked_versions(inputs, stage), asked_prompts(inputs, stage)
    judges = judges_of(inputs, stage, prompts)
    evaluation = evaluate_versions(versions, prompts, judges, inputs.settings, stage.session, first=inputs.held_against)
    inputs.pairs.measure(inputs.judges, stage)
    measure_own(inputs, stage, versions, prompts, judges)
    found = improvements(evaluation, read_answers(stage.session.folder), inputs.compared)
    unjudged = "" if judges else f"{sum(map(len, prompts.values())):,} prompts answered; nobody judged"
    parted = hacked(stage.session.folder)
    return {**evaluation.as_json(), "headline": headline(found, inputs.compared) or unjudged, **parted}


def opening(inputs: EvaluateInputs, folder: Path) -> Opening:
    """Whether training made the model better, by how much and by whose word: the top of the page."""
    from alignment.evaluate.report import opening_of

    return opening_of(folder, compared=inputs.compared, words=_words(inputs))


def _words(inputs: EvaluateInputs) -> JudgeWords:
    from alignment.evaluate.judge_words import JudgeWords

    outside, watch = inputs.settings.endpoint, inputs.judges.outside_watch if inputs.judges is not None else None
    return JudgeWords.of_a_run(*(None if endpoint is None else endpoint.model for endpoint in (outside, watch)))


def figures(folder: Path) -> dict[str, float]:
    """Every judge's mean figures by version and campaign, and the reward models' on the policy's own answers."""
    from alignment.evaluate.result import mean_figures
    from reward.measure.own_report import own_figures

    return {**mean_figures(folder), **own_figures(folder / OWN_ANSWERS_FILE)}


def doubts(inputs: EvaluateInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Versions whose answers are all empty or cut, and those whose reward rose while the independent judge's fell."""
    return (*evaluation_doubts(result, "evaluate"), *result.get("parted", ()))


def section(inputs: EvaluateInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from alignment.evaluate.report import section as evaluation_section
    from reward.measure.own_report import own_answers
    from reward.report import compared_models, versions_of_models
    from rl.report import reward_against_judge

    settings, words = inputs.settings, _words(inputs)
    found = evaluation_section(folder, num_examples=settings.num_examples, compared=inputs.compared, words=words)
    models = (*compared_models(folder / REWARD_MODELS_FILE), *versions_of_models(folder / VERSIONS_FILE))
    own = (*own_answers(folder / OWN_ANSWERS_FILE, words), *reward_against_judge(folder, words))
    return dataclasses.replace(found, details=(*found.details, *models, *own))


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
