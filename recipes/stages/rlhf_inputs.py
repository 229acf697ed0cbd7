"""What rejection sampling, PPO and the evaluation are handed alike: prompts by campaign, and the reward models.

No torch, no pydantic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import PROMPTS
from alignment.records import Dialogue
from recipes.stages.kind import DataSet, FromPolicy, Lens, Prepared, Reads

if TYPE_CHECKING:
    from alignment.data.corpus import Loaded
    from alignment.data.settings import DataSettings
    from alignment.evaluate.settings import EndpointSettings
    from alignment.generate.settings import SamplingSettings
    from alignment.text.tokenizer import Tokenizer
    from recipes.stages.context import StageContext
    from recipes.stages.disjoint import PromptPools
    from recipes.stages.judge_checks import Failed
    from reward.settings import BroughtReward
    from rl.judges import RewardJudges
    from rl.result import SamplingFigures
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
    """Prompts of both campaigns (Llama 2 paper, 3.2.3); safety prompts are scored by the safety model.

    Attributes:
        section: of the recipe, that holds them.
    """

    helpfulness: DataSettings
    safety: DataSettings | None
    section: str = "rlhf"

    def reads(self) -> Reads:
        """Both sections; one that is left out stands there as null."""
        return {f"{self.section}.prompts": self.helpfulness, f"{self.section}.safety_prompts": self.safety}

    def data(self) -> tuple[DataSet[Dialogue], ...]:
        """One data set per campaign."""
        given = (("prompts", "helpfulness", self.helpfulness), ("safety_prompts", "safety", self.safety))
        return tuple(
            DataSet(key=f"{self.section}.{key}", settings=settings, records=PROMPTS, campaign=campaign)
            for key, campaign, settings in given
            if settings is not None
        )

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
class RewardSource:
    """Where one role's scores come from: a stage of the run, or what the user brings.

    Attributes:
        key: the recipe's dotted key of the section.
        stage: that trains the model.
        brought: a finished checkpoint, or a function.
    """

    key: str
    stage: str | None = None
    brought: BroughtReward | None = None

    def __str__(self) -> str:
        if self.brought is None:
            return f"stage {self.stage}"
        allowed = ", run because of --allow-code" if self.brought.function is not None else ""
        return f"brought: {self.brought.named}{allowed}"


@dataclass(frozen=True, kw_only=True)
class RewardModels:
    """What judges, role by role, and how the two scores become one; without a safety model there is one score.

    Attributes:
        watch: scores that are no reward: a stage chooses by them what it decides by itself.
        checks: what follows where they are not fit to judge; None where nothing is trained by them.
    """

    helpfulness: RewardSource
    safety: RewardSource | None
    combination: CombinationSettings
    checks: ChecksSettings | None = None
    watch: RewardSource | None = None

    def check(self, stage: StageContext, pools: PromptPools | None = None) -> None:
        """Say what their held-out figures, and the prompts that stages share, tell against beginning.

        Args:
            pools: what the stages so far read; None: whether they keep prompts apart is not asked.

        Raises:
            UsageError: a check that stops has failed.
        """
        from recipes.stages.judge_checks import obey

        if self.checks is None:
            return
        failed = self.failed(stage.folder_of)
        if pools is not None and self.checks.disjoint != "skip":  # reading them again takes a while
            failed += pools.failed(stage)
        for sentence in obey(failed, self.checks):
            stage.session.progress.note(f"check before RLHF: {sentence}")

    def failed(self, folder_of: Callable[[str], Path | None]) -> list[Failed]:
        """What the figures of finished reward stages say against them.

        Args:
            folder_of: a stage's folder; None where it is not finished.
        """
        from recipes.stages.judge_checks import failed_agreement, failed_checks, read_figures

        found: list[Failed] = []
        for role, source in self.by_role().items():
            folder = folder_of(source.stage) if source.stage is not None else None
            if folder is None:  # of what is brought nothing was measured here
                continue
            figures = read_figures(folder)
            found += failed_checks(role, figures, self.combination.safety_threshold)
            if role == "helpfulness" and self.watch is None:
                found += failed_agreement(figures)
        return found

    def check_kept(self, figures: SamplingFigures, stage: StageContext) -> None:
        """Say it where what a version keeps is not better than its greedy answers.

        Raises:
            UsageError: the check stops.
        """
        from recipes.stages.judge_checks import obey

        if self.checks is None:
            return
        for sentence in obey(self.failed_kept(figures.as_json()), self.checks):
            stage.session.progress.note(f"check before fine-tuning: {sentence}")

    def failed_kept(self, result: Mapping[str, Any]) -> list[Failed]:
        """What a version's result says of its kept answers; nothing where no greedy answer was drawn."""
        from recipes.stages.judge_checks import failed_kept

        guard = result.get("guard")
        return [] if guard is None else [*failed_kept(guard["over_greedy"], result["version"])]

    @property
    def outside_watch(self) -> EndpointSettings | None:
        """The outside model that watches, where one does."""
        return self.watch.brought.endpoint if self.watch is not None and self.watch.brought is not None else None

    def by_role(self) -> dict[str, RewardSource]:
        """Role -> where its scores come from; only those that are there."""
        roles = {"helpfulness": self.helpfulness, "safety": self.safety, "watch": self.watch}
        return {role: source for role, source in roles.items() if source is not None}

    def stages(self) -> tuple[str, ...]:
        """The stages of the run that train them."""
        return tuple(source.stage for source in self.by_role().values() if source.stage is not None)

    def scoring(self) -> dict[str, RewardSource]:
        """Those that give answers scores: an outside watch model does not, it compares."""
        return {role: s for role, s in self.by_role().items() if s.brought is None or s.brought.endpoint is None}

    def reads(self) -> Reads:
        """The sections of what is brought; a stage of the run is told by its parents."""
        return {source.key: source.brought for source in self.by_role().values() if source.brought is not None}

    def resident(self) -> tuple[str, ...]:
        """The roles whose models are in memory while they judge: those that are no function and no endpoint."""
        return tuple(
            f"reward-{role}"
            for role, source in self.by_role().items()
            if source.brought is None or (source.brought.function is None and source.brought.endpoint is None)
        )

    def code(self) -> dict[str, str]:
        """Functions that scoring runs: the recipe's key -> module:name."""
        functions = {s.key: s.brought.function for s in self.by_role().values() if s.brought is not None}
        return {f"{key}.function": name for key, name in functions.items() if name is not None}

    def facts(self) -> dict[str, str]:
        """What the page says of them; nothing where the run trains both."""
        told = {f"{role} score": str(source) for role, source in self.by_role().items()}
        if self.safety is None:
            return {**told, "safety score": "none: helpfulness alone is the reward"}
        return told if any(source.brought is not None for source in self.by_role().values()) else {}

    def require_fit(self, tokenizer: Tokenizer) -> None:
        """Look at brought checkpoints that are here, as scoring will; functions are not imported.

        Raises:
            CheckpointError, TokenizerError: one is no reward model for this tokenizer; begins with its key.
        """
        from reward.brought import require_fitting_reward

        for key, brought in ((s.key, s.brought) for s in self.by_role().values() if s.brought is not None):
            if brought.path is not None and Path(brought.path).is_dir():
                require_fitting_reward(Path(brought.path), f"{key}.path: {brought.path}", tokenizer)

    def open(self, stage: StageContext) -> RewardJudges:
        """Load them all."""
        return stage.judges(self)


@dataclass(frozen=True, kw_only=True)
class Judged(FromPolicy):
    """Inputs of a stage that scores answers.

    Attributes:
        judges: the reward models, where there are any.
    """

    judges: RewardModels | None

    def code(self) -> Mapping[str, str]:
        """Functions that score."""
        return self.judges.code() if self.judges is not None else {}

    def facts(self) -> Mapping[str, str]:
        """What scores."""
        return self.judges.facts() if self.judges is not None else {}
