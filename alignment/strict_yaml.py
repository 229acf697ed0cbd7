"""Strict YAML for what users write: YAML 1.2 scalars, line numbers kept, nothing that runs, loops or explodes.

Built on PyYAML's event stream: no constructors, so no tag can make an object; no recursion, so no
depth can overflow; anchors and aliases are refused, so nothing can expand.  Numbers follow the YAML
1.2 core schema (`1e-5` is a float, `1_000` and dates are text), only `true` and `false` are booleans
(`no` and `on` are text), and a key given twice is an error.  No torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alignment.errors import Problem, RecipeError, UsageError
from alignment.store.regular import open_regular

MAX_BYTES = 1_000_000  # a page or some, not a data file
MAX_VALUES = 20_000
MAX_DEPTH = 40
MAX_INTEGER = 2**63  # what every reader of JSON and every numeric library can hold

KeyPath = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")  # no file name, JSON or terminal can hold them
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True, kw_only=True)
class YamlDocument:
    """A parsed document.

    Attributes:
        value: plain values: dict, list, str, int, float, bool, None.
        lines: path of every key and list item -> the 1-based line where it stands; () is the document.
        problems: what is wrong although it could be read (double keys, tags, anchors, odd numbers).
    """

    value: Any
    lines: Mapping[KeyPath, int]
    problems: tuple[Problem, ...]

    def line_of(self, path: KeyPath) -> int:
        """The line of the longest known beginning of `path`."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1


def dotted(path: KeyPath) -> str:
    """A path as people write it: `sft.data.sources.0.path`."""
    return ".".join(str(part) for part in path)


def read_yaml(path: Path, *, what: str = "recipe") -> tuple[str, YamlDocument]:
    """Read a file.

    Args:
        what: what it is, for messages.

    Returns:
        Its text and what it holds.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        RecipeError: it is no YAML at all; one problem with file and line.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; a {what} is a .yaml file")
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{what} {str(path)!r} cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise _whole(
            f"{path}:1", f"the file is over {MAX_BYTES:,} bytes; a {what} is smaller, data belongs into data files"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _whole(
            f"{path}:{line}", f"byte 0x{data[error.start]:02x} is not UTF-8; save the {what} as UTF-8"
        ) from None
    return text, parse_yaml(text, name=str(path), what=what)


def parse_yaml(text: str, *, name: str, what: str = "recipe") -> YamlDocument:
    """Parse one YAML document.

    Args:
        text: the document.
        name: stands before the line in every problem.
        what: what it is, for messages.

    Raises:
        RecipeError: a syntax error, a second document, or more values or depth than a recipe has.
    """
    builder = _Builder(name, what)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise _whole(
            f"{name}:{line}", f"character U+{_code(error.character):04X} is not allowed in YAML; remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _whole(f"{name}:{mark.line + 1 if mark else 1}", _sentence(error)) from None
    except (yaml.YAMLError, ValueError, IndexError) as error:  # PyYAML lets a few of its own slips through
        raise _whole(f"{name}:1", f"is not YAML: {error}") from None
    return YamlDocument(value=builder.value, lines=builder.lines, problems=tuple(builder.problems))


def parse_scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema.

    Raises:
        ValueError: a number that is not finite or beyond 64 bits; the message is a sentence.
    """
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number")
    number: int | float
    if _OCTAL_OR_HEX.fullmatch(text) and len(text) <= 40:
        number = int(text, 0)
    elif _INTEGER.fullmatch(text):
        number = int(text) if len(text) <= 40 else MAX_INTEGER
    elif _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"{text[:40]} is too large for a number")
        return number
    else:
        return text
    if abs(number) >= MAX_INTEGER:
        raise ValueError(f"{text[:40]} is beyond a 64-bit integer")
    return number


@dataclass(kw_only=True)
class _Open:
    """A mapping or list that is not closed yet."""

    path: KeyPath
    value: dict[str, Any] | list[Any]
    key: str | None = None  # the mapping's key that waits for its value
    skip: bool = False  # what comes is not kept (the value of a double key)
    seen: dict[str, int] = field(default_factory=dict)


class _Builder:
    """Turns events into plain values and keeps lines."""

    def __init__(self, name: str, what: str) -> None:
        self.name, self.what = name, what
        self.value: Any = None
        self.lines: dict[KeyPath, int] = {(): 1}
        self.problems: list[Problem] = []
        self._open: list[_Open] = []
        self._num_values = 0
        self._num_documents = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._num_documents += 1
            if self._num_documents > 1:
                raise _whole(f"{self.name}:{line}", f"a second document begins here; a {self.what} is one document")
        elif isinstance(event, yaml.AliasEvent):
            self._problem(line, f"the alias *{event.anchor} is not allowed; write the values out")
            self._place(None, line)
        elif isinstance(event, yaml.NodeEvent):
            self._count(line)
            self._refuse_decoration(event, line)
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event, line)
            else:
                self._begin({} if isinstance(event, yaml.MappingStartEvent) else [], line)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._open.pop()

    def _count(self, line: int) -> None:
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            raise _whole(f"{self.name}:{line}", f"more than {MAX_VALUES:,} values; a {self.what} is smaller")
        if len(self._open) > MAX_DEPTH:
            raise _whole(f"{self.name}:{line}", f"nested more than {MAX_DEPTH} levels deep; a {self.what} is flatter")

    def _refuse_decoration(self, event: yaml.NodeEvent, line: int) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            self._problem(line, f"the tag {tag!r} is not allowed; a {self.what} holds plain values only")
        if event.anchor is not None:
            self._problem(line, f"the anchor &{event.anchor} is not allowed; write the values out")

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if odd := _UNWRITABLE.search(event.value):
            self._problem(line, f"character U+{ord(odd.group()):04X} cannot stand in a {self.what}; remove it")
            event.value = _UNWRITABLE.sub("", event.value)
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event.value, line)
            return
        value: Any = event.value
        if event.implicit[0]:
            try:
                value = parse_scalar(event.value)
            except ValueError as error:
                self._problem(line, str(error), path=self._path_of_next())
                value = None
        self._place(value, line)

    def _key(self, top: _Open, key: str, line: int) -> None:
        top.key = key
        if key in top.seen:
            first = top.seen[key]
            self._problem(line, f"the key stands twice, first at line {first}; keep one", path=(*top.path, key))
            top.skip = True
        else:
            top.seen[key] = line
            self.lines[(*top.path, key)] = line

    def _begin(self, value: dict[str, Any] | list[Any], line: int) -> None:
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise _whole(
                f"{self.name}:{line}", "a list or mapping stands where a key is expected; keys are plain words"
            )
        path, dropped = self._path_of_next(), top is not None and top.skip
        self._place(value, line)
        if dropped:  # read on, so that its end is found, but under a path that nothing else has
            path = (*path, "(second)")
        self._open.append(_Open(path=path, value=value))

    def _place(self, value: Any, line: int) -> None:
        if not self._open:
            self.value = value
            self.lines[()] = line
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            self.lines[(*top.path, len(top.value))] = line
            top.value.append(value)
            return
        if top.key is None:  # an alias as a key
            top.key, top.skip = "", True
            return
        if not top.skip:
            top.value[top.key] = value
        top.key, top.skip = None, False

    def _path_of_next(self) -> KeyPath:
        if not self._open:
            return ()
        top = self._open[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return (*top.path, top.key or "")

    def _problem(self, line: int, message: str, path: KeyPath | None = None) -> None:
        key = dotted(self._path_of_next() if path is None else path)
        self.problems.append(Problem(where=f"{self.name}:{line}", key=key, message=message))


def _sentence(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or "is not YAML").strip()
    if "'\\t'" in problem or "found a tab" in problem:
        return "a tab stands where YAML wants spaces; indent with spaces"
    hints = {
        "mapping values are not allowed": "a ': ' stands inside an unquoted value, or the line is indented wrongly",
        "could not find expected ':'": "a key without ': ' after it (or a value that began on the line before)",
        "expected <block end>": "the indentation does not fit the lines above",
        "did not find expected": "a bracket, comma or quote is missing",
    }
    for start, hint in hints.items():
        if problem.startswith(start):
            return f"is not YAML here: {hint}"
    return f"is not YAML here: {problem}" + (f" ({error.context})" if error.context else "")


def _code(character: object) -> int:
    return character if isinstance(character, int) else ord(str(character)[:1] or "\0")


def _whole(where: str, message: str) -> RecipeError:
    return RecipeError([Problem(where=where, key="", message=message)])
