"""How a command ends: its exit code, and errors as sentences on standard error without a secret.  No torch."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import typer

from alignment.errors import AlignmentError, Interrupted, RecipeError, Waiting
from recipes.masking import safe

EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

# typer carries its own copy of click, or uses the package, by version: the class is found through its child
_UsageError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "UsageError")
_ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def run_command(call: Callable[[], Any]) -> int:
    """Call a command and return the process's exit code; every error becomes a sentence."""
    try:
        code = call()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except AlignmentError as error:
        _tell_error(error)
        return error.exit_code
    except typer.Exit as error:
        return int(error.exit_code)
    except _ClickException as error:
        _tell(f"error: {safe(_click_sentence(error))}")
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        _tell("stopped")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # the reader went away (`align plan … | head`); keep Python from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNEXPECTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_UNEXPECTED
    except Exception as error:
        place = write_traceback(traceback.format_exc())
        _tell(f"error: {type(error).__name__}: {safe(str(error))[:300]}; the traceback is in {place}")
        return EXIT_UNEXPECTED


def write_traceback(text: str) -> str:
    """Put a traceback, masked and escaped, into a new file of its own and return its place."""
    handle, path = tempfile.mkstemp(prefix="align-error-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(safe(text))
    return path


def _tell_error(error: AlignmentError) -> None:
    if isinstance(error, RecipeError):
        count = len(error.problems)
        _tell(f"error: the recipe has {count} problem{'s' if count != 1 else ''}")
        for problem in error.problems:
            _tell(f"  {safe(str(problem))}")
    elif isinstance(error, Interrupted | Waiting):
        _tell(safe(str(error)))
    else:
        _tell(f"error: {safe(str(error))}")


def _tell(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except UnicodeEncodeError:  # a terminal of another encoding
        print(text.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)


def _click_sentence(error: Exception) -> str:
    format_message = getattr(error, "format_message", None)
    text = format_message() if callable(format_message) else str(error)
    return f"{text} (align --help shows what is right)"
