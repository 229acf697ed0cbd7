"""What RLHF is compared with: the SFT model trained on as long as rejection sampling's versions, without any reward.

More training may help by itself.  A control takes as many optimizer steps as all versions' fine-tuning together, with
as many dialogues and the very documents that they replayed; its dialogues are demonstrations, nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alignment.batch.render import dialogue_trees
from alignment.data.mixing import draw
from alignment.errors import DataError
from alignment.given import answered_dialogues
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Document
from alignment.train.language_model import longest_sequence, train_language_model
from alignment.train.replay import as_replayed, given_replay
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from rl.rejection import replay_names
from rl.settings import RejectionSettings


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one version's fine-tuning took.

    Attributes:
        version: its number, from 1; names the draws.
        steps: optimizer steps.
        dialogues: kept answers and demonstrations.
        documents: that it replayed.
    """

    version: int
    steps: int
    dialogues: int
    documents: int = 0


def train_control(
    policy: Policy,
    demonstrations: Iterable[Dialogue],
    rounds: Sequence[Round],
    settings: RejectionSettings,
    session: Session,
    documents: Iterable[Document] = (),
) -> TrainingResult:
    """Train a policy in place as long as all rounds together, and save it to `checkpoint/` in the session's folder.

    The learning rate runs once through the schedule of `settings`, over all steps.

    Args:
        demonstrations: each ends with an answer; every round draws from all of them anew.
        rounds: of every version.
        settings: of the versions' fine-tuning: optimizer, context, pack and batch.
        documents: all that the versions drew from; the same ones are drawn.

    Returns:
        Steps, tokens, packing efficiency, dialogues and documents.

    Raises:
        UsageError: what is given holds no dialogues, or no documents.
        DataError: a demonstration has no answer, there is none, or no document where the versions replayed some.
    """
    dialogues = answered_dialogues(demonstrations, "demonstrations")
    if not dialogues or not rounds:
        raise DataError(f"a control needs demonstrations and a version; it has {len(dialogues)} and {len(rounds)}")
    texts = given_replay(documents) if any(each.documents for each in rounds) else []
    drawn: list[Dialogue] = []
    replayed: list[Document] = []
    for each in rounds:
        drawn += draw(dialogues, each.dialogues, seed=session.seed, names=("control", each.version))
        replayed += draw(texts, each.documents, seed=session.seed, names=replay_names(each.version))
    context = longest_sequence(policy, settings)
    trees, counts = dialogue_trees(drawn, policy.tokenizer, context)
    mixed = as_replayed(replayed, policy.tokenizer, context)
    steps = sum(each.steps for each in rounds)
    # an epoch is one forest at the least, so that so many epochs hold every step
    length = settings.model_copy(update={"epochs": float(steps * settings.batch_size), "max_steps": steps})
    result = train_language_model(policy, [*trees, *mixed.trees], (), length, session, "control-steps")
    return replace(result, counts={**counts, "dialogues": len(drawn), **mixed.counts})
