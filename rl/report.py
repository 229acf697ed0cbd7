"""What RLHF brings to the report: each version's sampling gain, and PPO's course."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignment.evaluate.judge_words import REWARD, JudgeWords
from alignment.evaluate.result import read_answers, read_evaluation
from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Facts, Paragraph, Section
from alignment.report.table import Interval, Table
from alignment.store.journal import read_journal
from alignment.train.report import Curve, curves, figures
from rl.hacked_versions import parted_sentences, version_changes
from rl.hacking import parting_sentence
from rl.sweep_report import sweep_figures, sweep_table

_KL = (
    "Mean of log π − log π₀ over sampled tokens, summed per answer. The true KL is never below 0; its estimate from "
    "one batch can be, while the two models are still close."
)
_K3 = "Mean of (r−1) − log r with r = π₀/π over sampled tokens, summed per answer: never below 0."
# drawn where they were logged
_PPO_CURVES = (
    Curve(
        metric="reward",
        label="sampled reward",
        held_out=False,
        note="Combined reward of the iteration's sampled answers, before whitening; other prompts and another "
        "temperature than the held-out figure's.",
    ),
    Curve(metric="kl", label="KL to the start, nats per answer", note=_KL),
    Curve(metric="explained_variance", label="explained variance of the returns"),
)
_PPO_DETAILS = (
    Curve(metric="kl_k3", label="KL to the start by k3, nats per answer", note=_K3),
    Curve(metric="kl_coefficient", label="beta, the weight of the KL"),
    Curve(metric="explained_variance_helpfulness", label="explained variance, answers to helpfulness prompts"),
    Curve(metric="explained_variance_safety", label="explained variance, answers to safety prompts"),
    Curve(metric="entropy", label="entropy of the policy, nats per token"),
    Curve(metric="ratio_mean", label="mean ratio of the policy to the one that sampled"),
    Curve(metric="clip_fraction", label="share of tokens whose ratio is clipped"),
    Curve(metric="value_loss", label="value loss"),
    Curve(metric="policy_loss", label="policy loss"),
    Curve(metric="replay_loss", label="language loss on replayed documents, nats per token"),
    Curve(metric="answer_tokens", label="tokens per answer"),
    Curve(metric="cut_share", label="share of answers cut at the limit"),
    Curve(
        metric="sampler_gap",
        label="log-probabilities, sampler less trainer",
        note="Both compute the same model: what lies between them is rounding.",
    ),
)
_REWARDS = (
    *("mean_reward", "median_reward", "kept_reward", "start_reward", "best_reward"),
    *("reward", "held_out_reward", "held_out_watch", "helpfulness", "safety", "watch"),
)


def rejection_section(folder: Path, *, stage: str, result: Mapping[str, Any]) -> Section:
    """The section of one rejection-sampling version."""
    found = json.loads((folder / "rejection.json").read_text(encoding="utf-8"))
    rewards, counts = rewards_apart({name: value for name, value in found.items() if name not in ("guard", "sweep")})
    origins = tuple((version, count) for version, count in found["pool_origins"].items())
    tuning = {name: value for name, value in result.items() if name not in found}
    details: list[Block] = [
        Facts(title="Sampling", items=tuple(figures(counts))),
        Facts(title="Rewards", items=tuple(figures(rewards)), scored_by=REWARD),
        Table(title="Where the kept answers come from", columns=("version", "answers"), rows=origins),
        Facts(title="Fine-tuning", items=tuple(figures(tuning))),
    ]
    details += sweep_table(found.get("sweep"))
    details += _guard(found.get("guard"))
    best = _best_by_n(found)
    kept = f"answers kept: {found['pool_size']:,}"
    drawn = [] if not best else [_best_of_n(best)]
    gain = f"best of {max(best)}: reward {best[max(best)].value - best[min(best)].value:+.2f} over one" if best else ""
    return Section(
        id=stage,
        title=f"RLHF-V{found['version']}: rejection sampling",
        blocks=(*drawn, *sweep_figures(found.get("sweep")), *curves(folder)),
        details=tuple(details),
        summary=f"{gain or 'none of its own answers could be kept'}; {kept}",
    )


def _guard(found: Mapping[str, Any] | None) -> list[Block]:
    """What is kept, held against the greedy answers; none where no greedy answer was drawn."""
    if not found:
        return []
    judges = {"reward": "the combined reward, which chose it", "watch": "the watch model"}
    judges["wins"] = "the outside watch model: share of comparisons won, less one half"
    unjudged = found.get("without_verdict", 0)
    rows = tuple((judges[name], Interval(**cell)) for name, cell in found["over_greedy"].items())
    return [
        Table(
            title="What is kept, less the greedy answer",
            columns=("by", "mean difference before the sigmoid"),
            rows=rows,
            note=f"Of {found['prompts']:,} prompts with both, {found['greedy_kept']:,} keep the greedy answer; 95 % "
            f"intervals over prompts."
            + (f" The outside watch model gave no verdict on {unjudged:,}, which are left out." if unjudged else ""),
            scored_by=REWARD,
        )
    ]


def control_section(
    folder: Path, *, stage: str, result: Mapping[str, Any], versions: Sequence[str], greedy: bool = False
) -> Section:
    """The section of a control: what the versions' fine-tuning gives on demonstrations, or on greedy answers, alone."""
    taught = "the model's own greedy answers to the same prompts" if greedy else "demonstrations"
    return Section(
        id=stage,
        title=f"Control: the same training on {'greedy answers' if greedy else 'demonstrations'}, without a reward",
        blocks=() if greedy else tuple(curves(folder)),
        details=(Facts(title="Fine-tuning", items=tuple(figures(result))),),
        summary=f"{result['steps']:,} steps, those of {', '.join(versions)} together, on {taught} alone",
    )


def _best_by_n(found: Mapping[str, Any]) -> dict[int, Interval]:
    """N -> the mean reward of the best of N; without an interval in runs that kept none."""
    if found.get("best_by_n"):
        return {int(n): Interval(**cell) for n, cell in sorted(found["best_by_n"].items(), key=lambda one: int(one[0]))}
    plain = sorted((int(n), float(value)) for n, value in found["max_reward_by_n"].items())
    return {n: Interval(value=value, low=value, high=value) for n, value in plain}


def _best_of_n(best: Mapping[int, Interval]) -> Figure:
    n = tuple(float(count) for count in best)
    one = best[min(best)]
    return Figure(
        title="Best of N",
        kind="line",
        series=(
            Series(
                name="best of N",
                x=n,
                y=tuple(cell.value for cell in best.values()),
                low=tuple(cell.low for cell in best.values()),
                high=tuple(cell.high for cell in best.values()),
            ),
            Series(name="one usable answer, any", x=n, y=(one.value,) * len(n)),
        ),
        x_label="N, answers drawn for a prompt",
        y_label="mean combined reward",
        note="Means over the prompts that have a usable answer, with a 95 % interval; what is cut or empty is never "
        "picked. The reward model picks and scores: the rise is its own word.",
    )


def ppo_section(folder: Path, *, stage: str, result: Mapping[str, Any], compares: bool = False) -> Section:
    """The section of a PPO stage; `compares`: an outside model watched, whose figures are comparisons won."""
    found = json.loads((folder / "ppo.json").read_text(encoding="utf-8"))
    rewards, counts = rewards_apart(found)
    parted = found.get("parted")
    told = [] if parted is None else [Paragraph(text=_sentence(parting_sentence(parted, compares=compares)))]
    details: list[Block] = [
        Facts(title="Figures", items=tuple(figures(counts))),
        Facts(title="Rewards", items=tuple(figures(rewards)), scored_by=REWARD),
    ]
    details += curves(folder, _PPO_DETAILS)
    rows = read_journal(folder / "metrics.jsonl")
    if rows:
        kept = {k: float(v) for k, v in rows[-1].items() if isinstance(v, (int, float)) and not k.startswith("time_")}
        scores, others = rewards_apart(kept)
        details.append(Facts(title="Last iteration", items=tuple(figures(others))))
        details.append(Facts(title="Rewards of the last iteration", items=tuple(figures(scores)), scored_by=REWARD))
    return Section(
        id=stage,
        title=f"{stage.replace('rlhf-v', 'RLHF-V')}: PPO",
        blocks=(
            held_out_figure(found["held_out"], compares=compares, parted=parted),
            *told,
            *curves(folder, _PPO_CURVES),
        ),
        details=tuple(details),
        summary=f"held-out reward {found['start_reward']:.2f} → {found['best_reward']:.2f}, greedy answers, after "
        f"{found['best_iteration']:,} of {found['iterations']:,} iterations",
    )


def held_out_figure(
    course: Sequence[Mapping[str, float]],
    *,
    unit: str = "iteration",
    compares: bool = False,
    parted: Mapping[str, Any] | None = None,
) -> Figure:
    """The scores of whichever reward models there are; `compares`: an outside model watched; where reward and watch
    model `parted`, a line from the one to the other."""
    watch = "outside watch model, comparisons with the start won" if compares else "watch model"
    names = (("reward", "combined"), ("helpfulness", "helpfulness"), ("safety", "safety"), ("watch", watch))
    decided = (
        "combined reward" if "watch" not in course[0] else "share of comparisons won" if compares else _WATCH_SCORE
    )
    missing = sum(entry.get("without_verdict", 0) for entry in course)
    series = []
    for key, name in names:
        found = [entry for entry in course if entry.get(key) is not None]
        if found:
            x = tuple(float(entry["iteration"]) for entry in found)
            series.append(Series(name=name, x=x, y=tuple(float(entry[key]) for entry in found)))
    if parted is not None:
        (here,) = (entry for entry in course if entry["iteration"] == parted["iteration"])
        ends = (float(here["reward"]), float(here["watch"]))
        series.append(Series(name="reward and watch model part", x=(here["iteration"],) * 2, y=ends))
    return Figure(
        title="held-out reward, greedy answers",
        kind="line",
        series=tuple(series),
        x_label=unit,
        y_label="mean score before the sigmoid",
        note=_DECIDED.format(by=decided, unit=unit)
        + (f" The watch model gave no verdict on {missing:,.0f} answers, which are left out." if missing else ""),
    )


_WATCH_SCORE = "score of the watch model"
_DECIDED = "The best {by} is the stage's result; {unit} 0 is the start."


def rewards_apart(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the reward models said, and what was counted."""
    rewards = {name: value for name, value in found.items() if name in _REWARDS}
    return rewards, {name: value for name, value in found.items() if name not in _REWARDS}


def reward_against_judge(folder: Path, words: JudgeWords) -> tuple[Block, ...]:
    """Version by version what the reward models say beside what a judge says that took no part in training.

    Args:
        folder: an evaluation's.

    Returns:
        Nothing where either judge is missing, or there are no two versions.
    """
    changes = version_changes(read_evaluation(folder), read_answers(folder))
    if not changes:
        return ()
    rows = tuple(
        (one.version, one.before, one.campaign, one.prompts, one.reward, one.outside, "yes" if one.parts else "no")
        for one in changes
    )
    table = Table(
        title="Reward against a judge that took no part in training, version by version",
        columns=(
            *("version", "after", "campaign", "prompts"),
            *("combined reward", words.title(changes[0].judge), "the two part"),
        ),
        rows=rows,
        note="Differences to the version before, paired by prompt, with 95 % intervals; the two part where the reward "
        "rises and the judge's figure falls, both outside their intervals.",
        scored_by=changes[0].judge,
    )
    return (table, *(Paragraph(text=_sentence(told)) for told in parted_sentences(changes)))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
