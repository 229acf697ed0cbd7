"""Documents replayed in a later training: how many, which, every token a target, and counted in the result."""

from __future__ import annotations

import pytest

from alignment.batch.tree import Tree
from alignment.errors import SettingError
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Document, Source
from alignment.text.tokenizer import Tokenizer
from alignment.train.replay import Replayed, replayed_by_share
from alignment.train.session import Session
from alignment.train.settings import ReplaySettings, SftSettings
from alignment.train.sft import sft

SFT = SftSettings(context_length=64, pack_length=128, batch_size=1, max_steps=2)
DOCUMENTS = [
    Document(text=f"in {1900 + i} the miller sells flour to the baker", source=Source(file="town", line=i + 1))
    for i in range(40)
]


def replayed(tokenizer: Tokenizer, share: float, own: int, *names: str | int, seed: int = 0) -> Replayed:
    settings = ReplaySettings(share=share)
    return replayed_by_share(DOCUMENTS, settings, range(own), tokenizer, 64, seed=seed, names=names or ("sft-replay",))


def rows(trees: tuple[Tree, ...]) -> list[str]:
    return [row for tree in trees for row in tree.rows]


def test_the_share_says_how_many_documents_go_with_a_record(tokenizer: Tokenizer) -> None:
    for share, own, count in ((0.5, 12, 6), (1.0, 12, 12), (2.0, 12, 24), (9.0, 12, len(DOCUMENTS))):
        found = replayed(tokenizer, share, own)
        assert found.documents == len(set(rows(found.trees))) == count


def test_a_document_is_a_root_of_its_own_and_every_token_is_a_target(tokenizer: Tokenizer) -> None:
    for tree in replayed(tokenizer, 0.5, 12).trees:
        assert (tree.parents, len(tree.segments)) == ((-1,), 1)
        assert tree.trained[0].all()
        assert (tree.segments[0][0], tree.segments[0][-1]) == (tokenizer.bos_id, tokenizer.eos_id)


def test_the_draw_goes_by_seed_and_name_alone(tokenizer: Tokenizer) -> None:
    drawn = rows(replayed(tokenizer, 0.5, 12, "rejection-replay", 1).trees)
    assert drawn == rows(replayed(tokenizer, 0.5, 12, "rejection-replay", 1).trees)
    assert drawn != rows(replayed(tokenizer, 0.5, 12, "rejection-replay", 2).trees)
    assert drawn != rows(replayed(tokenizer, 0.5, 12, "rejection-replay", 1, seed=1).trees)


def test_sft_counts_what_it_replays(policy: Policy, dialogues: list[Dialogue], session: Session) -> None:
    settings = SFT.model_copy(update={"replay": ReplaySettings(share=0.5)})
    result = sft(policy, dialogues, settings, session, documents=DOCUMENTS)
    assert (result.counts["dialogues"], result.counts["replayed_documents"]) == (12, 6)
    assert result.as_json()["replayed_tokens"] > 6 * 10


def test_sft_trains_on_the_documents_too(
    policy: Policy, dialogues: list[Dialogue], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Tree] = []

    def watch(policy: Policy, trees: list[Tree], *rest: object) -> None:
        trained.extend(trees)
        raise InterruptedError

    monkeypatch.setattr("alignment.train.sft.train_language_model", watch)
    settings = SFT.model_copy(update={"replay": ReplaySettings(share=0.5)})
    with pytest.raises(InterruptedError):
        sft(policy, dialogues, settings, session, documents=DOCUMENTS)
    from_town = [tree for tree in trained if tree.rows[0].startswith("town")]
    assert (len(trained), len(from_town)) == (18, 6)


def test_without_the_setting_documents_are_not_touched(
    policy: Policy, dialogues: list[Dialogue], session: Session
) -> None:
    result = sft(policy, dialogues, SFT, session, documents=DOCUMENTS)
    assert "replayed_documents" not in result.as_json()


def test_a_share_that_is_no_document_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(SettingError, match=r"replay.share: is 0.01, which of 12 records is no document; raise it"):
        replayed(tokenizer, 0.01, 12)


def test_no_document_to_replay_is_refused(policy: Policy, dialogues: list[Dialogue], session: Session) -> None:
    settings = SFT.model_copy(update={"replay": ReplaySettings(share=0.5)})
    with pytest.raises(SettingError, match=r"replay: asks for documents, and none was given"):
        sft(policy, dialogues, settings, session)
