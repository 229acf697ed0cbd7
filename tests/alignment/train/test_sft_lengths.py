"""What becomes of dialogues over the context, and what SFT leaves behind."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from alignment.batch.render import dialogue_trees
from alignment.errors import SettingError
from alignment.policy.policy import Policy, load_policy
from alignment.records import Dialogue, Turn
from alignment.store.manifest import verify
from alignment.text.chat import render_dialogue
from alignment.text.tokenizer import Tokenizer
from alignment.train.session import Session
from alignment.train.settings import SftSettings
from alignment.train.sft import sft


@pytest.fixture
def long(dialogues: list[Dialogue]) -> Dialogue:
    """Three exchanges, the second by far the longest."""
    turns = []
    for number, words in ((1, 3), (2, 40), (3, 3)):
        turns.append(Turn(role="user", content=f"who sells the bread {number}?"))
        turns.append(Turn(role="assistant", content="the baker " * words))
    return replace(dialogues[0], turns=tuple(turns), system=None)


def _length(dialogue: Dialogue, tokenizer: Tokenizer) -> int:
    return len(render_dialogue(dialogue, tokenizer).token_ids)


def test_within_the_context_nothing_is_changed(tokenizer: Tokenizer, long: Dialogue) -> None:
    rendered = render_dialogue(long, tokenizer)
    for policy in ("truncate", "drop", "split"):
        trees, counts = dialogue_trees([long], tokenizer, len(rendered.token_ids), policy)  # type: ignore[arg-type]
        assert [tree.segments[0].tolist() for tree in trees] == [rendered.token_ids]
        assert [tree.trained[0].tolist() for tree in trees] == [rendered.trained]
        assert trees[0].rows == (str(long.source),)
        assert sum(counts.values()) == 0


def test_one_token_over_is_truncated_at_the_end(tokenizer: Tokenizer, long: Dialogue) -> None:
    rendered = render_dialogue(long, tokenizer)
    context = len(rendered.token_ids) - 1
    trees, counts = dialogue_trees([long], tokenizer, context)
    assert trees[0].segments[0].tolist() == rendered.token_ids[:-1]
    assert trees[0].trained[0].tolist() == rendered.trained[:-1]
    assert counts["truncated"] == 1


def test_one_token_over_is_dropped(tokenizer: Tokenizer, long: Dialogue, dialogues: list[Dialogue]) -> None:
    context = _length(long, tokenizer) - 1
    trees, counts = dialogue_trees([dialogues[1], long], tokenizer, context, "drop")
    assert [tree.rows for tree in trees] == [(str(dialogues[1].source),)]
    assert counts["dropped"] == 1


def test_splitting_cuts_between_exchanges_and_loses_none_that_fits(tokenizer: Tokenizer, long: Dialogue) -> None:
    rendered = render_dialogue(long, tokenizer)
    first, second, third = rendered.turn_ends
    ids = rendered.token_ids
    # the first two fit together, the third starts anew
    trees, counts = dialogue_trees([long], tokenizer, second, "split")
    assert [tree.segments[0].tolist() for tree in trees] == [ids[:second], ids[second:third]]
    assert counts["split"] == 1
    # each alone; every piece begins with BOS and ends with EOS
    trees, _ = dialogue_trees([long], tokenizer, second - first, "split")
    assert [tree.segments[0].tolist() for tree in trees] == [ids[:first], ids[first:second], ids[second:]]
    assert all((tree.segments[0][0], tree.segments[0][-1]) == (1, 2) for tree in trees)
    # the second is too long by itself: it is cut at the context, the others stay whole
    trees, _ = dialogue_trees([long], tokenizer, second - first - 5, "split")
    assert [tree.segments[0].tolist() for tree in trees] == [ids[:first], ids[first : second - 5], ids[second:]]


def test_answers_beyond_the_cut_leave_nothing_to_train_on(tokenizer: Tokenizer, long: Dialogue) -> None:
    trees, counts = dialogue_trees([long], tokenizer, 8, "truncate")
    assert trees == []
    assert (counts["truncated"], counts["untrainable"]) == (1, 1)


def test_the_loss_on_the_last_answer_only(tokenizer: Tokenizer, long: Dialogue) -> None:
    trees, _ = dialogue_trees([long], tokenizer, 10_000, "truncate", "last")
    rendered = render_dialogue(long, tokenizer, train="last")
    assert trees[0].trained[0].tolist() == rendered.trained
    assert 0 < sum(rendered.trained) < sum(render_dialogue(long, tokenizer).trained)


def test_nothing_left_to_train_on_is_refused_before_the_first_step(
    policy: Policy, long: Dialogue, session: Session, make_sft_settings: Callable[..., SftSettings]
) -> None:
    with pytest.raises(
        SettingError, match=r"context_length: is 16, within which no dialogue has an answer .*\(dropped 1\); raise it"
    ):
        sft(policy, [long], make_sft_settings(context_length=16, too_long="drop"), session)
    assert list(session.folder.iterdir()) == []


def test_sft_saves_a_policy_that_loads_and_says_what_it_did(
    policy: Policy, dialogues: list[Dialogue], session: Session, make_sft_settings: Callable[..., SftSettings]
) -> None:
    result = sft(policy, dialogues, make_sft_settings(), session, dialogues[:3])
    assert set(result.held_out) == {"loss", "perplexity"}
    assert (result.counts["dialogues"], result.counts["truncated"], result.steps) == (12, 0, 6)
    assert result.packing_efficiency is not None
    assert 0.5 < result.packing_efficiency <= 1.0
    verify(session.folder / "checkpoint", kind="policy", expect={"stage": "sft", "fingerprint": "f"})
    again = load_policy(session.folder / "checkpoint")
    for (name, a), (_, b) in zip(again.model.named_parameters(), policy.model.named_parameters(), strict=True):
        assert a.equal(b), name
    assert sorted(path.name for path in session.folder.iterdir()) == ["checkpoint", "metrics.jsonl"]


def test_the_models_own_context_is_never_exceeded(
    policy: Policy, long: Dialogue, session: Session, make_sft_settings: Callable[..., SftSettings]
) -> None:
    policy.model.config.max_position_embeddings = 64
    with pytest.warns(UserWarning, match=r"context_length is 4,096; the model is built for 64 tokens"):
        result = sft(policy, [long], make_sft_settings(context_length=4096, max_steps=1, batch_size=1), session)
    assert result.counts["truncated"] == 1
    assert result.tokens == 64


def test_without_a_context_length_the_models_own_is_taken_and_nothing_is_warned_of(
    policy: Policy, long: Dialogue, session: Session, make_sft_settings: Callable[..., SftSettings]
) -> None:
    policy.model.config.max_position_embeddings = 64
    given = make_sft_settings(max_steps=1, batch_size=1)
    values = {name: getattr(given, name) for name in given.model_fields_set - {"context_length"}}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        result = sft(policy, [long], SftSettings(**values), session)
    assert result.tokens == 64


def test_a_display_is_told_instead_of_python(
    policy: Policy, long: Dialogue, session: Session, make_sft_settings: Callable[..., SftSettings]
) -> None:
    policy.model.config.max_position_embeddings = 64
    told: list[str] = []

    class Shown:
        """A display that remembers the notes."""

        def begin(self, total_steps: int | None, unit: str) -> None: ...

        def step(self, done: int, metrics: Mapping[str, float]) -> None: ...

        def note(self, text: str) -> None:
            told.append(text)

        def end(self) -> None: ...

    shown = replace(session, progress=Shown())
    sft(policy, [long], make_sft_settings(context_length=4096, max_steps=1, batch_size=1), shown)
    assert len([text for text in told if "context_length is 4,096" in text]) == 1
