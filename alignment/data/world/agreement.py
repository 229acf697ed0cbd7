"""How well a world's annotators agree on pairs that nobody trains on."""

from __future__ import annotations

from itertools import islice

from alignment.data.world.annotators import Agreement, agreement
from alignment.data.world.world import Kind, World


def held_out_agreement(world: World, kind: Kind, count: int) -> Agreement:
    """Let every annotator compare the first `count` test pairs of a campaign."""
    pairs = []
    for preference in islice(world.preferences(kind, "test"), count):
        first, second = sorted((preference.chosen, preference.rejected))  # any order that does not tell the choice
        pairs.append((preference.prompt, first, second))
    return agreement(world.annotators(), pairs, kind, seed=world.settings.seed)
