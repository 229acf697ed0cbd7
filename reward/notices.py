"""What a reward model notices: a right answer against the same answer with one flaw, on the embedded world's prompts.

For each flaw: how often the right answer scores higher.  A model with one half at "wrong" cannot tell a false fact
from a true one, and RLHF with it cannot teach facts.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from alignment.randomness import named_generator
from alignment.report.intervals import bootstrap_mean
from alignment.text.chat import render_prompt
from alignment.train.compute import resolve_compute
from alignment.train.settings import ComputeSettings
from alignment.world import World
from alignment.world.ask.answers import answer, qualities
from reward.model import RewardModel

RIGHT = "plain"


def noticed(model: RewardModel, world: World, settings: ComputeSettings, *, count: int = 100) -> list[dict[str, Any]]:
    """Compare right answers with flawed ones on held-out prompts.

    Args:
        count: test prompts of the helpfulness campaign.

    Returns:
        By `flaw`: `share` of prompts on which the right, plain answer scores higher, with a 95 % interval, `prompts`.
    """
    wins: dict[str, list[float]] = defaultdict(list)
    prompts = [prompt for prompt, _ in zip(world.prompts("helpfulness", "test"), range(count), strict=False)]
    options: list[list[str]] = []
    names: list[list[str]] = []
    for prompt in prompts:
        truth = prompt.meta["truth"]
        kinds = [RIGHT, *(name for name in qualities(truth) if name != RIGHT)]
        names.append(kinds)
        options.append(
            [answer(truth, kind, world.town, named_generator(0, "notices", prompt.id, kind)) for kind in kinds]
        )
    end = model.tokenizer.eos_id
    ids = [[[*model.tokenizer.encode(text), end] for text in texts] for texts in options]
    compute = resolve_compute(settings)
    scores = model.score_ids([render_prompt(prompt, model.tokenizer) for prompt in prompts], ids, compute)
    for kinds, texts, row in zip(names, options, scores, strict=True):
        for kind, text, score in zip(kinds[1:], texts[1:], row[1:], strict=True):
            if text != texts[0]:
                wins[kind].append(float(row[0] > score))
    found = []
    for kind, values in wins.items():
        mean = bootstrap_mean(np.asarray(values), seed=0)
        share = {"value": mean.value, "low": mean.low, "high": mean.high}
        found.append({"flaw": kind, "share": share, "prompts": len(values)})
    return found
