"""Preferences as trees: prompt -> {chosen, rejected}, with the margin and the safety labels beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from alignment.batch.render import answer_tree
from alignment.batch.tree import Tree
from alignment.records import Grade, LabelledAnswer, Preference
from alignment.text.chat import answer_ids, render_prompt
from alignment.text.tokenizer import Tokenizer
from reward.loss import MarginName, margin_of

UNLABELLED = math.nan


@dataclass(frozen=True, kw_only=True)
class PairSet:
    """What a reward model is trained or tested on.

    Attributes:
        trees: one a pair (labels: margin, chosen safe, rejected safe) or a labelled answer (labels: safe);
            a label that is not known is NaN.
        grades: each tree's grade, None for labelled answers and ungraded pairs.
        sources: the name of each tree's source file.
        too_long: how many were left out because they do not fit the context.
    """

    trees: list[Tree]
    grades: list[Grade | None]
    sources: list[str]
    too_long: int


def pair_set(
    records: Sequence[Preference | LabelledAnswer],
    tokenizer: Tokenizer,
    *,
    margin: MarginName,
    context_length: int,
) -> PairSet:
    """Tokenise preferences; a pair with an answer over the context is left out and counted."""
    trees: list[Tree] = []
    grades: list[Grade | None] = []
    sources: list[str] = []
    skipped: Counter[str] = Counter()
    labels: tuple[float, ...]
    for record in records:
        prompt = render_prompt(record.prompt, tokenizer)
        if isinstance(record, Preference):
            answers = [answer_ids(record.chosen, tokenizer), answer_ids(record.rejected, tokenizer)]
            labels = (margin_of(record.grade, margin), _label(record.chosen_safe), _label(record.rejected_safe))
            grade = record.grade
        else:
            answers, labels, grade = [answer_ids(record.answer, tokenizer)], (_label(record.safe),), None
        if len(prompt) + max(len(answer) for answer in answers) > context_length:
            skipped["too_long"] += 1
            continue
        trees.append(answer_tree(prompt, answers, row=str(record.source), labels=labels))
        grades.append(grade)
        sources.append(_source_name(record.source.file))
    return PairSet(trees=trees, grades=grades, sources=sources, too_long=skipped["too_long"])


def is_pair(tree: Tree) -> bool:
    """Whether the tree is a pair (else a single labelled answer)."""
    return len(tree.segments) == 3


def _source_name(file: str) -> str:
    """A file's name without its folders, which differ from machine to machine; a world's part as it is."""
    return file if file.startswith("world:") else file.replace("\\", "/").rpartition("/")[2]


def _label(safe: bool | None) -> float:
    return UNLABELLED if safe is None else float(safe)
