"""Supervised fine-tuning (Llama 2 paper, 3.1): dialogues packed to the context, loss on answers only.

Cosine schedule, lr 2e-5, weight decay 0.1, batch 64, 4,096 tokens, 2 epochs.  Whether attention
crosses packed dialogues the paper does not say: here it does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from alignment.batch.steps import PackedEpochs, pack
from alignment.batch.tree import Tree, make_batch
from alignment.errors import DataError
from alignment.policy.policy import Policy, save_policy
from alignment.records import Dialogue
from alignment.text.chat import Rendered, render_dialogue
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import is_main_process
from alignment.train.language_loss import held_out_loss, language_loss, num_targets
from alignment.train.session import Session
from alignment.train.settings import LoopSettings, SftSettings
from alignment.train.trainer import Training, finish, train

TooLong = Literal["truncate", "drop", "split"]


def sft(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    settings: SftSettings,
    session: Session,
    held_out: Sequence[Dialogue] = (),
) -> dict[str, float]:
    """Fine-tune a policy in place on demonstrations and save it to `checkpoint/` in the session's folder.

    Returns:
        Held-out loss and perplexity, steps, tokens, packing efficiency, and what the length policy did.

    Raises:
        DataError: no dialogue is left to train on.
    """
    return fine_tune(
        policy,
        dialogues,
        settings,
        session,
        held_out=held_out,
        name="sft",
        context_length=settings.context_length,
        pack_length=settings.pack_length,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        max_steps=settings.max_steps,
        too_long=settings.too_long,
    )


def fine_tune(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    settings: LoopSettings,
    session: Session,
    *,
    name: str,
    context_length: int,
    pack_length: int,
    batch_size: int,
    epochs: float,
    max_steps: int | None,
    too_long: TooLong = "truncate",
    train_on: Literal["all", "last"] = "all",
    held_out: Sequence[Dialogue] = (),
) -> dict[str, float]:
    """SFT's loop for every stage that fine-tunes on dialogues (rejection sampling and GAtt too).

    Args:
        name: names the stage's random order and its checkpoint.
        train_on: loss on every answer, or on the last one only (GAtt).
    """
    context = min(context_length, int(policy.model.config.max_position_embeddings))
    trees, lengths = dialogue_trees(dialogues, policy.tokenizer, context, too_long, train_on)
    if not trees:
        raise DataError(f"{name} has no answers to train on: {dict(lengths)}; are the sources empty or all too long?")
    capacity = pack_length or context
    packed = PackedEpochs(trees, capacity=capacity, batch_size=batch_size, epochs=epochs, seed=session.seed, name=name)
    test_trees, _ = dialogue_trees(held_out, policy.tokenizer, context, "drop", train_on)
    test = [make_batch([test_trees[i] for i in bin_]) for bin_ in pack(test_trees, capacity)]
    training = Training(
        model=policy.model,
        num_steps=min(packed.num_steps, max_steps or packed.num_steps),
        batches=packed,
        loss=language_loss,
        normaliser=num_targets,
        evaluate=(lambda model, compute: held_out_loss(model, test, compute)) if test else None,
    )
    result = train(training, settings, session)
    if is_main_process():
        meta = {"stage": name, "fingerprint": session.fingerprint}
        save_policy(policy, session.folder / "checkpoint", meta=meta)
    finish(session)
    return {**result, **lengths, "dialogues": len(dialogues), "packing_efficiency": packed.efficiency}


def dialogue_trees(
    dialogues: Sequence[Dialogue],
    tokenizer: Tokenizer,
    context_length: int,
    too_long: TooLong = "truncate",
    train_on: Literal["all", "last"] = "all",
) -> tuple[list[Tree], Counter[str]]:
    """Render dialogues; returns the trees and counts of `truncated`, `dropped`, `split` and `untrainable` ones."""
    trees: list[Tree] = []
    counts: Counter[str] = Counter(truncated=0, dropped=0, split=0, untrainable=0)
    for dialogue in dialogues:
        rendered = render_dialogue(dialogue, tokenizer, train=train_on)
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
            trees.append(
                Tree(
                    segments=(np.asarray(ids, dtype=np.int32),),
                    trained=(np.asarray(trained, dtype=bool),),
                    parents=(-1,),
                    rows=(str(dialogue.source),),
                )
            )
    return trees, counts


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
