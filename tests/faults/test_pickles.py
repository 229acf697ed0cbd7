"""S1: what could run code when it is read is refused with the safe way, and never run."""

from __future__ import annotations

import gzip
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alignment.data.corpus import load_dialogues
from alignment.data.settings import DataSettings, SourceSettings
from alignment.errors import AlignmentError, CheckpointError, DataError
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.text.tokenizer import Tokenizer
from reward.model import RewardModel
from tests.faults.payloads import object_array, pickled, script, torch_saved, zipped

WEIGHTS = ("pytorch_model.bin", "consolidated.00.pth", "model.pt", "model.ckpt", "model.pkl")
BESIDE = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "optimizer.bin", "data.npy")


@pytest.fixture
def folder(policy: Policy, tmp_path: Path) -> Path:
    save_policy(policy, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "manifest.json").unlink()  # as a foreign folder
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("make", [pickled, torch_saved])
def test_pickled_weights_are_refused_and_not_run(folder: Path, tmp_path: Path, name: str, make: object) -> None:
    canary = tmp_path / "canary"
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(make(canary))  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=r"(?s)safetensors"):
        load_policy(folder)
    with pytest.raises(AlignmentError):
        RewardModel.load(folder)
    assert not canary.exists()


@pytest.mark.parametrize("name", BESIDE)
def test_pickles_beside_good_weights_are_left_alone(folder: Path, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    (folder / name).write_bytes(object_array(canary) if name.endswith("npy") else pickled(canary))
    load_policy(folder)
    assert not canary.exists()


def test_a_pickle_that_calls_itself_safetensors_is_refused(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / "model.safetensors").write_bytes(torch_saved(canary))
    with pytest.raises(CheckpointError):
        load_policy(folder)
    assert not canary.exists()


def test_a_pickle_that_calls_itself_a_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / "tokenizer.model").write_bytes(pickled(canary))
    with pytest.raises(AlignmentError):
        Tokenizer.load(folder)
    assert not canary.exists()


DATA: dict[str, Callable[[Path], bytes]] = {
    **dict.fromkeys(["rows.pkl", "rows.jsonl", "rows.json", "rows.csv", "rows.txt", "rows.parquet"], pickled),
    **dict.fromkeys(["rows.pt", "rows.arrow", "rows.bin"], torch_saved),
    "rows.npy": object_array,
    "rows.zip": zipped,
    "rows.py": script,
    "rows.jsonl.gz": lambda canary: gzip.compress(pickled(canary)),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_is_a_pickle_an_archive_or_a_script_is_refused_and_not_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / name).write_bytes(DATA[name](canary))
    with pytest.raises(DataError, match=re.escape(name)):
        load_dialogues(_data(SourceSettings(path=str(tmp_path / name))), seed=0, quarantine=None)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("inner", ["", "evil.py"])
def test_a_data_set_that_comes_with_a_script_is_refused_and_not_run(inner: str, tmp_path: Path) -> None:
    canary, folder = tmp_path / "canary", tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_bytes(script(canary))
    with pytest.raises(DataError, match="evil"):
        load_dialogues(_data(SourceSettings(hub=str(folder / inner))), seed=0, quarantine=None)
    assert not canary.exists()


def _data(source: SourceSettings) -> DataSettings:
    return DataSettings(train=(source,))


def test_the_script_would_run_if_it_were_imported(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_bytes(script(tmp_path / "canary"))
    runpy.run_path(str(tmp_path / "evil.py"))
    assert (tmp_path / "canary").exists()


def test_the_payloads_would_run_if_they_were_trusted(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(torch_saved(tmp_path / "canary"))
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "canary").exists()
