"""Wrong versions of every loss, advantage and KL function: do the tests notice?

`python -m tests.house.mutants` writes each mutant of `mutant_table.py` into its function in a forked child, runs the
tests that guard the function, and prints which mutants survive.  It ends with 1 if any does.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 60


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A function, the tests that guard it, and its wrong versions.

    Attributes:
        name: "module:function" or "module:Class.method".
        tests: files or folders, from the repository's root.
        changes: (text in the function, what stands there instead), each text exactly once in the function.
    """

    name: str
    tests: tuple[str, ...]
    changes: tuple[tuple[str, str], ...]


def source_of(name: str) -> str:
    """A function's source text."""
    return inspect.getsource(_find(name)[1])


def mutate(name: str, old: str, new: str) -> None:
    """Replace a function's code by a wrong version of it, in this process; "" for "" changes nothing.

    Raises:
        ValueError: the old text does not stand exactly once in the function, or the new one makes no Python.
    """
    if not old and not new:
        return
    module, function = _find(name)
    text = inspect.getsource(function)
    if text.count(old) != 1:
        raise ValueError(f"{name} holds {old!r} {text.count(old)} times; the table needs exactly once")
    whole = inspect.getsource(module)
    try:
        code = compile(whole.replace(text, text.replace(old, new)), module.__file__ or name, "exec")
    except SyntaxError as error:
        raise ValueError(f"{name}: {new!r} makes no Python: {error}") from None
    space: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    exec(code, space)  # noqa: S102  our own source with one text changed
    wrong: Any = space
    for part in name.split(":")[1].split("."):
        wrong = wrong[part] if isinstance(wrong, dict) else inspect.getattr_static(wrong, part)
    wrong = inspect.unwrap(wrong.__func__ if isinstance(wrong, staticmethod) else wrong)
    function.__code__, function.__defaults__ = wrong.__code__, wrong.__defaults__
    function.__kwdefaults__ = wrong.__kwdefaults__


def _find(name: str) -> tuple[ModuleType, FunctionType]:
    module_name, _, path = name.partition(":")
    module = importlib.import_module(module_name)
    found: Any = module
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    return module, inspect.unwrap(found.__func__ if isinstance(found, staticmethod) else found)


def is_killed(guarded: Guarded, old: str, new: str) -> bool:
    """Whether the tests fail (or hang) with that mutant; runs them in a forked child."""
    child = os.fork()
    if child == 0:
        os._exit(_run_tests(guarded, lambda: mutate(guarded.name, old, new)))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 70:
        raise ValueError(f"{guarded.name}: {old!r} -> {new!r} cannot be written; run it by hand to see why")
    if code not in (0, 1, 2) and code > 0:
        raise ValueError(f"{guarded.name}: pytest ended with {code}; are {guarded.tests} there?")
    return code != 0  # a child killed by its alarm counts as killed


def _run_tests(guarded: Guarded, change: Callable[[], None]) -> int:
    import signal

    import pytest

    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        change()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 70
    os.dup2(nothing, 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(TIMEOUT)
    arguments = ["-x", "-q", "--no-header", "--hypothesis-seed=0", "-p", "no:warnings", *guarded.tests]
    return int(pytest.main(arguments))


def warm_up(guarded: Sequence[Guarded]) -> None:
    """Import once what every child needs."""
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    import pytest

    import tests.conftest  # noqa: F401  sets the environment

    for name in {entry.name.split(":")[0] for entry in guarded}:
        importlib.import_module(name)
    importlib.import_module("trl")
    assert pytest


def main() -> int:
    """Try every mutant and print the table."""
    from tests.house.mutant_table import TABLE

    parser = argparse.ArgumentParser(prog="python -m tests.house.mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="functions whose name holds one of these words")
    asked = parser.parse_args()
    table = [entry for entry in TABLE if not asked.only or any(word in entry.name for word in asked.only)]
    warm_up(table)
    began, survivors, tried = time.monotonic(), 0, 0
    for entry in table:
        if is_killed(entry, "", ""):
            print(f"{entry.name}: its tests {', '.join(entry.tests)} fail without any mutant", flush=True)
            return 2
        alive = [(old, new) for old, new in entry.changes if not is_killed(entry, old, new)]
        survivors += len(alive)
        tried += len(entry.changes)
        print(f"{entry.name:58} {len(entry.changes) - len(alive):3} of {len(entry.changes):3} killed", flush=True)
        for old, new in alive:
            print(f"    survives: {old!r} -> {new!r}", flush=True)
    print(
        f"{tried - survivors} of {tried} mutants of {len(table)} functions killed in {time.monotonic() - began:.0f} s"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
