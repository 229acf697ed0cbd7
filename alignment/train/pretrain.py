"""Pretraining (Llama 2 paper, 2): next-token prediction on documents, packed without attention across them.

AdamW 0.9/0.95, eps 1e-5, weight decay 0.1, clip 1.0, linear warm-up, cosine to a tenth of the peak.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignment.batch.steps import PackedEpochs, pack
from alignment.batch.tree import Tree, make_batch
from alignment.errors import DataError
from alignment.policy.policy import Policy, save_policy
from alignment.records import Document
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import is_main_process
from alignment.train.language_loss import held_out_loss, language_loss, num_targets
from alignment.train.session import Session
from alignment.train.settings import PretrainSettings
from alignment.train.trainer import Training, finish, train


def pretrain(
    policy: Policy,
    documents: Sequence[Document],
    settings: PretrainSettings,
    session: Session,
    held_out: Sequence[Document] = (),
) -> dict[str, float]:
    """Pretrain a policy in place and save it to `checkpoint/` in the session's folder.

    Returns:
        Held-out loss and perplexity (where there are held-out documents), steps, tokens, packing efficiency.

    Raises:
        DataError: no document is left to train on.
    """
    trees = document_trees(documents, policy.tokenizer, settings.context_length)
    if not trees:
        raise DataError("pretraining has no tokens to train on; are the sources empty?")
    capacity = settings.pack_length or settings.context_length
    epochs = PackedEpochs(
        trees,
        capacity=capacity,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        seed=session.seed,
        name="pretrain",
    )
    test_trees = document_trees(held_out, policy.tokenizer, settings.context_length)
    test = [make_batch([test_trees[i] for i in bin_]) for bin_ in pack(test_trees, capacity)]
    training = Training(
        model=policy.model,
        num_steps=min(epochs.num_steps, settings.max_steps or epochs.num_steps),
        batches=epochs,
        loss=language_loss,
        normaliser=num_targets,
        evaluate=(lambda model, compute: held_out_loss(model, test, compute)) if test else None,
    )
    result = train(training, settings, session)
    if is_main_process():
        meta = {"stage": "pretrain", "fingerprint": session.fingerprint}
        save_policy(policy, session.folder / "checkpoint", meta=meta)
    finish(session)
    return {**result, "documents": len(documents), "packing_efficiency": epochs.efficiency}


def document_trees(documents: Sequence[Document], tokenizer: Tokenizer, context_length: int) -> list[Tree]:
    """Each document as BOS … EOS, split into pieces of at most the context; every token carries loss.

    A later piece starts with the last token of the one before it, so that no token goes unpredicted.
    """
    trees = []
    for start in range(0, len(documents), 256):
        chunk = documents[start : start + 256]
        for document, ids in zip(chunk, tokenizer.encode_all([d.text for d in chunk]), strict=True):
            whole = np.asarray([tokenizer.bos_id, *ids, tokenizer.eos_id], dtype=np.int32)
            for at in range(0, max(len(whole) - 1, 1), context_length - 1):
                piece = whole[at : at + context_length]
                trees.append(
                    Tree(
                        segments=(piece,),
                        trained=(np.ones(len(piece), dtype=bool),),
                        parents=(-1,),
                        rows=(str(document.source),),
                    )
                )
    return trees
