"""S9: small inputs that would grow without bound are refused within bounds of memory and time."""

from __future__ import annotations

import gzip
import json
import resource
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from alignment.data.corpus import load_dialogues
from alignment.data.settings import DataSettings, SourceSettings
from alignment.errors import AlignmentError
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.text.tokenizer import Tokenizer
from recipes.load import load_recipe
from tests.faults.children import in_child

# address space beyond what the imports have mapped: torch alone maps more than the two gigabytes that would bound the
# whole process, none of it because of the input; a gigabyte on top is the harder bound on what the input may cost
MEMORY, SECONDS = 1 << 30, 10
WIDE = "{" + ",".join(f'"k{i}":{i}' for i in range(1_000_000)) + "}"
DEEP = "[" * 1_000_000


def bounded(work: Callable[[], object]) -> str:
    """What a refusal says; the work has a gigabyte more than now and ten seconds of a processor, in a child.

    Seconds of a processor, not of the clock: beside other work a refusal takes longer and costs no more.
    """

    def limited() -> int:
        with Path("/proc/self/statm").open() as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        try:
            work()
        except AlignmentError as error:
            print(error)
            return 3
        return 0

    ended = in_child(limited, timeout=6 * SECONDS)
    assert ended.code == 3, ended.output
    return ended.output


@pytest.fixture
def folder(policy: Policy, tmp_path: Path) -> Path:
    save_policy(policy, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "manifest.json").unlink()
    return tmp_path / "checkpoint"


def test_a_header_that_claims_four_gigabytes(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 4 << 30) + b"{}")
    assert "checkpoint" in bounded(lambda: load_policy(folder))


def test_a_tensor_of_two_to_the_sixty_elements(folder: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 30, 1 << 30], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    assert "checkpoint" in bounded(lambda: load_policy(folder))


def test_a_configuration_that_asks_for_a_model_of_terabytes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": 1 << 20, "intermediate_size": 1 << 22, "num_hidden_layers": 1000}
    (folder / "config.json").write_text(json.dumps(config))
    assert bounded(lambda: load_policy(folder))


@pytest.mark.parametrize("rubbish", [b"", b"\0" * 1000, b"\xff" * 100_000, b"\x0a\xff\xff\xff\xff\x7f" + b"x" * 10])
def test_a_tokenizer_of_rubbish(folder: Path, rubbish: bytes) -> None:
    (folder / "tokenizer.model").write_bytes(rubbish)
    assert "tokenizer.model" in bounded(lambda: Tokenizer.load(folder))


@pytest.mark.parametrize("name", ["manifest.json", "stage.json", "run.json"])
@pytest.mark.parametrize("text", [DEEP, WIDE], ids=["deep", "wide"])
def test_records_that_are_deep_or_wide(tmp_path: Path, name: str, text: str) -> None:
    from alignment.store.manifest import read_manifest
    from recipes.running.folder import check_run_folder
    from recipes.running.record import read_record

    (tmp_path / name).write_text(text)
    readers = {"manifest.json": read_manifest, "stage.json": read_record, "run.json": check_run_folder}
    assert name in bounded(lambda: readers[name](tmp_path))


@pytest.mark.parametrize("text", [DEEP, WIDE], ids=["deep", "wide"])
def test_an_index_that_is_deep_or_wide(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)
    assert "index" in bounded(lambda: load_policy(folder))


def test_a_header_of_a_million_tensors(folder: Path) -> None:
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    header = ("{" + ",".join(f'"k{i}":{entry}' for i in range(1_000_000)) + "}").encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    assert "bytes of header" in bounded(lambda: load_policy(folder))


@pytest.mark.parametrize("text", [DEEP, WIDE], ids=["deep", "wide"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_data_that_is_deep_or_wide(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    settings = DataSettings(train=(SourceSettings(path=str(tmp_path / name)),))
    assert name in bounded(lambda: load_dialogues(settings, seed=0, quarantine=None))


LAUGHS = "a0: &a0 [x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "anchor"),
        ("name: " + "x" * 10_000_000, "1,000,000 bytes"),
        ("a: " + "[" * 400_000, "levels deep"),
        ("a:\n" + "- x\n" * 240_000, "values"),
        ("".join(f"k{i}: 1\n" for i in range(80_000)), "values"),
        ("name: " + "'" + "''" * 400_000, "unexpected end of stream"),
    ],
    ids=["billion laughs", "ten megabytes", "deep", "long list", "many keys", "never closed"],
)
def test_a_recipe_that_would_grow(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert said in bounded(lambda: load_recipe(tmp_path / "mine.yaml"))


def test_the_bounds_would_stop_what_grows() -> None:
    with pytest.raises(AssertionError, match="MemoryError"):
        bounded(lambda: bytearray(2 * MEMORY))


def test_a_row_that_is_deep_or_a_gigabyte_when_unpacked_is_set_aside_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(b'{"a":' * 10_000 + b"\n")
        for _ in range(64):
            file.write(b" " * (1 << 24))
    assert path.stat().st_size < 2 << 20
    settings = DataSettings(train=(SourceSettings(path=str(path)),))
    assert "rows.jsonl.gz" in bounded(
        lambda: load_dialogues(settings, seed=0, quarantine=tmp_path / "quarantine.jsonl", world=None)
    )
