"""A user's file of constraints is read as strictly as a recipe: what it says is told with its line, nothing grows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alignment.constraint import constraint_from_json
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


def test_a_file_combines_its_own_instructions_by_id(tmp_path: Path) -> None:
    both = "{id: both, kind: combined, parts: [a, b]}"
    told = "{id: told, kind: combined, parts: [b, a], instruction: Tea in brief., short: tea brief, paraphrases: [Be.]}"
    train, held_out = read_constraints(
        write(tmp_path / "mine.yaml", f"train:\n- {ONE}\n- {OTHER}\nheld_out:\n- {both}\n")
    )
    assert held_out[0].parts == tuple(train)
    assert (held_out[0].instruction, held_out[0].short) == ("Mention tea. Be brief.", "tea; brief")
    assert held_out[0].satisfied("tea")
    assert not held_out[0].satisfied("tea " * 21)
    train, _ = read_constraints(write(tmp_path / "mine.yaml", f"train:\n- {ONE}\n- {OTHER}\n- {told}\n"))
    assert train[2].wordings == ("Tea in brief.", "Be.")
    assert constraint_from_json(train[2].to_json(), "there") == train[2]


NEVER = "{id: b, kind: never_word, argument: tea, instruction: No tea., short: no tea}"
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
        (
            f"train:\n- {ONE}\n- {NEVER}\n- {{id: c, kind: combined, parts: [a, b]}}\n",
            "mine.yaml:4: train entry 3: constraint 'c': 'a' and 'b' contradict: contains asks for 'tea', which",
        ),
        (
            f"train:\n- {ONE}\n- {{id: c, kind: combined, parts: [a, z]}}\n",
            "mine.yaml:3: train entry 2: the part 'z' is",
        ),
        (
            f"train:\n- {ONE}\n- {{id: c, kind: combined, parts: [a]}}\n",
            "mine.yaml:3: train entry 2: constraint 'c': comb",
        ),
        (
            f"train:\n- {ONE}\n- {{id: c, kind: combined, parts: a}}\n",
            "mine.yaml:3: train entry 2: parts is 'a'; it must",
        ),
        (
            f"train:\n- {ONE[:-1]}, parts: [a]}}\n",
            "mine.yaml:2: train entry 1: the constraint has the unknown key parts",
        ),
        (f"train:\n- {ONE[:-1]}, paraphrases: tea}}\n", "mine.yaml:2: train entry 1: paraphrases is 'tea'; it must be"),
        (
            f"train:\n- {ONE}\nheld_out:\n- {ONE.replace('id: a', 'id: b').replace('t: tea', 't: TEA')}\n",
            "mine.yaml:4: held_out entry 1: 'b' asks for what ",
        ),
        (
            "train:\n- {id: a, kind: pattern, argument: '(a+)+', instruction: As., short: as}\n",
            "mine.yaml:2: train entry 1: constraint 'a': argument is '(a+)+'; the regular expression repeats a group",
        ),
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
