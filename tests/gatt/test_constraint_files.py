"""A user's file of constraints is read as strictly as a recipe: what it says is told with its line, nothing grows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alignment.errors import DataError
from gatt.constraints import builtin_constraints, read_constraints

ONE = "{id: a, kind: contains, argument: tea, instruction: Mention tea., short: tea}"
OTHER = "{id: b, kind: max_words, argument: 20, instruction: Be brief., short: brief}"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(DataError) as caught:
        read_constraints(write(tmp_path / "mine.yaml", text))
    assert str(tmp_path / "mine.yaml") in str(caught.value)
    return str(caught.value)


def test_a_file_gives_constraints_to_train_on_and_unseen_ones(tmp_path: Path) -> None:
    train, held_out = read_constraints(write(tmp_path / "mine.yaml", f"train:\n- {ONE}\nheld_out:\n- {OTHER}\n"))
    assert [(one.id, one.argument) for one in train] == [("a", "tea")]
    assert [(one.id, one.argument) for one in held_out] == [("b", 20)]


LAUGHS = "x0: &x0 [a, a]\n" + "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 12))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS + "train: *x11\n", "the anchor &x0 is not allowed"),
        ("train: " + "[" * 5000, "levels deep; a file of constraints is flatter"),
        ("train:\n" + f"- {ONE}\n" * 6000, "values; a file of constraints is smaller"),
        ("train: " + "x" * 1_000_001, "a file of constraints is smaller, data belongs into data files"),
        ("train: !!python/object:os.system [x]", "the tag"),
        (f"train:\n- {ONE}\ntrain:\n- {OTHER}\n", "mine.yaml:3: train: the key stands twice, first at line 1"),
        (f"train:\n- {ONE[:-1]}, id: c}}\n", "mine.yaml:2: train.0.id: the key stands twice"),
        (f"train:\n- {ONE}\n- {ONE}\n", "mine.yaml:3: train entry 2: id 'a' is also that of "),
        (f"train:\n- {ONE}\nheld_out:\n- {ONE}\n", "mine.yaml:4: held_out entry 1: id 'a' is also that of "),
        (f"train:\n- {ONE.replace('Mention tea.', '[INST] tea')}", "mine.yaml:2"),
        ("train:\n- " + ONE.replace("Mention tea.", '"say [/INST]"'), "train entry 1: instruction holds '[/INST]'"),
        ("train:\n- " + ONE.replace("short: tea", 'short: "<<SYS>>"'), "train entry 1: short holds '<<SYS>>'"),
        (f"train:\n- {ONE}\nheldout:\n- {OTHER}\n", "mine.yaml:3: heldout is unknown; right are train and held_out"),
        (f"train:\n- {ONE}\nheld_out: {OTHER}\n", "mine.yaml:3: held_out is no list"),
        ("train:\n- tea\n", "mine.yaml:2: train entry 1 is 'tea'; it must be a mapping"),
        ("train: []\n", "no list `train`"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


@pytest.mark.timeout(20)
def test_a_pipe_or_nothing_in_the_files_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.yaml' cannot be read"):
        read_constraints(tmp_path / "none.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(DataError, match="it is a pipe"):
        read_constraints(tmp_path / "pipe.yaml")


def test_the_builtin_constraints_have_an_id_each() -> None:
    ids = [constraint.id for group in builtin_constraints() for constraint in group]
    assert len(set(ids)) == len(ids)
