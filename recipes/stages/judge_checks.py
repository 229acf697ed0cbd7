"""Whether reward models and prompts are fit for RLHF: what is known of them before it.  No torch, no pydantic.

Each check is one sentence where it fails.  A reward model's own chapter says it (`doubts`), and the first RLHF stage
says it again before it draws a sample, where `rlhf.checks` decides what follows.  Read are the figures of a finished
reward stage: its evaluation, and what it notices.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alignment.errors import UsageError

if TYPE_CHECKING:
    from rl.settings import ChecksSettings

CheckName = Literal["threshold", "refusals", "flaws", "kept", "disjoint"]
Figures = Mapping[str, Any]  # `evaluation` and `noticed`, as a finished reward stage's result has them
_OWN_PAIRS = "source:stage:"  # the group of held-out pairs that another stage drew from the policy
# what a watch model said of kept and greedy answers, and its unit: a trained one, one that compares
_WATCHED: Mapping[str, str] = {"watch": "in logits", "wins": "of comparisons won over one half, ties half"}
_UNSAFE_PROMPTS = ("comply", "comply_polite")  # flaws that are compliance with an unsafe prompt


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A check that did not hold.

    Attributes:
        name: the check's, a key of `rlhf.checks`.
        sentence: what was found, and what it means.
    """

    name: CheckName
    sentence: str


def failed_checks(role: str, figures: Figures, safety_threshold: float) -> Iterator[Failed]:
    """What one reward model's figures say against judging by it; what was not measured is not held against it.

    Args:
        role: "helpfulness" or "safety".
        safety_threshold: as a probability; below it the safety score counts.
    """
    noticed = figures.get("noticed") or ()
    if role == "safety":
        yield from _threshold(figures, safety_threshold)
        yield from _refusals(figures, noticed)
    yield from _flaws(role, noticed)


def failed_kept(over_greedy: Mapping[str, Mapping[str, float]], version: int) -> Iterator[Failed]:
    """Whether what a version keeps is no better than its greedy answers by a model that did not choose it."""
    for key, unit in _WATCHED.items():
        watch = over_greedy.get(key)
        if watch is None or watch["low"] > 0:
            continue
        yield Failed(
            name="kept",
            sentence=f"what RLHF-V{version} keeps is not better than its greedy answers by the watch model "
            f"({watch['value']:+.2f} [{watch['low']:+.2f}, {watch['high']:+.2f}] {unit})",
        )


def failed_agreement(figures: Figures) -> Iterator[Failed]:
    """Whether the helpfulness model, where no watch model tells, agrees with held-out comparisons better than a coin.

    Asked are pairs of the policy's own answers; where none were held out, all pairs that were.
    """
    accuracy: Mapping[str, Mapping[str, float]] = (figures.get("evaluation") or {}).get("accuracy", {})
    own = {group: share for group, share in accuracy.items() if group.startswith(_OWN_PAIRS)}
    whose = "the policy's own answers" if own else "all answers (none were held out of the policy's own)"
    unsure = [share for share in (own or {"all": accuracy["all"]} if accuracy else {}).values() if share["low"] <= 0.5]
    if unsure:
        worst = min(unsure, key=lambda share: share["value"])
        yield Failed(
            name="kept",
            sentence="that what is kept beats the greedy answers cannot be expected, and no watch model tells it: of "
            f"held-out pairs of {whose} the helpfulness model prefers the better one in {worst['value']:.2f} "
            f"[{worst['low']:.2f}, {worst['high']:.2f}], which is no better than a coin",
        )


def read_figures(folder: Path) -> dict[str, Any]:
    """The figures of a finished reward stage's folder."""
    found = {}
    for name, file in (("evaluation", "evaluation.json"), ("noticed", "noticed.json")):
        if (folder / file).exists():
            found[name] = json.loads((folder / file).read_text(encoding="utf-8"))
    return found


def obey(failed: Sequence[Failed], checks: ChecksSettings) -> list[str]:
    """What to tell of failed checks before RLHF.

    Returns:
        The sentences of those that are told and passed over.

    Raises:
        UsageError: a check that stops has failed; names all of them and the setting that passes over them.
    """
    asked: dict[str, list[Failed]] = {"tell": [], "stop": [], "skip": []}
    for check in failed:
        asked[getattr(checks, check.name)].append(check)
    if stopping := asked["stop"]:
        keys = ", ".join(dict.fromkeys(f"rlhf.checks.{check.name}=tell" for check in stopping))
        sentences = "; ".join(check.sentence for check in stopping)
        raise UsageError(f"RLHF does not begin as its checks ask: {sentences}; {keys} goes on all the same")
    return [check.sentence for check in asked["tell"]]


def _threshold(figures: Figures, threshold: float) -> Iterator[Failed]:
    """Whether scores lie on both sides of the threshold."""
    scores = (figures.get("evaluation") or {}).get("score_range")
    if not scores:
        return
    low, high = scores["min"], scores["max"]
    key = f"rlhf.combination.safety_threshold, {threshold:g},"
    span = f"held-out answers score from {low:.2g} to {high:.2g}"
    if threshold <= low:
        sentence = f"{key} is below every safety score ({span}): the safety model never counts on other prompts"
    elif threshold > high:
        sentence = f"{key} is above every safety score ({span}): helpfulness never counts"
    else:
        return
    yield Failed(name="threshold", sentence=sentence)


def _refusals(figures: Figures, noticed: Sequence[Mapping[str, Any]]) -> Iterator[Failed]:
    """Whether the safety model prefers a refusal to compliance, and on fine prompts an answer to a refusal."""
    complying = [entry for entry in noticed if entry["flaw"] in _UNSAFE_PROMPTS]
    bins = (figures.get("evaluation") or {}).get("accuracy", {})
    if not complying and (pairs := bins.get("safety:chosen safe, rejected unsafe")):
        complying = [{"flaw": "an unsafe answer", "share": pairs}]
    if (worst := _worst(complying)) is not None:
        sentence = f"the safety model does not prefer a safe answer to an unsafe one ({_told(worst)})"
        yield Failed(name="refusals", sentence=sentence)
    if (worst := _worst([entry for entry in noticed if entry["flaw"] == "refusal"])) is not None:
        sentence = f"the safety model does not prefer an answer to a refusal on fine prompts ({_told(worst)})"
        yield Failed(name="refusals", sentence=sentence)


def _flaws(role: str, noticed: Sequence[Mapping[str, Any]]) -> Iterator[Failed]:
    """Whether the model ranks flawed copies of right answers below them, all flaws together."""
    if (worst := _worst([entry for entry in noticed if entry["flaw"] == "any flaw"])) is not None:
        sentence = f"the {role} model does not rank a flawed copy below the right answer ({_told(worst)})"
        yield Failed(name="flaws", sentence=sentence)


def _worst(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of the entries that cannot be told from a coin, or are worse, the one with the smallest share."""
    unseen = [entry for entry in entries if entry["share"]["low"] <= 0.5]
    return min(unseen, key=lambda entry: float(entry["share"]["value"]), default=None)


def _told(entry: Mapping[str, Any]) -> str:
    share = entry["share"]
    where = f" of {entry['origin']}" if "origin" in entry else ""
    return f"{entry['flaw']}{where}: {share['value']:.2f} [{share['low']:.2f}, {share['high']:.2f}] are ranked rightly"
