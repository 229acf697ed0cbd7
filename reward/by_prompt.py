"""All comparisons of a prompt as one tree: each answer is read once, however many others it was compared with.

    pair by pair:  prompt -> {a, b}    prompt -> {b, c}    prompt -> {a, c}
    by prompt:     prompt -> {a, b, c}

K answers that were each compared with m others cost K passes instead of m K (Ouyang et al. 2022, 3.5, eq. 1, which
found too that comparisons shuffled one by one over-fit).  The loss of the same comparisons is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alignment.batch.render import answer_tree
from alignment.batch.tree import make_batch
from reward.preferences import Example, OfOnePrompt, PairBatch, pair_batch


@dataclass(frozen=True, kw_only=True)
class PromptExample(OfOnePrompt):
    """Comparisons and labelled answers of one prompt.

    Attributes:
        members: what was said of the prompt's answers, one by one.
        tree: prompt -> {each different answer}.
        places: for each member, its answers' places among the tree's answers.
    """

    members: tuple[Example, ...]
    places: tuple[tuple[int, ...], ...]

    @property
    def weight(self) -> int:
        """What it counts for in a step: its members."""
        return len(self.members)


def by_prompt(examples: Sequence[Example], *, capacity: int, most: int) -> list[PromptExample]:
    """Put examples of the same prompt together, in the order in which their prompts first come.

    Args:
        capacity: tokens that a tree may have; a prompt with more is cut into several trees.
        most: members that a tree may have, as many as a step takes.
    """
    prompts: dict[bytes, list[_Gathered]] = {}
    for example in examples:
        prompt, *answers = example.tree.segments
        trees = prompts.setdefault(prompt.tobytes(), [])
        keys = [answer.tobytes() for answer in answers]
        if not trees or not trees[-1].takes(example, keys, capacity, most):
            trees.append(_Gathered(example))
        trees[-1].add(example, keys)
    return [tree.whole() for trees in prompts.values() for tree in trees]


def make_prompt_batch(prompts: Sequence[PromptExample]) -> PairBatch:
    """Lay prompts side by side as one forest; its comparisons are those of all members."""
    forest = make_batch([prompt.tree for prompt in prompts])
    members = [member for prompt in prompts for member in prompt.members]
    answers = [
        [first + 1 + place for place in places]
        for first, prompt in zip(forest.firsts.tolist(), prompts, strict=True)
        for places in prompt.places
    ]
    return pair_batch(forest, members, answers)


class _Gathered:
    """A tree that is being put together."""

    def __init__(self, example: Example) -> None:
        self._prompt = example.tree.segments[0]
        self._answers: dict[bytes, list[int]] = {}
        self._members: list[Example] = []
        self._places: list[tuple[int, ...]] = []

    def takes(self, example: Example, keys: Sequence[bytes], capacity: int, most: int) -> bool:
        answers = zip(example.tree.segments[1:], keys, strict=True)
        more = sum(len(answer) for answer, key in answers if key not in self._answers)
        return self._num_tokens + more <= capacity and len(self._members) < most

    def add(self, example: Example, keys: Sequence[bytes]) -> None:
        for answer, key in zip(example.tree.segments[1:], keys, strict=True):
            self._answers.setdefault(key, answer.tolist())
        order = {key: place for place, key in enumerate(self._answers)}
        self._members.append(example)
        self._places.append(tuple(order[key] for key in keys))

    def whole(self) -> PromptExample:
        tree = answer_tree(self._prompt.tolist(), list(self._answers.values()))
        rows = tuple(row for member in self._members for row in member.rows)
        return PromptExample(members=tuple(self._members), tree=replace(tree, rows=rows), places=tuple(self._places))

    @property
    def _num_tokens(self) -> int:
        return len(self._prompt) + sum(map(len, self._answers.values()))
