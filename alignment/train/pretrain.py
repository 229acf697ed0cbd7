"""Pretraining (Llama 2 paper, 2): next-token prediction on documents, packed without attention across them.

AdamW 0.9/0.95, eps 1e-5, weight decay 0.1, clip 1.0, linear warm-up, cosine to a tenth of the peak.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from alignment.batch.render import document_trees
from alignment.errors import DataError
from alignment.given import given_records
from alignment.policy.policy import Policy
from alignment.records import Document
from alignment.train.language_model import longest_sequence, train_language_model
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from alignment.train.settings import PretrainSettings


def pretrain(
    policy: Policy,
    documents: Iterable[Document],
    settings: PretrainSettings,
    session: Session,
    held_out: Iterable[Document] = (),
) -> TrainingResult:
    """Pretrain a policy in place and save it to `checkpoint/` in the session's folder.

    Returns:
        Held-out loss and perplexity (where there are held-out documents), steps, tokens, packing efficiency.

    Raises:
        UsageError: what is given holds no documents.
        DataError: no document is left to train on.
    """
    texts, unseen = given_records(documents, "documents", Document), given_records(held_out, "held_out", Document)
    context = longest_sequence(policy, settings)
    trees, test = (document_trees(part, policy.tokenizer, context) for part in (texts, unseen))
    if not trees:
        raise DataError("pretraining has no tokens to train on; are the sources empty?")
    result = train_language_model(policy, trees, test, settings, session, "pretrain")
    return replace(result, counts={"documents": len(texts)})
