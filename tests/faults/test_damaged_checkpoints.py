"""R4, R5, R6: a damaged training checkpoint is found before a weight of it is used, and the one before goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from alignment.errors import CheckpointError
from alignment.policy.policy import load_policy
from alignment.randomness import named_generator
from alignment.store.manifest import verify
from alignment.train.checkpoints import Checkpoints
from tests.faults.children import in_child
from tests.faults.events import Event, watch
from tests.faults.same import differences
from tests.faults.stages import Swept

TRUNCATIONS, FLIPS = 64, 200


@pytest.fixture(scope="module")
def stopped(swept: dict[str, Swept], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SFT killed while its third checkpoint is written: two whole ones stand."""
    run = swept["sft"].lay_out(tmp_path_factory.mktemp("stopped").resolve() / "run")

    def die(event: Event, torn: Callable[[], None]) -> None:
        if event.kind == "weights" and len(list(run.glob("*-sft/checkpoints/step-*"))) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def suffer() -> int:
        watch(run, die)
        return swept["sft"].work(run)

    assert in_child(suffer).code == 137
    return run


def newest(run: Path) -> Path:
    return max(run.glob("*-sft/checkpoints/step-*"))


def open_checkpoints(run: Path, said: list[str]) -> Checkpoints:
    folder = newest(run).parent
    fingerprint = json.loads((folder.parent / "stage.json").read_text())["fingerprint"]
    return Checkpoints(folder, fingerprint=fingerprint, keep=2, say=said.append)


def checkpoint_files() -> list[str]:
    return ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]


def offsets(size: int) -> list[int]:
    """0, 1, n-1, the end of a safetensors header's length, and random ones; all different."""
    draws = named_generator(0, "truncations", size)
    fixed = [0, 1, 8, size - 1]
    drawn = draws.permutation(size)[: TRUNCATIONS + len(fixed)].tolist()
    return list(dict.fromkeys([*fixed, *drawn]))[: min(TRUNCATIONS, size)]


@pytest.mark.parametrize("name", checkpoint_files())
def test_every_truncation_is_found_and_the_earlier_checkpoint_used(stopped: Path, name: str) -> None:
    path = newest(stopped) / name
    whole = path.read_bytes()
    earlier = Checkpoints._by_step(open_checkpoints(stopped, []))[-2][0]
    found = 0
    try:
        for offset in offsets(len(whole)):
            path.write_bytes(whole[:offset])
            said: list[str] = []
            resumed = open_checkpoints(stopped, said).newest()
            assert resumed is not None
            assert resumed.step == earlier
            assert name in said[0]
            if name != "manifest.json":  # nothing but the manifest knows how large it should be
                assert f"{len(whole):,} bytes" in said[0]
            found += 1
    finally:
        path.write_bytes(whole)
    assert found == min(TRUNCATIONS, len(whole))
    assert open_checkpoints(stopped, []).newest().step > earlier  # type: ignore[union-attr]


@pytest.mark.parametrize("name", checkpoint_files())
def test_every_flipped_bit_is_found_before_use(stopped: Path, name: str) -> None:
    folder = newest(stopped)
    path = folder / name
    whole = path.read_bytes()
    draws = named_generator(0, "flips", name)
    try:
        for place in draws.integers(0, 8 * len(whole), size=FLIPS).tolist():
            damaged = bytearray(whole)
            damaged[place // 8] ^= 1 << place % 8
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError):
                verify(folder, kind="training")
    finally:
        path.write_bytes(whole)
    verify(folder, kind="training")


def truncate(folder: Path, other: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def flip(folder: Path, other: Path) -> None:
    path = folder / "optimizer.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 8
    path.write_bytes(data)


def lose(folder: Path, other: Path) -> None:
    (folder / "optimizer.safetensors").unlink()


def add(folder: Path, other: Path) -> None:
    (folder / "extra.safetensors").write_bytes(b"x")


def swap(folder: Path, other: Path) -> None:
    shutil.copy2(other / "optimizer.safetensors", folder / "optimizer.safetensors")


def edit_manifest(folder: Path, other: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"step": ', '"step": 1'))


def copy_of_another_step(folder: Path, other: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


def of_another_run(folder: Path, other: Path) -> None:
    """The folder of a run with other settings: whole in itself, but its fingerprint is another."""
    from alignment.store.manifest import NAME, write_manifest

    step = json.loads((folder / NAME).read_text())["meta"]["step"]
    (folder / NAME).unlink()
    write_manifest(folder, kind="training", meta={"step": step, "fingerprint": "of another run"})


@pytest.mark.parametrize(
    "damage", [truncate, flip, lose, add, swap, edit_manifest, copy_of_another_step, of_another_run]
)
def test_a_damaged_newest_checkpoint_is_skipped_aloud_and_the_stage_ends_equal(
    damage: Callable[[Path, Path], None], stopped: Path, swept: dict[str, Swept], tmp_path: Path
) -> None:
    run = tmp_path.resolve() / "run"
    shutil.copytree(stopped, run)
    folder = newest(run)
    damage(folder, min(run.glob("*-sft/checkpoints/step-*")))
    ended = in_child(lambda: swept["sft"].work(run))
    assert ended.code == 0, ended.output
    assert f"skipped {folder.name}" in ended.output.replace("\n", " ")
    (name,) = swept["sft"].compared
    assert differences(swept["sft"].finished / name, run / name) == []


@pytest.mark.parametrize("damage", [truncate, lose, add, swap, edit_manifest])
def test_a_damaged_result_of_an_earlier_stage_is_refused_before_a_weight_is_loaded(
    damage: Callable[[Path, Path], None], swept: dict[str, Swept], tmp_path: Path
) -> None:
    run = swept["gatt"].finished
    folder, other = tmp_path / "checkpoint", tmp_path / "other"
    shutil.copytree(run / "03-sft" / "checkpoint", folder)
    shutil.copytree(run / "02-pretrain" / "checkpoint", other)
    for place in (folder, other):  # `swap` and `lose` look for an optimizer; here the weights play its part
        if damage in (swap, lose):
            (place / "optimizer.safetensors").unlink(missing_ok=True)
    if damage is swap:
        shutil.copy2(other / "model.safetensors", folder / "model.safetensors")
    elif damage is lose:
        (folder / "model.safetensors").unlink()
    elif damage is edit_manifest:
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"kind": "', '"kind": "x', 1))
    else:
        damage(folder, other)
    with pytest.raises(CheckpointError):
        load_policy(folder)
