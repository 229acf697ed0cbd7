"""A Python function as a reward: the one place where code that a recipe names is imported.  No torch.

A recipe says `reward.helpfulness.function: module:name`; whoever runs it must allow that (`--allow-code`).  The
function takes a list of dialogues that end with the answer and returns one number for each, higher is better.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.errors import DataError, UsageError
from alignment.records import Answer, Dialogue

if TYPE_CHECKING:
    from alignment.train.compute import Compute

ScoreDialogues = Callable[[Sequence[Dialogue]], Iterable[Any]]


@dataclass(frozen=True)
class FunctionReward:
    """Scores from a function: no model, no tokens.

    Attributes:
        function: takes dialogues that end with the answer, returns one number for each.
        name: what messages call it.
    """

    function: ScoreDialogues
    name: str = "function"

    @property
    def tokenizer(self) -> None:
        """None: it reads text."""

    def score(self, dialogues: Sequence[Dialogue]) -> list[float]:
        """One number per dialogue.

        Raises:
            DataError: the function failed, or returned another count, or something that is no number.
        """
        try:
            found = list(self.function(list(dialogues)))
        except Exception as error:  # whatever a stranger's function raises
            raise DataError(f"the function {self.name} failed with {type(error).__name__}: {error}") from error
        if len(found) != len(dialogues):
            raise DataError(f"the function {self.name} returned {len(found)} scores for {len(dialogues)} dialogues")
        scores = []
        for i, value in enumerate(found):
            try:
                scores.append(float(value))
            except (TypeError, ValueError):
                raise DataError(
                    f"the function {self.name} returned {value!r:.80} as score {i}; a number is needed"
                ) from None
        return scores

    def score_answers(self, answers: Sequence[Answer], compute: Compute) -> list[float]:
        """One score per answer, in order."""
        return self.score([answer.dialogue.answered(answer.text) for answer in answers])


def load_function(named: str) -> FunctionReward:
    """Import a function by `module:name`; this runs the module, so ask whether it may first.

    The module is looked for on Python's path, then in the current folder.

    Raises:
        UsageError: there is no such module or function, or importing it fails.
    """
    module, _, attribute = named.partition(":")
    here = str(Path.cwd())
    added = [] if here in sys.path else [here]
    sys.path += added
    try:
        found = getattr(import_module(module), attribute, None)
    except Exception as error:  # whatever its code raises
        raise UsageError(f"the module of {named} cannot be imported ({type(error).__name__}: {error})") from error
    finally:
        for folder in added:
            sys.path.remove(folder)
    if not callable(found):
        raise UsageError(f"module {module} has no function {attribute!r}; reward.*.function is module:name")
    return FunctionReward(found, name=named)


def module_file(named: str) -> Path | None:
    """The file of a function's module, by its name alone: nothing is imported; None if there is none."""
    module = named.partition(":")[0]
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if isinstance(loaded, str):
        return Path(loaded)
    inner = module.replace(".", "/")
    for place in (*map(Path, sys.path), Path.cwd()):
        for file in (place / inner / "__init__.py", place / f"{inner}.py"):
            if file.is_file():
                return file
    return None
