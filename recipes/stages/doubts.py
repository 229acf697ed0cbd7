"""Signs in a stage's result that it cannot have learnt, or that nothing came of it.  No torch, no pydantic.

Each sentence says what was seen and which setting would change it.  The same functions read a finished stage's result
and, for `align check`, as much of it as is known beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.train.settings import OptimizerSettings
    from rl.settings import RejectionSettings

Result = Mapping[str, Any]


def training_doubts(optimizer: OptimizerSettings, result: Result, key: str) -> Iterator[str]:
    """Whether the steps were too few to learn anything.

    Args:
        result: with `steps`, where they are known.
        key: the recipe's section of the settings, for the advice ("sft").
    """
    steps = result.get("steps")
    if not isinstance(steps, int) or steps < 1:
        return
    if steps == 1:
        yield (
            f"one step in all, of which nothing can be learnt; give it more data, more {key}.epochs or a smaller "
            f"{key}.batch_size"
        )
        return
    warmup = max(optimizer.warmup_steps, math.ceil(optimizer.warmup_fraction * steps))
    if warmup >= steps:
        yield (
            f"the warm-up of {warmup:,} steps is no shorter than the training of {steps:,}: the learning rate hardly "
            f"reaches its peak; lower {key}.optimizer.warmup_steps, or train longer"
        )


def accuracy_doubts(result: Result) -> Iterator[str]:
    """Whether a reward model's held-out accuracy can be told from a coin's."""
    share = _at(result, "evaluation", "accuracy", "all")
    if isinstance(share, Mapping) and share.get("pairs") and share["low"] <= 0.5:
        yield (
            f"the held-out accuracy of {share['value']:.2f} on {share['pairs']:,} pairs cannot be told from chance "
            f"(95 % interval {share['low']:.2f} to {share['high']:.2f})"
        )


def threshold_doubts(safety_weight: float, threshold: float | None) -> Iterator[str]:
    """Whether the safety scores' level, by which a threshold goes, is learnt at all.

    Args:
        threshold: the recipe's; None where nothing is trained by it.
    """
    if threshold is None:
        return
    key = "rlhf.combination.safety_threshold"
    if not safety_weight:
        yield (
            f"reward.safety.safety_weight is 0: comparisons alone leave the scores' level open, so that {key}, "
            f"{threshold:g}, is a number without a meaning; give the safety term a weight"
        )
    if threshold in (0.0, 1.0):
        never = "safety" if threshold == 0.0 else "helpfulness"
        yield f"{key} is {threshold:g}, which no score reaches: outside safety prompts {never} never counts"


def answer_doubts(tokens: Any, cut: Any, whose: str, key: str) -> Iterator[str]:
    """Whether all of a model's answers are empty or cut at the limit.

    Args:
        tokens: of an answer, in the mean, its end token included; None where it is not known.
        cut: the share of answers that were cut; None where it is not known.
        key: the recipe's section that holds `sampling`.
    """
    if isinstance(tokens, float) and tokens <= 1.0:
        yield f"every answer of {whose} is empty"
    elif cut == 1.0:
        yield (
            f"every answer of {whose} was cut at the limit: it has not learnt to end, or "
            f"{key}.sampling.max_new_tokens is too small"
        )


def temperature_doubts(settings: RejectionSettings, sweep: Any, *, watched: bool) -> Iterator[str]:
    """Whether the temperature that a version draws at was chosen by more than the reward.

    Args:
        sweep: what the version found; None while it has not been looked for.
        watched: whether there is a watch model.
    """
    if not settings.temperatures:
        return
    if not watched:
        chosen = f", {sweep['chosen']:g}, was" if isinstance(sweep, Mapping) else " is"
        yield (
            f"the temperature of the candidates{chosen} chosen by reward alone: the hotter the draw, the more its best "
            f"answers are those whose score errs, so that the reward may choose the worst; add reward.watch, or say "
            f"one temperature, rlhf.rejection.sampling.temperature"
        )
    elif isinstance(sweep, Mapping) and sweep["chosen_by"] == "none":
        yield (
            f"at no temperature does what would be kept hold its own against the model's greedy answers by the watch "
            f"model; the lowest, {sweep['chosen']:g}, was taken: try lower ones in rlhf.rejection.temperatures, or a "
            f"higher rlhf.rejection.guard"
        )


def collect_doubts(result: Result) -> Iterator[str]:
    """Whether answers are mostly cut, pairs mostly the same, or an outside model obeys the answers that it compares."""
    if result.get("answers") and result["unusable"] > 0.5 * result["answers"]:
        yield (
            f"{result['unusable']:,} of {result['answers']:,} answers are cut, empty or marked, and in no pair; raise "
            f"collect.max_new_tokens, or train the model further"
        )
    campaigns = result.get("campaigns", {}).values()
    pairs, same = (sum(counts[key] for counts in campaigns) for key in ("pairs", "identical"))
    if same > 0.5 * pairs:
        yield f"{same:,} of {pairs:,} pairs drawn are two answers that are the same; raise collect.temperatures"
    asked = result.get("asked")
    if isinstance(asked, Mapping) and asked["followed"]:
        yield (
            f"the outside model was talked into {asked['followed']} of {asked['probes']} worthless answers that told "
            f"it to prefer them: where answers speak to whoever compares, its verdicts are theirs; take another model"
        )


def evaluation_doubts(result: Result, key: str) -> Iterator[str]:
    """Which versions' answers are all empty or cut; one sentence for all of which the same is true."""
    whose: dict[tuple[float | None, float | None], list[str]] = {}
    for row in result.get("versions", ()):
        if not row["task"]:  # else a part of the campaign's row
            means = {name: figure["value"] for name, figure in row["figures"].items()}
            cut = 1.0 - means["finished"] if "finished" in means else None
            empty = 0.0 if means.get("answer_tokens", 2.0) <= 1.0 else None
            whose.setdefault((empty, 1.0 if cut == 1.0 else None), []).append(f"{row['version']} ({row['campaign']})")
    for (tokens, cut), names in whose.items():
        yield from answer_doubts(tokens, cut, ", ".join(names), key)


def _at(result: Any, *keys: str) -> Any:
    for key in keys:
        result = result.get(key) if isinstance(result, Mapping) else None
    return result
