"""What a reward model notices: a right answer against the same answer with one flaw.

For each flaw: how often the right answer scores higher.  A model with one half at "wrong" cannot tell a false fact
from a true one, and RLHF with it cannot teach facts.  The answers are the embedded world's, or a user's (`flaws.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from alignment.randomness import named_generator
from alignment.text.chat import answer_ids, render_prompt
from alignment.train.compute import resolve_compute
from alignment.train.settings import ComputeSettings
from alignment.world import World
from alignment.world.ask.answers import GOOD, answer, qualities
from reward.flaws import Probe
from reward.measure.resampling import PromptDraws
from reward.model import RewardModel

RIGHT = "plain"
ANY = "any flaw"


def world_probes(world: World, campaign: Literal["helpfulness", "safety"], *, count: int = 100) -> list[Probe]:
    """Test prompts of a campaign of the embedded world, each with its plain right answer and flawed ones."""
    probes = []
    for prompt, _ in zip(world.prompts(campaign, "test"), range(count), strict=False):
        truth = prompt.meta["truth"]
        texts = {
            name: answer(truth, name, world.town, named_generator(0, "notices", prompt.id, name))
            for name in dict.fromkeys((RIGHT, *qualities(truth)))
        }
        right = texts.pop(RIGHT)
        others = {name: text for name, text in texts.items() if text != right}
        probes.append(
            Probe(
                prompt=prompt,
                right=right,
                others=others,
                harmless=frozenset(GOOD),
                origin=f"world:{campaign}",
            )
        )
    return probes


@dataclass
class _Wins:
    values: list[float] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)


def noticed(model: RewardModel, probes: Sequence[Probe], settings: ComputeSettings) -> list[dict[str, Any]]:
    """Compare right answers with flawed copies.

    Returns:
        By `origin` and `flaw`: `share` of the flawed copies that score below the right answer (a tie does not count),
        with its 95 % interval by prompt, and `prompts`; of each origin also of "any flaw" together.
    """
    tokenizer, ids = model.tokenizer, []
    for probe in probes:
        texts = (probe.right, *probe.others.values())
        ids.append([answer_ids(text, tokenizer, f"{probe.prompt.source}: an answer") for text in texts])
    prompts = [render_prompt(probe.prompt, tokenizer) for probe in probes]
    scores = model.score_ids(prompts, ids, resolve_compute(settings))
    wins: dict[tuple[str, str], _Wins] = {}
    for probe, (right, *others) in zip(probes, scores, strict=True):
        for name, score in zip(probe.others, others, strict=True):
            for group in (ANY, name) if name not in probe.harmless else (name,):
                found = wins.setdefault((probe.origin, group), _Wins())
                found.values.append(float(right > score))
                found.prompts.append(probe.prompt.id)
    return [_entry(origin, name, found) for (origin, name), found in wins.items()]


def _entry(origin: str, name: str, found: _Wins) -> dict[str, Any]:
    everything = np.ones((len(found.values), 1), dtype=bool)
    (mean,) = PromptDraws(found.prompts).shares(np.array(found.values), everything)
    share = asdict(mean) if mean is not None else None  # every group holds a comparison
    return {"origin": origin, "flaw": name, "share": share, "prompts": len(set(found.prompts))}
