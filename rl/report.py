"""What RLHF brings to the report: each version's sampling gain, and PPO's course."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Facts, Section
from alignment.report.table import Table
from alignment.store.journal import read_journal
from alignment.train.report import curves, data_tables, figures

_PPO_CURVES = (
    ("reward", "combined reward of rollouts, before whitening"),
    ("kl", "KL to the start, nats per answer"),
    ("answer_tokens", "tokens per answer"),
    ("value_loss", "value loss"),
)


def rejection_section(folder: Path, *, stage: str, result: Mapping[str, Any]) -> Section:
    """The section of one rejection-sampling version."""
    found = json.loads((folder / "rejection.json").read_text(encoding="utf-8"))
    by_n = found["max_reward_by_n"]
    origins = tuple((version, count) for version, count in found["pool_origins"].items())
    blocks: list[Block] = [
        Facts(title="Sampling", items=tuple(figures(found))),
        Figure(
            title="Best of N",
            kind="line",
            series=(
                Series(name="best", x=tuple(float(n) for n in by_n), y=tuple(float(v) for v in by_n.values())),
                Series(name="median", x=tuple(float(n) for n in by_n), y=(found["median_reward"],) * len(by_n)),
            ),
            x_label="N, answers drawn for a prompt",
            y_label="mean combined reward",
        ),
        Table(title="Where the kept answers come from", columns=("version", "answers"), rows=origins),
        Facts(title="Fine-tuning", items=tuple(figures({k: v for k, v in result.items() if k not in found}))),
    ]
    blocks += curves(folder)
    blocks += data_tables(folder)
    gain = found["kept_reward"] - found["mean_reward"]
    return Section(
        id=stage,
        title=f"RLHF-V{found['version']}: rejection sampling",
        blocks=tuple(blocks),
        summary=f"best of {len(by_n) and max(int(n) for n in by_n)} gains {gain:+.2f} over the mean sample",
    )


def ppo_section(folder: Path, *, stage: str, result: Mapping[str, Any]) -> Section:
    """The section of a PPO stage."""
    found = json.loads((folder / "ppo.json").read_text(encoding="utf-8"))
    held_out = found["held_out"]
    iterations = tuple(float(entry["iteration"]) for entry in held_out)
    blocks: list[Block] = [
        Facts(title="Figures", items=tuple(figures(found))),
        Figure(
            title="Held-out reward (greedy answers)",
            kind="line",
            series=tuple(
                Series(name=name, x=iterations, y=tuple(float(entry[key]) for entry in held_out))
                for key, name in (("reward", "combined"), ("helpfulness", "helpfulness"), ("safety", "safety"))
                if all(entry[key] is not None for entry in held_out)
            ),
            x_label="iteration",
            y_label="mean score before the sigmoid",
            note="The best combined reward is the stage's result; iteration 0 is the start.",
        ),
    ]
    blocks += curves(folder, _PPO_CURVES)
    rows = read_journal(folder / "metrics.jsonl")
    if rows:
        kept = {k: float(v) for k, v in rows[-1].items() if isinstance(v, (int, float)) and not k.startswith("time_")}
        blocks.append(Facts(title="Last iteration", items=tuple(figures(kept))))
    blocks += data_tables(folder)
    summary = f"held-out reward {found['start_reward']:.2f} → {found['best_reward']:.2f}"
    return Section(id=stage, title=f"{stage.replace('rlhf-v', 'RLHF-V')}: PPO", blocks=tuple(blocks), summary=summary)
