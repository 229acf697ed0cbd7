"""A real trained checkpoint in llama2.c's format: fluent text, the same from every path."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from alignment.errors import CheckpointError, TokenizerError
from alignment.generate.engine import Engine
from alignment.generate.sampler import SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.policy.foreign.llama2c import read_llama2c
from alignment.policy.foreign.llama2c_tokenizer import read_llama2c_tokenizer
from tests.real_data import REAL_DATA

ROOT = Path(__file__).resolve().parents[2]
DATA = REAL_DATA / "checkpoints" / "stories260k"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there; set ALIGNMENT_DATA")
LENGTH = 120


@pytest.mark.slow
@needs_data
def test_the_engine_the_full_forward_and_transformers_tell_the_same_fluent_story(tmp_path: Path) -> None:
    model = read_llama2c(DATA / "stories260K.bin").eval()
    tokenizer = read_llama2c_tokenizer(DATA / "tok512.bin")
    prompt = tokenizer.encode("Once upon a time", bos=True)
    settings = SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=LENGTH)
    engine = Engine(model, eos_ids=[tokenizer.eos_id], decode=tokenizer.decode)
    ((sample,),) = engine.sample([SampleRequest(id="story", prompt_ids=tuple(prompt), seeds=(0,))], settings)

    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(LENGTH):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert list(sample.token_ids) == ids[len(prompt) :][: len(sample.token_ids)]

    model.save_pretrained(tmp_path / "hf")
    twin = LlamaForCausalLM.from_pretrained(tmp_path / "hf").eval()
    out = twin.generate(torch.tensor([prompt]), max_new_tokens=LENGTH, do_sample=False, pad_token_id=0)
    assert list(sample.token_ids) == out[0, len(prompt) :].tolist()[: len(sample.token_ids)]

    story = tokenizer.decode([*prompt, *sample.token_ids])
    # what a trained model of children's stories says, and an untrained or wrongly ordered one does not
    assert story.startswith("Once upon a time, there was a little")
    assert "She" in story or "He" in story or "They" in story


@needs_data
def test_its_loss_on_a_story_is_far_below_chance() -> None:
    model = read_llama2c(DATA / "stories260K.bin").eval()
    tokenizer = read_llama2c_tokenizer(DATA / "tok512.bin")
    ids = torch.tensor([tokenizer.encode("One day, a little girl named Lily went to the park with her mom.", bos=True)])
    with torch.inference_mode():
        log_probs = model(ids).logits[0, :-1].log_softmax(-1)
    assert -float(log_probs.gather(1, ids[0, 1:, None]).mean()) < 2.0  # log(512) is 6.2


def header(*values: int) -> bytes:
    return struct.pack("<7i", *values)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        header(64, 172, 5, 8, 3, 512, 512),
        header(-1, 1, 1, 1, 1, 1, 1),
        header(64, 172, 5, 8, 4, 512, 512),
    ],
)
def test_a_file_that_is_no_llama_or_is_cut_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.bin"):
        read_llama2c(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 40, b"\x04\0\0\0" + struct.pack("<fi", 0.0, 10_000)])
def test_a_tokenizer_file_that_is_cut_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "tok.bin"
    path.write_bytes(data)
    with pytest.raises(TokenizerError, match=r"tok\.bin"):
        read_llama2c_tokenizer(path)
