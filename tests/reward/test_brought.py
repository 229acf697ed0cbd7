"""Rewards that are brought: a checkpoint of ours, of transformers, of another architecture, or a Python function."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, MistralConfig, MistralForSequenceClassification

from alignment.errors import CheckpointError, DataError, TokenizerError, UsageError
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Source, Turn
from alignment.text.chat import answer_ids, render_prompt
from alignment.text.tokenizer import MODEL_FILE, Tokenizer
from alignment.text.twin import to_transformers
from alignment.train.compute import Compute
from reward.brought import open_brought, open_reward_model
from reward.foreign import ForeignReward
from reward.function import FunctionReward, load_function, module_file
from reward.model import RewardModel
from reward.settings import BroughtReward
from tests.tolerances import FP32_SAME_CODE

CPU = Compute(device=torch.device("cpu"), autocast_dtype=None)
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "num_labels": 1,
}


def said(answer: str) -> Dialogue:
    turns = (Turn(role="user", content="who sells the bread?"), Turn(role="assistant", content=answer))
    return Dialogue(turns=turns, source=Source(file="made", line=1), id=answer)


@pytest.fixture
def mistral(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A reward model of another architecture, saved as transformers does, with the run's tokenizer."""
    torch.manual_seed(0)
    model = MistralForSequenceClassification(MistralConfig(vocab_size=tokenizer.vocab_size, **SHAPE))
    model.save_pretrained(tmp_path / "mistral")
    tokenizer.save(tmp_path / "mistral")
    return tmp_path / "mistral"


@pytest.fixture
def llama(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A Llama reward model that transformers saved, with nothing but a tokenizer.json."""
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(LlamaConfig(vocab_size=tokenizer.vocab_size, pad_token_id=0, **SHAPE))
    model.save_pretrained(tmp_path / "llama")
    to_transformers(tokenizer).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def its_own_scores(model: Any, tokenizer: Tokenizer, answers: list[str]) -> list[float]:
    """transformers' logits, one sequence at a time."""
    prompt = render_prompt(said("").prompt(), tokenizer)
    model.config.pad_token_id = 0
    ids = [torch.tensor([[*prompt, *answer_ids(answer, tokenizer)]]) for answer in answers]
    with torch.no_grad():
        return [float(model.eval()(input_ids=row).logits[0, 0]) for row in ids]


def scores_of(scorer: RewardModel | ForeignReward, tokenizer: Tokenizer, answers: list[str]) -> list[float]:
    prompt = render_prompt(said("").prompt(), tokenizer)
    (found,) = scorer.score_ids([prompt], [[answer_ids(answer, tokenizer) for answer in answers]], CPU)
    return found


ANSWERS = ["the baker", "the old mill of the town", "the miller", "the people"]


def test_another_architecture_scores_as_transformers_does_whatever_stands_beside_it(
    mistral: Path, tokenizer: Tokenizer
) -> None:
    scorer = open_reward_model(mistral, tokenizer)
    assert isinstance(scorer, ForeignReward)
    own = its_own_scores(MistralForSequenceClassification.from_pretrained(mistral), tokenizer, ANSWERS)
    found = scores_of(scorer, tokenizer, ANSWERS)
    assert found == pytest.approx(own, rel=FP32_SAME_CODE, abs=FP32_SAME_CODE)
    assert len(set(found)) == len(ANSWERS)


def test_a_llama_of_transformers_with_a_tokenizer_json_alone_is_a_reward_model_of_ours(
    llama: Path, tokenizer: Tokenizer
) -> None:
    scorer = open_reward_model(llama, tokenizer)
    assert isinstance(scorer, RewardModel)
    own = its_own_scores(LlamaForSequenceClassification.from_pretrained(llama), tokenizer, ANSWERS)
    assert scores_of(scorer, tokenizer, ANSWERS) == pytest.approx(own, rel=1e-5, abs=1e-6)


def test_a_folder_of_ours_is_opened(tmp_path: Path, policy: Policy) -> None:
    made = RewardModel.from_policy(policy, seed=0, name="mine")
    made.save(tmp_path / "mine", meta={})
    scorer = open_brought(BroughtReward(path=str(tmp_path / "mine")), policy.tokenizer)
    assert isinstance(scorer, RewardModel)
    assert scorer.score([said("the baker")]) == made.score([said("the baker")])


def with_two_labels(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
    (folder / "config.json").write_text(json.dumps(config))


def with_two_pieces_exchanged(folder: Path) -> None:
    (folder / MODEL_FILE).unlink(missing_ok=True)
    tree = json.loads((folder / "tokenizer.json").read_text())
    vocab = tree["model"]["vocab"]
    one, other = list(vocab)[300], list(vocab)[301]
    vocab[one], vocab[other] = vocab[other], vocab[one]
    (folder / "tokenizer.json").write_text(json.dumps(tree))


def with_another_normaliser(folder: Path) -> None:
    (folder / MODEL_FILE).unlink(missing_ok=True)
    tree = json.loads((folder / "tokenizer.json").read_text())
    tree["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, tree["normalizer"]]}
    (folder / "tokenizer.json").write_text(json.dumps(tree))


def without_tokenizer(folder: Path) -> None:
    (folder / MODEL_FILE).unlink(missing_ok=True)
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "sentence"),
    [
        (with_two_labels, CheckpointError, "has 2 labels in its config.json; a reward model has one"),
        (with_two_pieces_exchanged, TokenizerError, "reads token 300 as"),
        (with_another_normaliser, TokenizerError, "has the run's pieces, but its tokenizer makes"),
        (without_tokenizer, TokenizerError, "holds neither tokenizer.model nor tokenizer.json"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_differs(
    mistral: Path, tokenizer: Tokenizer, spoil: Callable[[Path], None], error: type[Exception], sentence: str
) -> None:
    spoil(mistral)
    with pytest.raises(error, match=sentence):
        open_reward_model(mistral, tokenizer)


def test_a_language_model_without_a_head_is_no_reward_model(tmp_path: Path, tokenizer: Tokenizer) -> None:
    from transformers import MistralForCausalLM

    config = MistralConfig(vocab_size=tokenizer.vocab_size, **SHAPE)
    MistralForCausalLM(config).save_pretrained(tmp_path / "lm")
    tokenizer.save(tmp_path / "lm")
    with pytest.raises(CheckpointError, match=r"lacks the tensor score\.weight"):
        open_reward_model(tmp_path / "lm", tokenizer)


def test_a_function_is_given_dialogues_with_their_answers() -> None:
    by_length = FunctionReward(lambda dialogues: [len(dialogue.turns[-1].content) for dialogue in dialogues])
    assert by_length.score([said("ab"), said("abcd")]) == [2.0, 4.0]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda dialogues: [1.0], "returned 1 scores for 2 dialogues"),
        (lambda dialogues: ["good", 1.0], "returned 'good' as score 0; a number is needed"),
        (lambda dialogues: 1 / 0, "failed with ZeroDivisionError"),
    ],
)
def test_what_a_function_does_wrong_is_told_by_its_name(function: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=f"the function mine {sentence}"):
        FunctionReward(function, name="mine").score([said("a"), said("b")])


def test_a_function_is_found_in_the_current_folder_and_leaves_pythons_path_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.chdir(tmp_path)
    module = tmp_path / "my_scores_here.py"
    module.write_text("def short(dialogues):\n    return [-len(d.turns[-1].content) for d in dialogues]\n")
    before = list(sys.path)
    assert module_file("my_scores_here:short") == module
    assert load_function("my_scores_here:short").score([said("abc")]) == [-3.0]
    assert sys.path == before


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("no_such_module_at_all:f", r"cannot be imported \(ModuleNotFoundError"),
        ("json:no_such_function", "module json has no function 'no_such_function'"),
    ],
)
def test_a_function_that_is_not_there_is_told(named: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load_function(named)
