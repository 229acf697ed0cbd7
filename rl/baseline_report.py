"""What the baselines bring to the report: their courses, beside RLHF's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.evaluate.judge_words import REWARD
from alignment.report.page import Facts, Section
from alignment.train.report import Curve, curves, figures
from rl.report import held_out_figure, rewards_apart

_DPO_CURVES = (
    Curve(metric="loss", label="DPO's loss, nats per pair"),
    Curve(
        metric="accuracy",
        label="share of pairs whose chosen answer has the higher implicit reward",
        note="The implicit reward is beta times the log-ratio of the policy to its start: before the first step it is "
        "0 for both answers of a pair, and no pair counts.",
    ),
    Curve(metric="margin", label="implicit reward, chosen less rejected"),
)
_DPO_DETAILS = (
    Curve(metric="chosen_reward", label="implicit reward of the chosen answers"),
    Curve(metric="rejected_reward", label="implicit reward of the rejected answers"),
    Curve(metric="entropy", label="entropy of the policy, nats per token"),
)
_GRPO_CURVES = (
    Curve(
        metric="reward",
        label="sampled reward",
        held_out=False,
        note="Combined reward of the step's sampled answers; other prompts and another temperature than the held-out "
        "figure's.",
    ),
    Curve(metric="kl", label="KL to the start, nats per token"),
)
_GRPO_DETAILS = (
    Curve(metric="reward_std", label="standard deviation of the sampled rewards"),
    Curve(metric="entropy", label="entropy of the policy, nats per token"),
    Curve(metric="answer_tokens", label="tokens per answer"),
    Curve(metric="cut_share", label="share of answers cut at the limit"),
    Curve(metric="even_groups", label="share of answers whose group has one reward, and teaches nothing"),
)


def dpo_section(folder: Path, *, stage: str, result: Mapping[str, Any]) -> Section:
    """The section of DPO."""
    measured = f", held-out accuracy {result['accuracy']:.3f}" if "accuracy" in result else ""
    return Section(
        id=stage,
        title="Baseline: DPO by TRL",
        blocks=tuple(curves(folder, _DPO_CURVES)),
        details=(Facts(title="Figures", items=tuple(figures(result))), *curves(folder, _DPO_DETAILS)),
        summary=f"{result['pairs']:,} pairs, {result['steps']:,} steps{measured}",
    )


def grpo_section(folder: Path, *, stage: str, result: Mapping[str, Any], compares: bool = False) -> Section:
    """The section of GRPO; `compares`: an outside model watched."""
    rewards, counts = rewards_apart(result)
    return Section(
        id=stage,
        title="Baseline: GRPO by TRL",
        blocks=(held_out_figure(result["held_out"], unit="step", compares=compares), *curves(folder, _GRPO_CURVES)),
        details=(
            Facts(title="Figures", items=tuple(figures(counts))),
            Facts(title="Rewards", items=tuple(figures(rewards)), scored_by=REWARD),
            *curves(folder, _GRPO_DETAILS),
        ),
        summary=f"held-out reward {result['start_reward']:.2f} → {result['best_reward']:.2f}, greedy answers, after "
        f"{result['best_step']:,} of {result['steps']:,} steps; {result['samples']:,} answers drawn",
    )
