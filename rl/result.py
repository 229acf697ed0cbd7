"""What RLHF's stages come to.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from alignment.train.result import TrainingResult
from rl.hacking import parting


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """What is kept, held against the same model's greedy answers.

    Attributes:
        prompts: that have both.
        greedy_kept: of them, those whose greedy answer is kept (instead of a candidate, or of several).
        over_greedy: mean of kept less greedy over the prompts, with its 95 % interval (`value`, `low`, `high`):
            `reward`, the combined one, and where there is a watch model `watch` or, of an outside one, `wins`: the
            share of comparisons won less one half.
        without_verdict: answers on which an outside watch model gave none; they are not in its mean.
    """

    prompts: int
    greedy_kept: int
    over_greedy: Mapping[str, Mapping[str, float]]
    without_verdict: int = 0

    def as_json(self) -> dict[str, Any]:
        """As a file holds it."""
        return {name: value for name, value in asdict(self).items() if name != "without_verdict" or value}


@dataclass(frozen=True, kw_only=True)
class AtTemperature:
    """What the candidates of one temperature are worth; rewards are combined scores before the sigmoid.

    Attributes:
        best_by_n: as that of `SamplingFigures`, over the prompts that have a usable answer at every temperature.
        median_by_n: the median of N answers, likewise averaged over the draws, over all prompts.
        usable_share: of the samples, those that can be demonstrations.
        over_greedy: what would be kept less the greedy answers, as that of `Guarded`.
        without_verdict: as that of `Guarded`.
        stands: whether what would be kept does not lose to the greedy answers by the watch model: the interval of the
            difference is not all below 0.  None where nobody watches.
    """

    temperature: float
    best_by_n: Mapping[str, Mapping[str, float]]
    median_by_n: Mapping[str, float]
    usable_share: float
    over_greedy: Mapping[str, Mapping[str, float]]
    without_verdict: int = 0
    stands: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Swept:
    """The temperatures that a version tried, and which it took.

    Attributes:
        prompts: that they were tried on.
        samples: answers to each prompt at each temperature, K.
        chosen: the temperature that the version draws at.
        chosen_by: `watch`: its best of K is rewarded most of those that stand; `reward`: of all, since nobody watches;
            `none`: no temperature stands, and the lowest was taken.
        temperatures: in rising order.
    """

    prompts: int
    samples: int
    chosen: float
    chosen_by: Literal["watch", "reward", "none"]
    temperatures: tuple[AtTemperature, ...]

    @staticmethod
    def of(found: Mapping[str, Any]) -> Swept:
        """As a file holds it."""
        return Swept(**{**found, "temperatures": tuple(AtTemperature(**each) for each in found["temperatures"])})


@dataclass(frozen=True, kw_only=True)
class SamplingFigures:
    """What one version's sampling brought; rewards are combined scores before the sigmoid.

    Attributes:
        prompts: answered.
        samples: answers of all prompts.
        mean_reward, median_reward: of all samples.
        kept_reward: mean of the kept answers: of each prompt the best one (or the `top_n` best), or with a guard the
            greedy one.
        max_reward_by_n: mean of the best usable one of the first N answers, by N; at K it is `kept_reward` where
            nothing guards.
        unusable_share: of the samples, those that cannot be demonstrations (cut, empty, with a marker).
        best_by_n: by N the best usable one of N answers drawn from a prompt's K, averaged over the draws and over the
            prompts that have one, with its 95 % interval over prompts (`value`, `low`, `high`); at K it is
            `kept_reward`.  Empty in runs before it.
        pool_size: answers that are fine-tuned on, of this version and earlier ones.
        pool_origins: how many of them came from which version.
        mean_answer_tokens: of all samples.
        cut_share: of the samples, those cut at the limit.
        prompts_left_out: they leave no room for an answer.
        guard: None where no greedy answer was drawn.
        sweep: None where one temperature was asked for.
        pool_set_aside: answers that earlier versions kept to prompts that have changed since, or are no training
            prompts any more.
    """

    version: int
    prompts: int
    samples: int
    mean_reward: float
    median_reward: float
    kept_reward: float
    max_reward_by_n: Mapping[str, float]
    pool_size: int
    pool_origins: Mapping[str, int]
    mean_answer_tokens: float
    cut_share: float
    prompts_left_out: int
    unusable_share: float = 0.0
    best_by_n: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    guard: Guarded | None = None
    sweep: Swept | None = None
    pool_set_aside: int = 0

    def as_json(self) -> dict[str, Any]:
        """What `rejection.json` holds."""
        asked = {
            "guard": self.guard.as_json() if self.guard is not None else None,
            "sweep": asdict(self.sweep) if self.sweep is not None else None,
            "pool_set_aside": self.pool_set_aside or None,
        }
        found = {name: value for name, value in asdict(self).items() if name not in asked}
        return found | {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class RejectionResult:
    """A finished version of rejection sampling.

    Attributes:
        training: the fine-tuning on the kept answers.
    """

    sampling: SamplingFigures
    training: TrainingResult

    @property
    def headline(self) -> str:
        """The one figure that a table shows."""
        return f"kept_reward {self.sampling.kept_reward:.4g}"

    def as_json(self) -> dict[str, Any]:
        """What `stage.json` holds."""
        return {**self.sampling.as_json(), **self.training.as_json()}


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Mean scores of greedy answers to held-out prompts, before the sigmoid.

    Attributes:
        iteration: after how many; 0 is the start.
        reward: the combined one.
        safety: None where there is no safety model.
        watch: None where there is no watch model.
        without_verdict: answers on which an outside watch model gave none; `watch` is the others' mean.
        watch_error: standard error of `watch` less its best before, prompt by prompt; None at the first evaluation.
        watch_by_prompt: what `watch` is the mean of, in the prompts' order; in no file.
    """

    iteration: int
    reward: float
    helpfulness: float
    safety: float | None = None
    watch: float | None = None
    without_verdict: float = 0.0
    watch_error: float | None = None
    watch_by_prompt: tuple[float | None, ...] | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """As a file holds it; without what there is no model for, but for the safety score."""
        found = asdict(self) | {"iteration": float(self.iteration)}
        nothing = (("watch", None), ("without_verdict", 0.0), ("watch_error", None))
        left_out = {"watch_by_prompt", *(name for name, none in nothing if found[name] == none)}
        return {name: value for name, value in found.items() if name not in left_out}

    @property
    def decides(self) -> float:
        """What tells which iteration is the best: the watch model's score, which was no reward, else the reward."""
        return self.reward if self.watch is None else self.watch


@dataclass(frozen=True, kw_only=True)
class Course:
    """What training on rewards came to, as held-out prompts say.

    Attributes:
        course: every held-out evaluation, the start first.
        left_out: prompts that leave no room for an answer.
    """

    course: tuple[HeldOut, ...]
    left_out: int = 0

    @property
    def best(self) -> HeldOut:
        """The evaluation with the highest deciding score, the first of equals: its model is the result."""
        return max(self.course, key=lambda entry: entry.decides)

    @property
    def headline(self) -> str:
        """The one figure that a table shows."""
        return f"best_reward {self.best.reward:.4g}"


@dataclass(frozen=True, kw_only=True)
class PpoResult(Course):
    """PPO's course.

    Attributes:
        iterations: done.
        skipped: updates left out because something was not finite.
        adapter_parameters: numbers of the policy's that were trained beside its frozen base; None where all of it was.
    """

    iterations: int
    skipped: int = 0
    adapter_parameters: int | None = None

    def as_json(self) -> dict[str, Any]:
        """What `ppo.json` and `stage.json` hold."""
        skipped = {"skipped_updates": self.skipped} if self.skipped else {}
        adapter = {} if self.adapter_parameters is None else {"adapter_parameters": self.adapter_parameters}
        parted = parting([entry.as_json() for entry in self.course])
        return {
            "iterations": self.iterations,
            "held_out": [entry.as_json() for entry in self.course],
            "start_reward": self.course[0].reward,
            "best_reward": self.best.reward,
            "best_iteration": self.best.iteration,
            "prompts_left_out": self.left_out,
            **skipped,
            **adapter,
            **({} if parted is None else {"parted": asdict(parted)}),
        }
