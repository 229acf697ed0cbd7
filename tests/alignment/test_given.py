"""What a caller hands to a stage's function: any iterable of records, and a clear sentence for everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment import Session, SftSettings, evaluate_versions, sft
from alignment.errors import DataError, UsageError
from alignment.evaluate.settings import EvaluateSettings
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Preference, Source
from reward import RewardModel, RewardSettings, train_reward
from rl import RejectionSettings, RewardJudges, rejection_sample

SETTINGS = SftSettings(context_length=96, batch_size=2, max_steps=1)
SOURCE = Source(file="made", line=7)
CHATS = [Dialogue.of(f"who sells the bread in {year}?", "the baker sells the bread.") for year in range(1980, 1984)]
PAIR = Preference(
    prompt=Dialogue.of("who sells the bread?"),
    chosen="the baker",
    rejected="a king",
    source=Source(file="made", line=7),
)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (None, r"dialogues is None; a list or another iterable of Dialogue records are needed"),
        ("chats.jsonl", r"dialogues is a str \('chats\.jsonl'\); .*load_dialogues\(path\)\.train reads them"),
        ({"train": []}, r"dialogues is a dict"),
        ([{"role": "user"}], r"dialogues\[0\] is a dict \(.*\); Dialogue records are needed; Dialogue\.of\("),
        ([*CHATS, PAIR], r"dialogues\[4\] is a Preference"),
    ],
)
def test_what_is_no_record_is_named_with_its_argument_and_place(
    given: Any, sentence: str, policy: Policy, session: Session
) -> None:
    with pytest.raises(UsageError, match=sentence):
        sft(policy, given, SETTINGS, session)


def test_a_whole_data_set_in_place_of_its_records_is_told(policy: Policy, session: Session, tmp_path: Path) -> None:
    from alignment import load_dialogues

    (tmp_path / "chats.jsonl").write_text('{"instruction": "Say hello.", "output": "Hello."}\n')
    with pytest.raises(UsageError, match=r"its \.train is one: dialogues\.train"):
        sft(policy, load_dialogues(tmp_path / "chats.jsonl"), SETTINGS, session)  # type: ignore[arg-type]


def test_a_generator_is_as_good_as_a_list(policy: Policy, session: Session) -> None:
    assert sft(policy, (chat for chat in CHATS), SETTINGS, session).counts["dialogues"] == 4


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (Dialogue.of("who?"), r"dialogues\[1\] \(python:1\) ends with no answer"),
        (Dialogue.of("who?", "  "), r"dialogues\[1\] \(python:1\) has an empty answer"),
        (Dialogue.of("who?", "", "and then?", "the baker"), r"dialogues\[1\] \(python:1\) has an empty answer"),
    ],
)
def test_a_dialogue_that_teaches_nothing_is_refused(
    bad: Dialogue, sentence: str, policy: Policy, session: Session
) -> None:
    with pytest.raises(DataError, match=sentence):
        sft(policy, [CHATS[0], bad], SETTINGS, session)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rejected": "the baker"}, r"preferences\[0\] \(made:7\) has the same text as chosen and rejected"),
        ({"chosen": " "}, r"preferences\[0\] \(made:7\) has an empty answer"),
        ({"grade": "great"}, r"has the grade 'great'; right are negligibly, slightly, better, significantly, or None"),
    ],
)
def test_a_pair_that_teaches_nothing_is_refused(
    change: dict[str, Any], sentence: str, policy: Policy, session: Session
) -> None:
    with pytest.raises(DataError, match=sentence):
        train_reward(policy, [dataclasses.replace(PAIR, **change)], RewardSettings(), session)


@pytest.mark.parametrize(
    "call",
    [
        lambda policy, judges, session: rejection_sample(policy, CHATS, judges, RejectionSettings(), session),
        lambda policy, judges, session: evaluate_versions({}, CHATS, judges, EvaluateSettings(), session),
    ],
)
def test_a_demonstration_is_no_prompt(
    call: Callable[[Policy, RewardJudges, Session], object], policy: Policy, session: Session
) -> None:
    judges = RewardJudges(helpfulness=RewardModel.from_policy(policy, seed=0, name="helpfulness"))
    with pytest.raises(DataError, match=r"\[0\] \(python:1\) ends with an answer; \.prompt\(\) is without it"):
        call(policy, judges, session)


def test_a_session_makes_its_folder(tmp_path: Path) -> None:
    assert Session(str(tmp_path / "deep" / "folder")).folder.is_dir()


def test_a_session_whose_folder_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"folder .*file/below cannot be made: Not a directory"):
        Session(tmp_path / "file" / "below")


def test_a_dialogue_of_texts_alternates_and_its_id_follows_from_them() -> None:
    one, other = Dialogue.of("a", "b", "c", system="s"), Dialogue.of("a", "b", "d", system="s")
    assert [turn.role for turn in one.turns] == ["user", "assistant", "user"]
    assert one == Dialogue.of("a", "b", "c", system="s")
    assert one.id != other.id


def test_a_reward_model_scores_texts_as_it_scores_their_tokens(policy: Policy) -> None:
    model = RewardModel.from_policy(policy, seed=0, name="helpfulness")
    scores = model.score(CHATS[0].prompt().answered(text) for text in ("the baker", "a king"))
    assert len(set(scores)) == 2
    assert model.score([CHATS[0].prompt().answered("a king")]) == pytest.approx(scores[1:], rel=1e-5)


def test_a_fresh_policy_has_the_tokenizers_vocabulary_and_follows_its_seed(policy: Policy) -> None:
    made = [Policy.fresh("tiny", policy.tokenizer, seed=seed).model for seed in (0, 0, 1)]
    first, again, other = ([parameter.sum().item() for parameter in model.parameters()] for model in made)
    assert first == again != other
    assert made[0].config.vocab_size == policy.tokenizer.vocab_size


def test_a_tokenizer_is_saved_where_a_text_says_and_trained_on_dialogues(tmp_path: Path) -> None:
    from alignment import Tokenizer, TokenizerSettings, train_tokenizer

    made = train_tokenizer(CHATS * 20, TokenizerSettings(vocab_size=300))
    made.save(str(tmp_path / "new" / "tokenizer"))
    assert Tokenizer.load(tmp_path / "new" / "tokenizer").sha256 == made.sha256
