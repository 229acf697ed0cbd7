"""Which two answers to a prompt are compared: of two variants, never the same text, none twice.  No torch.

Llama 2 paper, 3.2.1: the two answers come from two different model variants, at different temperatures, for diversity.
Where there is one variant at one temperature, as before PPO, they are two answers of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np

from alignment.randomness import named_generator


@dataclass(frozen=True, kw_only=True)
class Way:
    """How an answer came about: a policy at a temperature."""

    variant: str
    temperature: float

    def __str__(self) -> str:
        return f"{self.variant} at {self.temperature:g}"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One answer: its text, and how it came about."""

    text: str
    way: Way


@dataclass(kw_only=True)
class Pairs:
    """A prompt's pairs.

    Attributes:
        asked: pairs of two different texts, in the order in which they are shown.
        identical: pairs met whose texts are the same.
        repeated: pairs met whose two texts another pair has already.
    """

    asked: list[tuple[Drawn, Drawn]] = field(default_factory=list)
    identical: int = 0
    repeated: int = 0

    @property
    def drawn(self) -> int:
        """Pairs met in all."""
        return len(self.asked) + self.identical + self.repeated


def draw_pairs(answers: Mapping[Way, Sequence[str]], count: int, *, seed: int, prompt: str) -> Pairs:
    """Up to `count` pairs of answers of two ways, or of the only one, drawn at random, the order of the two too.

    Args:
        answers: the usable answers to one prompt, by how they came about.
        prompt: its id; names the draw.
    """
    draw = named_generator(seed, "collect-pairs", prompt)
    candidates = [
        (Drawn(text=one, way=first), Drawn(text=other, way=second))
        for first, second in combinations(answers, 2)
        for one, other in product(answers[first], answers[second])
    ]
    if len(answers) == 1:
        (way,) = answers
        own = combinations(answers[way], 2)
        candidates = [(Drawn(text=one, way=way), Drawn(text=other, way=way)) for one, other in own]
    found, seen = Pairs(), set[frozenset[str]]()
    for place in draw.permutation(len(candidates)).tolist():
        if len(found.asked) == count:
            break
        one, other = _in_some_order(candidates[place], draw)
        texts = frozenset((one.text, other.text))
        if len(texts) == 1:
            found.identical += 1
        elif texts in seen:
            found.repeated += 1
        else:
            seen.add(texts)
            found.asked.append((one, other))
    return found


def _in_some_order(pair: tuple[Drawn, Drawn], draw: np.random.Generator) -> tuple[Drawn, Drawn]:
    return pair if draw.random() < 0.5 else (pair[1], pair[0])
