"""A manifest finds every truncation, flipped bit, missing, extra, swapped, edited or linked file (R4 to R6)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.errors import CheckpointError
from alignment.randomness import named_generator
from alignment.store.manifest import NAME, read_manifest, verify, write_manifest

FILES = {"model.safetensors": 5000, "optimizer.safetensors": 3000, "state.json": 40, "deep/er/file": 700, "empty": 0}


def _make(folder: Path, seed: int = 0, step: int = 14) -> Path:
    for name, size in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(named_generator(seed, name).integers(0, 256, size, dtype=np.uint8).tobytes())
    write_manifest(folder, kind="training", meta={"step": step, "fingerprint": "f"})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _make(tmp_path / "step-000014")


def test_an_untouched_folder_verifies_and_tells_its_contents(folder: Path) -> None:
    manifest = verify(folder, kind="training", expect={"step": 14, "fingerprint": "f"})
    assert {name: size for name, (size, _) in manifest.files.items()} == FILES
    assert manifest.digest == read_manifest(folder).digest


def test_the_digest_is_the_folders_identity(tmp_path: Path) -> None:
    same, again = _make(tmp_path / "a"), _make(tmp_path / "b")
    other, later = _make(tmp_path / "c", seed=1), _make(tmp_path / "d", step=15)
    digests = [read_manifest(folder).digest for folder in (same, again, other, later)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("name", [name for name, size in FILES.items() if size] + [NAME])
def test_a_file_truncated_at_any_of_64_offsets_is_refused(folder: Path, name: str) -> None:
    path, whole = folder / name, (folder / name).read_bytes()
    draw = named_generator(0, "truncate", name)
    offsets = sorted({0, 1, 8, len(whole) - 1, *draw.integers(0, len(whole), 80).tolist()})[:64]
    assert len(offsets) >= min(64, len(whole) * 3 // 4)
    for offset in offsets:
        path.write_bytes(whole[:offset])
        with pytest.raises(CheckpointError) as caught:
            verify(folder)
        if name != NAME:
            assert str(path) in str(caught.value)
            assert f"the manifest says {len(whole):,}" in str(caught.value)
    path.write_bytes(whole)
    verify(folder)


@pytest.mark.parametrize("name", [name for name, size in FILES.items() if size] + [NAME])
def test_each_of_200_flipped_bits_is_found(folder: Path, name: str) -> None:
    path, whole = folder / name, (folder / name).read_bytes()
    for bit in named_generator(0, "flip", name).integers(0, 8 * len(whole), 200).tolist():
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError):
            verify(folder)
    path.write_bytes(whole)
    verify(folder)


def _missing(folder: Path) -> None:
    (folder / "state.json").unlink()


def _extra(folder: Path) -> None:
    (folder / "deep" / "extra").write_text("x")


def _swapped_within(folder: Path) -> None:
    first, second = folder / "model.safetensors", folder / "optimizer.safetensors"
    first.rename(folder / "aside")
    second.rename(first)
    (folder / "aside").rename(second)


def _of_another_step(folder: Path) -> None:
    other = _make(folder.parent / "step-000021", seed=21, step=21)
    shutil.copy(other / "optimizer.safetensors", folder / "optimizer.safetensors")


def _edited_manifest(folder: Path) -> None:
    raw = json.loads((folder / NAME).read_text())
    raw["meta"]["step"] = 15
    (folder / NAME).write_text(json.dumps(raw) + "\n")


def _manifest_of_another(folder: Path) -> None:
    shutil.copy(_make(folder.parent / "other", seed=9) / NAME, folder / NAME)


def _linked_file(folder: Path) -> None:
    (folder / "state.json").rename(folder.parent / "elsewhere")
    (folder / "state.json").symlink_to(folder.parent / "elsewhere")


def _no_manifest(folder: Path) -> None:
    (folder / NAME).unlink()


def _other_version(folder: Path) -> None:
    raw = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps(raw | {"version": 2}) + "\n")


def _outside(folder: Path) -> None:
    write = json.loads((folder / NAME).read_text())
    from alignment.store.manifest import _digest

    files = {"../elsewhere": (1, "0" * 64)}
    write |= {"files": {"../elsewhere": [1, "0" * 64]}, "digest": _digest("training", files, write["meta"])}
    (folder / NAME).write_text(json.dumps(write) + "\n")


@pytest.mark.parametrize(
    "damage, reason",
    [
        (_missing, r"state\.json is missing; the manifest says 40 bytes"),
        (_extra, r"'deep/extra', which its manifest does not name"),
        (_swapped_within, r"model\.safetensors has 3,000 bytes, the manifest says 5,000"),
        (_of_another_step, r"optimizer\.safetensors \(3,000 bytes\) does not match its SHA-256"),
        (_edited_manifest, "does not match its own digest"),
        (_manifest_of_another, "does not match its SHA-256"),
        (_linked_file, "is a symbolic link"),
        (_no_manifest, "has no manifest.json"),
        (_other_version, "has version 2; this release reads version 1"),
        (_outside, "lies outside its folder"),
    ],
)
def test_an_altered_folder_is_refused_with_the_reason(
    folder: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=reason):
        verify(folder)


def test_a_folder_of_another_kind_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a training, not a policy"):
        verify(folder, kind="policy")


def test_a_folder_copied_from_another_run_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="its fingerprint is 'f', expected 'g'"):
        verify(folder, expect={"fingerprint": "g"})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.slow
@given(
    body=st.fixed_dictionaries(dict.fromkeys(("kind", "files", "meta", "digest"), _JSON)), version=st.just(1) | _JSON
)
def test_a_manifest_of_any_json_is_refused_with_a_sentence(
    body: dict[str, object], version: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any", numbered=True)
    (folder / NAME).write_text(json.dumps(body | {"version": version}) + "\n")
    with pytest.raises(CheckpointError):
        read_manifest(folder)


@given(data=st.binary(max_size=200))
def test_a_manifest_of_any_bytes_is_refused_with_a_sentence(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bytes", numbered=True)
    (folder / NAME).write_bytes(data)
    with pytest.raises(CheckpointError):
        read_manifest(folder)


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "kind": "k", "files": {}, "meta": {"a": NaN}, "digest": ""}',
        '{"version": 1, "kind": "k", "files": {"a": [1e999, "x"]}, "meta": {}, "digest": ""}',
        "[" * 100_000,
    ],
    ids=["nan", "infinite size", "deep"],
)
def test_a_manifest_of_odd_json_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(CheckpointError):
        read_manifest(tmp_path)
