"""Preferences as examples and batches: prompt -> {chosen, rejected}, with the margin and the safety labels beside them.

S segments of a forest, P pairs, A answers with a safety label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignment.batch.render import answer_tree
from alignment.batch.tree import ForestBatch, Tree, make_batch
from alignment.errors import SettingError
from alignment.records import Grade, LabelledAnswer, Preference
from alignment.text.chat import answer_ids, render_prompt
from alignment.text.tokenizer import Tokenizer
from reward.margins import Margin, margin_of


@dataclass(frozen=True, kw_only=True)
class OfOnePrompt:
    """What a bin is filled with: a prompt and answers to it.

    Attributes:
        tree: prompt -> {answers}.
    """

    tree: Tree

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and answers."""
        return self.tree.num_tokens

    @property
    def rows(self) -> tuple[str, ...]:
        """Where it came from ("file:line")."""
        return self.tree.rows


@dataclass(frozen=True, kw_only=True)
class PairExample(OfOnePrompt):
    """Two answers to one prompt.

    Attributes:
        tree: prompt -> {chosen, rejected}.
        margin: m(r) of the grade.
        chosen_safe, rejected_safe: safety labels, None where not labelled.
        source: the name of the file that it came from.
    """

    margin: float
    chosen_safe: bool | None = None
    rejected_safe: bool | None = None
    grade: Grade | None = None
    source: str = ""

    @property
    def labels(self) -> tuple[bool | None, ...]:
        """Of each answer: whether it is safe."""
        return self.chosen_safe, self.rejected_safe


@dataclass(frozen=True, kw_only=True)
class AnswerExample(OfOnePrompt):
    """One answer with a safety label and no partner.

    Attributes:
        tree: prompt -> {answer}.
        source: the name of the file that it came from.
    """

    safe: bool
    source: str = ""

    @property
    def labels(self) -> tuple[bool | None, ...]:
        """Of its one answer: whether it is safe."""
        return (self.safe,)


Example = PairExample | AnswerExample


@dataclass(frozen=True, kw_only=True)
class PreparedPairs:
    """What a reward model is trained or tested on.

    Attributes:
        examples: pairs and single labelled answers.
        too_long: how many were left out because they do not fit the context.
    """

    examples: tuple[Example, ...]
    too_long: int

    def require_some(self, context_length: int) -> None:
        """Refuse a context that leaves nothing to train on.

        Raises:
            SettingError: no example fits it.
        """
        if not self.examples:
            raise SettingError(
                "context_length",
                f"is {context_length:,}, which none of {self.too_long:,} comparisons fits; raise it, or shorten them",
            )


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """One bin of examples.

    Attributes:
        forest: their trees.
        num_examples: pairs and single answers: what the loss is divided by.
        chosen, rejected: [P] the answers' segments among the forest's [S].
        margin: [P] float32.
        labelled: [A] segments of the answers with a safety label.
        safe: [A] 1 for safe, 0 for unsafe, float32.
        weight: [A] one over the number of labelled answers of the same example, float32.
        single: [A] whether the answer has no partner.
    """

    forest: ForestBatch
    num_examples: int
    chosen: Tensor
    rejected: Tensor
    margin: Tensor
    labelled: Tensor
    safe: Tensor
    weight: Tensor
    single: Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens of the forest."""
        return self.forest.num_tokens

    @property
    def rows(self) -> tuple[str, ...]:
        """Where the examples came from ("file:line")."""
        return self.forest.rows

    def to(self, device: torch.device) -> PairBatch:
        """The batch on another device."""
        return PairBatch(
            forest=self.forest.to(device),
            num_examples=self.num_examples,
            chosen=self.chosen.to(device),
            rejected=self.rejected.to(device),
            margin=self.margin.to(device),
            labelled=self.labelled.to(device),
            safe=self.safe.to(device),
            weight=self.weight.to(device),
            single=self.single.to(device),
        )


def prepare_pairs(
    records: Sequence[Preference | LabelledAnswer],
    tokenizer: Tokenizer,
    *,
    margin: Margin,
    context_length: int,
) -> PreparedPairs:
    """Tokenise preferences; an example with an answer over the context is left out and counted."""
    examples: list[Example] = []
    for record in records:
        prompt, source = render_prompt(record.prompt, tokenizer), source_name(record.source.file)
        texts = (record.chosen, record.rejected) if isinstance(record, Preference) else (record.answer,)
        answers = [answer_ids(text, tokenizer, f"{record.source}: an answer") for text in texts]
        if len(prompt) + max(len(answer) for answer in answers) > context_length:
            continue
        tree = answer_tree(prompt, answers, row=str(record.source))
        if isinstance(record, Preference):
            example: Example = PairExample(
                tree=tree,
                margin=margin_of(record.grade, margin),
                chosen_safe=record.chosen_safe,
                rejected_safe=record.rejected_safe,
                grade=record.grade,
                source=source,
            )
        else:
            example = AnswerExample(tree=tree, safe=record.safe, source=source)
        examples.append(example)
    return PreparedPairs(examples=tuple(examples), too_long=len(records) - len(examples))


def longest_with_answer(record: Preference | LabelledAnswer, tokenizer: Tokenizer) -> int:
    """Tokens of a record's prompt with its longest answer, which is what must fit the context."""
    answers = [record.chosen, record.rejected] if isinstance(record, Preference) else [record.answer]
    return len(render_prompt(record.prompt, tokenizer)) + max(len(answer_ids(text, tokenizer)) for text in answers)


def make_pair_batch(examples: Sequence[Example]) -> PairBatch:
    """Lay examples side by side as one forest, and name their answers' segments."""
    forest = make_batch([example.tree for example in examples])
    answers = [
        tuple(range(first + 1, first + 1 + len(example.labels)))
        for first, example in zip(forest.firsts.tolist(), examples, strict=True)
    ]
    return pair_batch(forest, examples, answers)


def pair_batch(forest: ForestBatch, examples: Sequence[Example], answers: Sequence[Sequence[int]]) -> PairBatch:
    """A forest with what is known of its answers.

    Args:
        answers: of each example the segments of its answers.
    """
    pairs: list[tuple[int, int, float]] = []  # the answers' segments, the margin
    labelled: list[tuple[int, bool, float, bool]] = []  # the answer's segment, label, weight, whether it is single
    for example, places in zip(examples, answers, strict=True):
        if isinstance(example, PairExample):
            pairs.append((places[0], places[1], example.margin))
        given = [(at, safe) for at, safe in zip(places, example.labels, strict=True) if safe is not None]
        labelled += [(at, safe, 1.0 / len(given), isinstance(example, AnswerExample)) for at, safe in given]
    return PairBatch(
        forest=forest,
        num_examples=len(examples),
        chosen=torch.tensor([chosen for chosen, _, _ in pairs], dtype=torch.int64),
        rejected=torch.tensor([rejected for _, rejected, _ in pairs], dtype=torch.int64),
        margin=torch.tensor([margin for _, _, margin in pairs], dtype=torch.float32),
        labelled=torch.tensor([at for at, _, _, _ in labelled], dtype=torch.int64),
        safe=torch.tensor([safe for _, safe, _, _ in labelled], dtype=torch.float32),
        weight=torch.tensor([weight for _, _, weight, _ in labelled], dtype=torch.float32),
        single=torch.tensor([single for _, _, _, single in labelled], dtype=torch.bool),
    )


def source_name(file: str) -> str:
    """A file's name without its folders, which differ from machine to machine; a world's part as it is."""
    return file if file.startswith("world:") else file.replace("\\", "/").rpartition("/")[2]
