"""Supervised fine-tuning (Llama 2 paper, 3.1): dialogues packed to the context, loss on answers only.

Cosine schedule, lr 2e-5, weight decay 0.1, batch 64, 4,096 tokens, 2 epochs.  Whether attention
crosses packed dialogues the paper does not say: here it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from alignment.batch.render import TooLong, TrainOn, dialogue_trees
from alignment.batch.tree import Tree
from alignment.errors import SettingError
from alignment.given import answered_dialogues
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Document
from alignment.text.tokenizer import Tokenizer
from alignment.train.language_model import longest_sequence, train_language_model
from alignment.train.replay import Replayed, replayed_by_share
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from alignment.train.settings import PackedSettings, SftSettings


def sft(
    policy: Policy,
    dialogues: Iterable[Dialogue],
    settings: SftSettings,
    session: Session,
    held_out: Iterable[Dialogue] = (),
    documents: Iterable[Document] = (),
) -> TrainingResult:
    """Fine-tune a policy in place on demonstrations and save it to `checkpoint/` in the session's folder.

    Args:
        dialogues: each ends with an answer.
        documents: to draw from where `settings.replay` asks for some.

    Returns:
        Held-out loss and perplexity, steps, tokens, packing efficiency, what the length policy did, and how many
        documents were replayed.

    Raises:
        UsageError: what is given holds no dialogues, or no documents.
        DataError: an answer is missing or empty, no dialogue is left to train on, or no document to replay.
    """
    train, test = answered_dialogues(dialogues, "dialogues"), answered_dialogues(held_out, "held_out")
    replayed = sft_replay(
        policy.tokenizer, train, documents, settings, longest_sequence(policy, settings), session.seed
    )
    return fine_tune(policy, train, settings, session, test, name="sft", too_long=settings.too_long, replayed=replayed)


def sft_replay(
    tokenizer: Tokenizer,
    dialogues: Sequence[Dialogue],
    documents: Iterable[Document],
    settings: SftSettings,
    context_length: int,
    seed: int,
) -> Replayed:
    """What SFT mixes in."""
    names = ("sft-replay",)
    return replayed_by_share(documents, settings.replay, dialogues, tokenizer, context_length, seed=seed, names=names)


def fine_tune(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    settings: PackedSettings,
    session: Session,
    held_out: Sequence[Dialogue] = (),
    *,
    name: str,
    too_long: TooLong = "truncate",
    train_on: TrainOn | Callable[[Dialogue], TrainOn] = "all",
    replayed: Replayed | None = None,
) -> TrainingResult:
    """SFT for any stage (RLHF versions, GAtt): as `sft`, with the stage's own name, length policy and trained answers.

    Args:
        replayed: documents that are mixed in.

    Raises:
        SettingError: no dialogue has an answer within the context.
    """
    context = longest_sequence(policy, settings)
    trees, lengths = dialogue_trees(dialogues, policy.tokenizer, context, too_long, train_on)
    require_answers(trees, lengths, context)
    test, _ = dialogue_trees(held_out, policy.tokenizer, context, "drop", train_on)
    mixed = replayed or Replayed()
    result = train_language_model(policy, [*trees, *mixed.trees], test, settings, session, name)
    return replace(result, counts={**lengths, "dialogues": len(dialogues), **mixed.counts})


def require_answers(trees: Sequence[Tree], counts: Mapping[str, int], context_length: int) -> None:
    """Refuse demonstrations of which a context leaves no answer to learn.

    Args:
        trees, counts: as `dialogue_trees` gives them.

    Raises:
        SettingError: there is no tree.
    """
    if not trees:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count) or "there is no dialogue"
        raise SettingError(
            "context_length",
            f"is {context_length:,}, within which no dialogue has an answer to train on ({told}); raise it, or take "
            f"shorter ones",
        )
