"""Instructions for Ghost Attention outside the embedded world: built-in ones, or a user's YAML file."""

from __future__ import annotations

from pathlib import Path

from alignment.constraint import Constraint, constraint_from_json
from alignment.errors import DataError, RecipeError, UsageError
from alignment.strict_yaml import read_yaml
from alignment.text.chat import MARKERS

_HOBBIES = ("tennis", "cooking", "chess", "sailing", "painting", "hiking")
_FIGURES = (("pirate", "arr"), ("butler", "sir"), ("robot", "beep"), ("king", "royal"))
_UNSEEN_HOBBIES = ("football", "music")


def builtin_constraints() -> tuple[list[Constraint], list[Constraint]]:
    """Instructions to train on and unseen ones to test with; all are checked by words alone.

    The paper's kinds are hobbies, languages and public figures; a check without a model needs words.
    """
    seen = [_hobby(hobby) for hobby in _HOBBIES]
    seen += [
        Constraint(
            id=f"figure-{role}",
            kind="contains",
            argument=word,
            instruction=f"Act as a {role}: say the word {word} in every answer.",
            short=f"Figure: {role} ({word})",
        )
        for role, word in _FIGURES
    ]
    seen += [_brief(20), _brief(40)]
    return seen, [*(_hobby(hobby) for hobby in _UNSEEN_HOBBIES), _brief(30)]


def read_constraints(path: Path) -> tuple[list[Constraint], list[Constraint]]:
    """Read a YAML file with the lists `train` and (optional) `held_out` of constraints.

    Each entry has id, kind, argument, instruction, short and, where wanted, paraphrases; one of kind `combined` has
    `parts`, the ids of entries before it that do not contradict each other, and may leave the texts to them.  The
    file is read as strictly as a recipe is: no aliases, no key twice, bounded in size and depth.

    Raises:
        DataError: the file cannot be read, or an entry is no constraint, contradicts itself, holds a marker of the chat
            format, has an id that another has, or is held out and asks for what is trained; names file and line.
    """
    try:
        _, document = read_yaml(path, what="file of constraints")
    except (RecipeError, UsageError) as error:
        raise DataError(str(error)) from None
    if document.problems:
        raise DataError("\n".join(map(str, document.problems)))
    tree = document.value
    if not isinstance(tree, dict) or not isinstance(tree.get("train"), list) or not tree["train"]:
        raise DataError(f"{path} has no list `train` of constraints")
    if extra := sorted(tree.keys() - {"train", "held_out"}):
        raise DataError(f"{path}:{document.line_of((extra[0],))}: {extra[0]} is unknown; right are train and held_out")
    places: dict[str, str] = {}  # id -> where it stands
    known: dict[str, Constraint] = {}
    trained: dict[tuple[tuple[str, str], ...], str] = {}  # what is asked for -> where
    groups: dict[str, list[Constraint]] = {"train": [], "held_out": []}
    for key, group in groups.items():
        entries = tree.get(key) or []
        if not isinstance(entries, list):
            raise DataError(f"{path}:{document.line_of((key,))}: {key} is no list of constraints")
        for i, entry in enumerate(entries):
            where = f"{path}:{document.line_of((key, i))}: {key} entry {i + 1}"
            if not isinstance(entry, dict):
                raise DataError(f"{where} is {entry!r:.80}; it must be a mapping with id, kind, instruction, short")
            constraint = constraint_from_json(entry, where, known)
            _check_texts(constraint, where)
            if constraint.id in places:
                raise DataError(
                    f"{where}: id {constraint.id!r} is also that of {places[constraint.id]}; give each its own"
                )
            if key == "held_out" and constraint.asks in trained:
                raise DataError(
                    f"{where}: {constraint.id!r} asks for what {trained[constraint.asks]} asks for, which is trained; "
                    f"give it another value"
                )
            places[constraint.id], known[constraint.id] = where, constraint
            if key == "train":
                trained[constraint.asks] = where
            group.append(constraint)
    return groups["train"], groups["held_out"]


def _check_texts(constraint: Constraint, where: str) -> None:
    for key, value in constraint.to_json().items():
        for marker in MARKERS:
            if marker in str(value):
                raise DataError(f"{where}: {key} holds {marker!r}, a marker of the chat format; write it without")


def _hobby(hobby: str) -> Constraint:
    return Constraint(
        id=f"hobby-{hobby}",
        kind="contains",
        argument=hobby,
        instruction=f"You enjoy {hobby}. Mention {hobby} in every answer.",
        short=f"Hobby: {hobby}",
    )


def _brief(words: int) -> Constraint:
    return Constraint(
        id=f"brief-{words}",
        kind="max_words",
        argument=words,
        instruction=f"Answer in at most {words} words.",
        short=f"Words: at most {words}",
    )
