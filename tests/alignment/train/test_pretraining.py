"""Pretraining predicts every token of every document exactly once, and learns."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.batch.render import document_trees
from alignment.batch.tree import make_batch
from alignment.errors import DataError
from alignment.policy.policy import Policy
from alignment.records import Document, Source
from alignment.store.manifest import verify
from alignment.text.tokenizer import Tokenizer
from alignment.train.pretrain import pretrain
from alignment.train.session import Session
from alignment.train.settings import PretrainOptimizerSettings, PretrainSettings


def _documents(texts: list[str]) -> list[Document]:
    return [Document(text=text, source=Source(file="d.txt", line=i + 1)) for i, text in enumerate(texts)]


@pytest.fixture
def make_settings() -> Callable[..., PretrainSettings]:
    def make(**changes: Any) -> PretrainSettings:
        base: dict[str, Any] = {
            "context_length": 32,
            "batch_size": 2,
            "epochs": 4.0,
            "optimizer": PretrainOptimizerSettings(learning_rate=1e-2, warmup_steps=0),
        }
        return PretrainSettings(**{**base, **changes})

    return make


@given(words=st.lists(st.integers(0, 40), max_size=5), context=st.integers(8, 20))
def test_every_token_after_bos_is_a_target_exactly_once(tokenizer: Tokenizer, words: list[int], context: int) -> None:
    documents = _documents(["the baker " * n for n in words])
    trees = document_trees(documents, tokenizer, context)
    assert all(tree.num_tokens <= context for tree in trees)
    by_row: dict[str, list[int]] = {}
    for tree in trees:
        batch = make_batch([tree])
        by_row.setdefault(tree.rows[0], []).extend(batch.token_ids[batch.targets].tolist())
    whole = {str(d.source): [*tokenizer.encode(d.text), tokenizer.eos_id] for d in documents}
    assert by_row == whole


def test_a_later_piece_begins_with_the_last_token_of_the_one_before(tokenizer: Tokenizer) -> None:
    trees = document_trees(_documents(["the baker sells bread " * 9]), tokenizer, 16)
    assert len(trees) > 2
    for before, after in pairwise(trees):
        assert before.segments[0][-1] == after.segments[0][0]
    assert (trees[0].segments[0][0], trees[-1].segments[0][-1]) == (1, 2)


def test_more_documents_than_are_encoded_at_once_keep_their_order(tokenizer: Tokenizer) -> None:
    documents = _documents([f"shop {i}" for i in range(600)])
    trees = document_trees(documents, tokenizer, 32)
    assert [tree.rows[0] for tree in trees] == [f"d.txt:{i + 1}" for i in range(600)]
    assert np.array_equal(trees[599].segments[0], [1, *tokenizer.encode("shop 599"), 2])


def test_it_learns_and_saves(policy: Policy, session: Session, make_settings: Callable[..., PretrainSettings]) -> None:
    documents = _documents(["the baker sells bread and the miller sells flour"] * 12)
    result = pretrain(policy, documents, make_settings(epochs=10.0), session, documents[:2])
    assert result.held_out["loss"] < 3.0 < np.log(policy.tokenizer.vocab_size)
    assert result.held_out["perplexity"] == pytest.approx(np.exp(result.held_out["loss"]), rel=1e-5)
    tokens = 12 * (len(policy.tokenizer.encode(documents[0].text)) + 2)
    assert (result.counts, result.tokens) == ({"documents": 12}, 10 * tokens)
    verify(session.folder / "checkpoint", kind="policy", expect={"stage": "pretrain"})


def test_no_documents_are_refused(
    policy: Policy, session: Session, make_settings: Callable[..., PretrainSettings]
) -> None:
    with pytest.raises(DataError, match="pretraining has no tokens to train on"):
        pretrain(policy, [], make_settings(), session)
