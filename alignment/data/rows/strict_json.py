"""JSON of the strict kind: no NaN, no key twice, nothing after the value, not nested out of reach."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class BadJson(ValueError):
    """A text is not one JSON value of the strict kind."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason} {detail}")


def _no_constant(name: str) -> Any:
    raise BadJson("NaN or Infinity, which JSON does not have", name)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadJson("a key stands twice in one object", repr(twice))
    return value


DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_no_duplicates)


def parse_json(text: str) -> Any:
    """One strict JSON value: no NaN, no key twice, nothing after it, not nested out of reach.

    Raises:
        BadJson: with the reason in a few words.
    """
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise BadJson("more than one value on a line", f"from character {error.pos + 1}") from error
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise BadJson("the row is cut", error.msg) from error
        raise BadJson("not JSON", f"{error.msg} at character {error.pos + 1}") from error
    except RecursionError:
        raise BadJson("nested too deeply") from None
    except BadJson:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise BadJson("not JSON", str(error)) from error


@dataclass(frozen=True)
class Unreadable:
    """Stands for a table's value that Python cannot hold."""

    why: str


def name_of(value: Any) -> str:
    """What a JSON (or a table's) value is called in a message."""
    if isinstance(value, Unreadable):
        return f"unreadable ({value.why})"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else type(value).__name__)
