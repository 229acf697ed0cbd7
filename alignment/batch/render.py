"""Records as trees: documents, dialogues, and prompts with their answers.

A document and a dialogue are one segment each; a prompt is a root, its answers are its children.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from alignment.batch.tree import Tree
from alignment.records import Dialogue, Document
from alignment.text.chat import Rendered, render_dialogue
from alignment.text.tokenizer import Tokenizer

TooLong = Literal["truncate", "drop", "split"]
TrainOn = Literal["all", "last"]

_ENCODED_AT_ONCE = 256  # documents


def document_trees(documents: Sequence[Document], tokenizer: Tokenizer, context_length: int) -> list[Tree]:
    """Each document as BOS … EOS, split into pieces of at most the context; every token carries loss.

    A later piece starts with the last token of the one before it, so that no token goes unpredicted.
    """
    trees = []
    for start in range(0, len(documents), _ENCODED_AT_ONCE):
        chunk = documents[start : start + _ENCODED_AT_ONCE]
        for document, ids in zip(chunk, tokenizer.encode_all([d.text for d in chunk]), strict=True):
            whole = np.asarray([tokenizer.bos_id, *ids, tokenizer.eos_id], dtype=np.int32)
            for at in range(0, max(len(whole) - 1, 1), context_length - 1):
                piece = whole[at : at + context_length]
                trees.append(Tree.sequence(piece, np.ones(len(piece), dtype=bool), row=str(document.source)))
    return trees


def dialogue_trees(
    dialogues: Sequence[Dialogue],
    tokenizer: Tokenizer,
    context_length: int,
    too_long: TooLong = "truncate",
    train_on: TrainOn | Callable[[Dialogue], TrainOn] = "all",
) -> tuple[list[Tree], Counter[str]]:
    """Render dialogues; returns the trees and counts of `truncated`, `dropped`, `split` and `untrainable` ones.

    Args:
        context_length: tokens that a tree may have.
        too_long: what becomes of a dialogue over the context.
        train_on: which answers carry loss; one rule for all, or what says it of each dialogue.
    """
    trees: list[Tree] = []
    counts: Counter[str] = Counter(truncated=0, dropped=0, split=0, untrainable=0)
    for dialogue in dialogues:
        trained_answers = train_on(dialogue) if callable(train_on) else train_on
        rendered = render_dialogue(dialogue, tokenizer, train=trained_answers)
        pieces = [(rendered.token_ids, rendered.trained)]
        if len(rendered.token_ids) > context_length:
            if too_long == "drop":
                counts["dropped"] += 1
                continue
            if too_long == "split":
                counts["split"] += 1
                pieces = _split(rendered, context_length)
            else:
                counts["truncated"] += 1
                pieces = [(rendered.token_ids[:context_length], rendered.trained[:context_length])]
        for ids, trained in pieces:
            if not any(trained):
                counts["untrainable"] += 1  # its answers lie beyond the cut
                continue
            trees.append(Tree.sequence(ids, trained, row=str(dialogue.source)))
    return trees, counts


def answer_tree(
    prompt: Sequence[int],
    answers: Sequence[Sequence[int]],
    *,
    row: str = "",
    trained: bool = False,
) -> Tree:
    """A prompt with its answers as children: prompt -> {answer 1 … answer K}.

    Args:
        prompt: token ids.
        answers: token ids of each (with EOS, as sampled).
        trained: whether every token of an answer is a target; nothing carries loss where only scores are wanted.
    """
    segments = [np.asarray(prompt, dtype=np.int32), *(np.asarray(answer, dtype=np.int32) for answer in answers)]
    return Tree(
        segments=tuple(segments),
        trained=tuple(np.full(len(segment), trained and i > 0) for i, segment in enumerate(segments)),
        parents=(-1, *[0] * len(answers)),
        rows=(row,) if row else (),
    )


def _split(rendered: Rendered, context_length: int) -> list[tuple[list[int], list[bool]]]:
    """Cut between exchanges; a single exchange that is too long is cut at the context."""
    pieces = []
    start = end = 0
    for stop in rendered.turn_ends:
        if stop - start > context_length and end > start:
            pieces.append((start, end))
            start = end
        end = stop
    pieces.append((start, end))
    return [
        (rendered.token_ids[a : min(b, a + context_length)], rendered.trained[a : min(b, a + context_length)])
        for a, b in pieces
    ]
