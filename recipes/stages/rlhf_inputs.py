"""What rejection sampling, PPO and the evaluation are handed alike: prompts by campaign, and the reward models.

No torch, no pydantic.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alignment.data.record_types import PROMPTS
from alignment.records import Dialogue
from recipes.stages.kind import DataSet, Lens, Prepared, Reads

if TYPE_CHECKING:
    from alignment.data.corpus import Loaded
    from alignment.data.settings import DataSettings
    from alignment.generate.settings import SamplingSettings
    from recipes.stages.context import StageContext
    from rl.judges import RewardJudges
    from rl.settings import ChecksSettings, CombinationSettings


@dataclass(kw_only=True)
class Campaigns:
    """Prompts of all campaigns, each tagged with its own in `meta`; no two of them have one id.

    Attributes:
        train: answers to these are learnt from.
        validation: PPO chooses its best iteration by these.
        test: no stage looks at these before the evaluation.
    """

    train: list[Dialogue] = field(default_factory=list)
    validation: list[Dialogue] = field(default_factory=list)
    test: list[Dialogue] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)

    def add(self, loaded: Loaded[Dialogue], campaign: str) -> None:
        """Take a campaign's prompts.

        A prompt that an earlier campaign has too is asked in both, and its answers are judged by each campaign's own
        model; its id gets the campaign's name, since draws and journals go by it.
        """
        parts = ((self.train, loaded.train), (self.validation, loaded.validation), (self.test, loaded.test))
        taken: set[str] = set()
        for mine, theirs in parts:
            for prompt in theirs:
                name = f"{prompt.id}-{campaign}" if prompt.id in self._ids else prompt.id
                mine.append(dataclasses.replace(prompt, id=name, meta={**prompt.meta, "campaign": campaign}))
                taken.add(prompt.id)
        self._ids |= taken


@dataclass(frozen=True, kw_only=True)
class CampaignPrompts:
    """Prompts of both campaigns (Llama 2 paper, 3.2.3); safety prompts are scored by the safety model."""

    helpfulness: DataSettings
    safety: DataSettings | None

    def reads(self) -> Reads:
        """Both sections; one that is left out stands there as null."""
        return {"rlhf.prompts": self.helpfulness, "rlhf.safety_prompts": self.safety}

    def data(self) -> tuple[DataSet[Dialogue], ...]:
        """One data set per campaign."""
        found = [
            DataSet(key="rlhf.prompts", settings=self.helpfulness, records=PROMPTS, campaign="helpfulness"),
        ]
        if self.safety is not None:
            found.append(DataSet(key="rlhf.safety_prompts", settings=self.safety, records=PROMPTS, campaign="safety"))
        return tuple(found)

    def prepare(self, lens: Lens, sampling: SamplingSettings) -> tuple[Prepared, ...]:
        """Which prompts leave room for an answer, by the rule that draws them."""
        from alignment.generate.draw import room_for_an_answer
        from alignment.text.chat import render_prompt

        found = []
        for data in self.data():
            lengths = tuple(len(render_prompt(prompt, lens.tokenizer)) for prompt in lens.records(data))
            longest = max(lengths, default=0)
            context = longest if lens.positions is None else lens.positions - room_for_an_answer(sampling)
            over = sum(length > context for length in lengths)
            policy = {"left out": over} if over else {}
            found.append(Prepared(key=data.key, lengths=lengths, context=context, policy=policy))
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class RewardModels:
    """The stages whose reward models judge, and how the two scores become one.

    Attributes:
        checks: what follows where they are not fit to judge; None where nothing is trained by them.
    """

    helpfulness: str
    safety: str
    combination: CombinationSettings
    checks: ChecksSettings | None = None

    def check(self, stage: StageContext) -> None:
        """Say what their held-out figures tell against judging by them.

        Raises:
            UsageError: a check that stops has failed.
        """
        from recipes.stages.judge_checks import failed_checks, obey, read_figures

        if self.checks is None:
            return
        failed = [
            check
            for role, name in (("helpfulness", self.helpfulness), ("safety", self.safety))
            for check in failed_checks(role, read_figures(stage.folder_of(name)), self.combination.safety_threshold)
        ]
        for sentence in obey(failed, self.checks):
            stage.session.progress.note(f"check before RLHF: {sentence}")

    def open(self, stage: StageContext) -> RewardJudges:
        """Load both."""
        return stage.judges(self.helpfulness, self.safety, safety_threshold=self.combination.safety_threshold)
