"""R12: parts that do not belong together are refused before the first step, naming both digests.

Two SentencePiece models of one size stand for the worst case: every id exists in both and means another text.
An adapter on another base is `tests/alignment/train/test_adapter_training.py`'s.  The suite does not pad, so a
checkpoint whose padding token is its end token still learns to end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentencepiece import sentencepiece_model_pb2

from alignment.batch.render import dialogue_trees
from alignment.batch.tree import make_batch
from alignment.errors import AlignmentError, CheckpointError, TokenizerError
from alignment.model.checkpoint import new_model
from alignment.model.settings import ModelSettings
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.records import Answer, Dialogue, Source, Turn
from alignment.text.settings import TokenizerSettings
from alignment.text.tokenizer import MODEL_FILE, Tokenizer, train_tokenizer
from alignment.train.language_model import language_loss
from alignment.train.session import Session
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.stages.context import StageContext
from reward.model import RewardModel
from rl.judges import RewardJudges
from rl.ppo import PromptSplit, train_ppo
from rl.rejection import rejection_sample
from rl.settings import CandidateSettings, PpoSettings, RejectionSettings, RolloutSettings

SENTENCES = ("the baker sells bread", "a person asks who sells the flour", "the town of 1987 had 16 shops", "äöü Ω")


@pytest.fixture(scope="module")
def swapped(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with two of its pieces exchanged: the same size, other texts."""
    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(tokenizer.model_bytes)
    one, other = tokenizer.encode("the baker")[:2]
    proto.pieces[one].piece, proto.pieces[other].piece = proto.pieces[other].piece, proto.pieces[one].piece
    made = Tokenizer(proto.SerializeToString())
    assert made.vocab_size == tokenizer.vocab_size
    assert made.encode("the baker") != tokenizer.encode("the baker")
    return made


@pytest.fixture(scope="module")
def larger() -> Tokenizer:
    """A tokenizer of another size."""
    return train_tokenizer(SENTENCES * 4, TokenizerSettings(vocab_size=310, character_coverage=0.99))


def _policy(tokenizer: Tokenizer) -> Policy:
    model = new_model(ModelSettings(size="tiny", context_length=64), tokenizer.vocab_size, seed=0)
    return Policy(model=model, tokenizer=tokenizer)


def _other_special_ids(tokenizer: Tokenizer) -> bytes:
    """The model file with </s> at 3, as other families have it."""
    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(tokenizer.model_bytes)
    proto.pieces[2].piece, proto.pieces[3].piece = proto.pieces[3].piece, proto.pieces[2].piece
    proto.pieces[2].type, proto.pieces[3].type = proto.pieces[3].type, proto.pieces[2].type
    proto.trainer_spec.eos_id = 3
    return bytes(proto.SerializeToString())


def digests(*tokenizers: Tokenizer) -> Callable[[BaseException], bool]:
    """Whether a message names the digests of all of these."""
    return lambda error: all(tokenizer.sha256[:12] in str(error) for tokenizer in tokenizers)


def _drop_manifest(folder: Path) -> None:
    """As a checkpoint of another tool's, which has none."""
    (folder / "manifest.json").unlink()


LOADERS: dict[str, tuple[Callable[[Policy, Path], object], Callable[[Path], object]]] = {
    "policy": (lambda policy, folder: save_policy(policy, folder), load_policy),
    "reward": (
        lambda policy, folder: RewardModel.from_policy(policy, seed=0, name="helpfulness").save(folder, meta={}),
        RewardModel.load,
    ),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_checkpoint_whose_tokenizer_was_exchanged_for_one_of_its_size_is_refused(
    kind: str, tokenizer: Tokenizer, swapped: Tokenizer, tmp_path: Path
) -> None:
    save, load = LOADERS[kind]
    save(_policy(tokenizer), tmp_path / "checkpoint")
    load(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / MODEL_FILE).write_bytes(swapped.model_bytes)
    with pytest.raises(TokenizerError) as caught:
        load(tmp_path / "checkpoint")
    assert digests(tokenizer, swapped)(caught.value)


@pytest.mark.parametrize("kind", LOADERS)
def test_a_checkpoint_without_a_manifest_and_a_tokenizer_of_another_size_is_refused(
    kind: str, tokenizer: Tokenizer, larger: Tokenizer, tmp_path: Path
) -> None:
    save, load = LOADERS[kind]
    save(_policy(tokenizer), tmp_path / "checkpoint")
    _drop_manifest(tmp_path / "checkpoint")
    load(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "tokenizer.json").unlink()
    (tmp_path / "checkpoint" / MODEL_FILE).write_bytes(larger.model_bytes)
    with pytest.raises(TokenizerError, match=rf"vocabulary of 400, the tokenizer .*{larger.sha256[:12]}.* 310 pieces"):
        load(tmp_path / "checkpoint")


@pytest.mark.parametrize("kind", LOADERS)
def test_other_special_ids_are_refused_in_the_tokenizer_and_in_the_model(
    kind: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save, load = LOADERS[kind]
    folder = tmp_path / "checkpoint"
    save(_policy(tokenizer), folder)
    _drop_manifest(folder)
    config = json.loads((folder / "config.json").read_text())
    for name, value in (("eos_token_id", 3), ("bos_token_id", 0), ("eos_token_id", [3, 4])):
        (folder / "config.json").write_text(json.dumps({**config, name: value}))
        with pytest.raises(TokenizerError, match=rf"{name} .* in its config\.json.*{tokenizer.sha256[:12]}"):
            load(folder)
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": [2, 3]}))
    load(folder)  # several ends, ours among them
    (folder / MODEL_FILE).write_bytes(_other_special_ids(tokenizer))
    with pytest.raises(TokenizerError, match="unk/bos/eos ids 0/1/3; LLaMA's are 0/1/2"):
        load(folder)


def _prompt() -> Dialogue:
    return Dialogue(turns=(Turn(role="user", content="who?"),), source=Source(file="made", line=1), id="p")


@pytest.mark.parametrize("wrong", ["helpfulness", "safety", "watch"])
@pytest.mark.parametrize("use", ["ppo", "rejection", "evaluation"])
def test_a_reward_model_of_another_tokenizer_never_judges(
    use: str, wrong: str, tokenizer: Tokenizer, swapped: Tokenizer, session: Session
) -> None:
    policy = _policy(tokenizer)
    before = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    models = {
        name: RewardModel.from_policy(_policy(swapped if name == wrong else tokenizer), seed=0, name=name)
        for name in ("helpfulness", "safety", "watch")
    }
    judges = RewardJudges(**models, compute=session.compute)
    answer = Answer(
        dialogue=_prompt(), prompt_ids=(1, 5), token_ids=(6, 2), text="x", tokenizer=policy.tokenizer.sha256
    )
    rejection = RejectionSettings(sampling=CandidateSettings(max_new_tokens=4))
    prompts = PromptSplit(train=[_prompt()], held_out=[_prompt()])
    uses: dict[str, Callable[[], object]] = {
        "ppo": lambda: train_ppo(
            policy, judges, prompts, PpoSettings(iterations=1, sampling=RolloutSettings(max_new_tokens=4)), session
        ),
        "rejection": lambda: rejection_sample(policy, [_prompt()], judges, rejection, session, version=1),
        "evaluation": lambda: (judges.judge([answer]), judges.watched([answer])),
    }
    with pytest.raises(TokenizerError, match=f"the {wrong} reward model has the tokenizer") as caught:
        uses[use]()
    assert digests(tokenizer, swapped)(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.model.state_dict().items())
    assert list(session.folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["pretrain", "sft"])
def test_a_recipe_that_gives_a_checkpoint_another_tokenizer_is_refused_before_the_first_step(
    kind: str, tokenizer: Tokenizer, swapped: Tokenizer, tmp_path: Path
) -> None:
    """The recipe's tokenizer is of the right size and none of the right texts."""
    save_policy(_policy(tokenizer), tmp_path / "base")
    (tmp_path / "other.model").write_bytes(swapped.model_bytes)
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say hello.", "output": "Hello."}\n' * 3)
    data = f"{{data: {{train: [{{path: {tmp_path}/rows.jsonl}}], on_duplicate: keep}}, max_steps: 1}}"
    (tmp_path / "recipe.yaml").write_text(
        f"model: {{path: {tmp_path}/base}}\ntokenizer: {{path: {tmp_path}/other.model}}\n{kind}: {data}\n"
    )
    recipe, run = load_recipe(tmp_path / "recipe.yaml"), tmp_path / "run"
    for stage in stages_of(recipe)[:2]:
        (run / stage.folder).mkdir(parents=True)
        context = StageContext(
            stage=stage,
            session=Session(folder=run / stage.folder, seed=0),
            folders={other.name: run / other.folder for other in stages_of(recipe) if other.name in stage.parents},
            write_page=str,
        )
        if stage.kind.name == "tokenizer":
            stage.kind.run(stage.inputs, context)
            continue
        with pytest.raises(AlignmentError, match="must be made with the same one") as caught:
            stage.kind.run(stage.inputs, context)
        assert caught.value.exit_code == 2
        assert digests(tokenizer, swapped)(caught.value)
        assert not (run / stage.folder / "metrics.jsonl").exists()


def test_a_policy_in_a_reward_models_place_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_policy(_policy(tokenizer), tmp_path / "policy")
    with pytest.raises(CheckpointError, match="holds a policy, not a reward"):
        RewardModel.load(tmp_path / "policy")


def test_an_end_token_is_learnt_although_it_is_the_padding_token(tokenizer: Tokenizer) -> None:
    """Elsewhere padding = end masks every end out of the loss, and the model never stops."""
    policy = _policy(tokenizer)
    dialogue = _prompt().answered("the baker.")
    found: list[tuple[float, torch.Tensor]] = []
    for padding in (None, tokenizer.eos_id):
        policy.model.config.pad_token_id = padding
        (tree,), _ = dialogue_trees([dialogue], tokenizer, 64)
        last = tree.segments[-1]
        assert (int(last[-1]), bool(tree.trained[-1][-1])) == (tokenizer.eos_id, True)
        policy.model.zero_grad()
        loss, _ = language_loss(policy.model, make_batch([tree]))
        loss.backward()
        gradient = policy.model.get_output_embeddings().weight.grad
        assert gradient is not None
        found.append((float(loss.detach()), gradient.clone()))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][1][tokenizer.eos_id].abs().sum() > 0
