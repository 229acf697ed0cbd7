"""Instructions for Ghost Attention outside the embedded world: built-in ones, or a user's YAML file."""

from __future__ import annotations

from pathlib import Path

import yaml

from alignment.constraint import Constraint, constraint_from_json
from alignment.errors import DataError

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

    Each entry has id, kind, argument, instruction and short.

    Raises:
        DataError: the file cannot be read, or an entry is no constraint; names the entry.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            f"{path} cannot be read as constraints ({error}); a YAML file with a list `train` is needed"
        ) from None
    if not isinstance(tree, dict) or not isinstance(tree.get("train"), list) or not tree["train"]:
        raise DataError(f"{path} has no list `train` of constraints")
    groups = []
    for key in ("train", "held_out"):
        entries = tree.get(key) or []
        made = []
        for i, entry in enumerate(entries, start=1):
            if not isinstance(entry, dict):
                raise DataError(
                    f"{path}: {key} entry {i} is {entry!r}; it must be a mapping with id, kind, instruction, short"
                )
            made.append(constraint_from_json(entry, f"{path}: {key} entry {i}"))
        groups.append(made)
    return groups[0], groups[1]


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
