"""What every test may ask for: one thread, no network, a tiny tokenizer, a tiny policy, a session."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# before any library is imported: it would look at them once
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TRANSFORMERS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `from tests.tolerances import …`

import pytest
from hypothesis import settings

from alignment.model.checkpoint import new_model
from alignment.model.settings import ModelSettings
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Source, Turn
from alignment.text.settings import TokenizerSettings
from alignment.text.tokenizer import Tokenizer, train_tokenizer
from alignment.train.session import Session
from alignment.train.settings import ComputeSettings

settings.register_profile("suite", deadline=None, print_blob=True)
settings.register_profile("fast", settings.get_profile("suite"), max_examples=20)  # `make test-fast`
settings.load_profile("suite")

SENTENCES = (
    "the baker sells bread and the miller sells flour to the baker",
    "a person asks [INST] who sells the bread? [/INST] and hears: the baker sells the bread.",
    "<<SYS>>\nanswer in one short sentence\n<</SYS>>\n\n",
    "in 1987 the town had 2,304 people and 16 shops; in 2010 it had 9,856 people",
    "the people of the town say that the old mill    stands by the river",
    "def add(a, b):\n        return a + b",
    "Käse, naïve, Ω ≈ 3.14 and one 🦙",
)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A SentencePiece model with LLaMA's settings, of few pieces."""
    return train_tokenizer(SENTENCES * 4, TokenizerSettings(vocab_size=400, character_coverage=0.995))


@pytest.fixture
def policy(tokenizer: Tokenizer) -> Policy:
    """A fresh tiny policy: 2 layers, width 32, 2 query heads on 1 key/value head."""
    model = new_model(ModelSettings(size="tiny", context_length=256), tokenizer.vocab_size, seed=0)
    return Policy(model=model, tokenizer=tokenizer)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A stage's surroundings in a folder of its own, in fp32 on one thread."""
    folder = tmp_path / "stage"
    folder.mkdir()
    return Session(folder=folder, seed=0, fingerprint="f", compute=ComputeSettings(precision="fp32", threads=1))


@pytest.fixture(scope="session")
def dialogues() -> list[Dialogue]:
    """Twelve demonstrations of one or two exchanges."""
    made = []
    for i in range(12):
        turns = [Turn(role="user", content=f"who sells the bread in {1980 + i}?")]
        turns.append(Turn(role="assistant", content="the baker " * (1 + i % 3) + "sells the bread."))
        if i % 2:
            turns += [Turn(role="user", content="and the flour?"), Turn(role="assistant", content="the miller.")]
        system = "answer in one short sentence" if i % 3 == 0 else None
        made.append(Dialogue(turns=tuple(turns), source=Source(file="made", line=i + 1), id=f"d{i}", system=system))
    return made
