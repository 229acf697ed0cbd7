"""A recipe of one's own, begun from a shipped one: the same text under another name, or commented and with own chats.

Works on the text and not on the values, so that the shipped recipe's comments and order stay.  No torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from alignment.strict_yaml import KeyPath, YamlDocument, parse_yaml
from recipes.reading.problems import schema_keys
from recipes.reading.schema import AFTER_CHATS, CHATS, EVALUATION, MEASURES_REWARDS, Recipe

_WIDEST = 120  # characters of a line with its comment
_DATA = (
    "  data:",
    "    # chats in any form of docs/data.md (Alpaca, ShareGPT, messages, …), also .json .csv .parquet; a row that",
    "    # cannot be read is set aside with its file, line and reason; the path is seen from where align is called",
    "    train: [{path: PATH}]",
    "    held_out_fraction: 0.1   # of the prompts, kept from training: what the stage and `evaluate` are measured on",
)


def renamed(text: str, name: str) -> str:
    """A shipped recipe under another name, which is its run's folder too."""
    return re.sub(r"(?m)^name:.*$", f"name: {_scalar(name)}", text, count=1)


def begun_recipe(text: str, *, origin: str, name: str, file: str, data: str | None) -> str:
    """A shipped recipe made one's own: every key with what it means and, where chats are given, SFT on them.

    Args:
        text: the shipped recipe.
        origin: its name.
        name: the new recipe's.
        file: where it will stand, for the commands in its head.
        data: a path or glob of chats; the stages after SFT, whose data it does not say, are then commented out.
    """
    sections = _sections(_explained(text))
    lines = [line.format(origin=origin, name=name, file=file) for line in _HEAD]
    passive: list[str] = []
    for key, body in sections:
        if key == "name":
            body = [f"name: {_scalar(name)}"]
        elif key == "description":
            body = [f"description: Begun from the shipped recipe {origin}."]
        elif key == CHATS and data is not None:
            body = list(_with_data(body, data))
        elif key == EVALUATION and data is not None:
            body = list(_commented(body, MEASURES_REWARDS))
        if data is not None and key in AFTER_CHATS:
            passive += [f"# {line}".rstrip() for line in body]
        else:
            lines += body
    if passive:
        lines = [*_stripped(lines), "", *_PASSIVE, *passive]
    return "\n".join(_stripped(lines)) + "\n"


_HEAD = (
    "# yaml-language-server: $schema=./recipe.schema.json",
    "# {name}: begun by `align init` from the shipped recipe {origin}.  A key that is left out has its default;",
    "# `align schema` explains every key (`align schema > recipe.schema.json` lets editors complete them).",
    "#",
    "#   align check {file}   reads the data, counts, shows rows and loss masks; trains nothing",
    "#   align run {file}     every stage, into runs/{name}; the same command goes on after Ctrl-C",
)
_PASSIVE = (
    "# The stages after SFT, not run yet: take the `# ` away, section by section and in this order, and say their",
    "# data.  As they stand they read what the shipped recipe reads.",
)


def _explained(text: str) -> str:
    """Every line that sets a key and has no comment gets the key's description, where it fits."""
    document = parse_yaml(text, name="recipe")
    described = {path: info.description for path, info in schema_keys(Recipe)}
    lines = text.splitlines()
    for number, path in _first_keys(document):
        said = described.get(tuple("*" if isinstance(part, int) else part for part in path))
        line = lines[number - 1]
        explained = f"{line:<23} # {said}"
        if said and "#" not in line and len(explained) + len("# ") <= _WIDEST:  # the line may be commented out
            lines[number - 1] = explained
    return "\n".join(lines)


def _first_keys(document: YamlDocument) -> Iterator[tuple[int, KeyPath]]:
    """The shortest key of every line."""
    shortest: dict[int, KeyPath] = {}
    for path, line in document.lines.items():
        if path and (line not in shortest or len(path) < len(shortest[line])):
            shortest[line] = path
    yield from shortest.items()


def _sections(text: str) -> list[tuple[str, list[str]]]:
    """The top-level keys with their lines, what stands above the first left out."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if begins := re.match(r"(\w+):", line):
            found.append((begins.group(1), []))
        if found:
            found[-1][1].append(line)
    return found


def _with_data(body: list[str], data: str) -> Iterator[str]:
    """A section's lines with its `data:` said anew."""
    inside = False
    for line in body:
        if re.match(r"  data:", line):
            inside = True
            yield from (own.replace("PATH", _quoted(data)) for own in _DATA)
        elif inside and (line.startswith("   ") or not line.strip()):
            continue
        else:
            inside = False
            yield line
    if inside:
        yield ""


def _commented(body: list[str], key: str) -> Iterator[str]:
    """A section's lines, one of its keys commented out with what stands below it."""
    inside = False
    for line in body:
        if re.match(r"  \S", line):
            inside = line.startswith(f"  {key}:")
        yield f"  # {line[2:]}" if inside and line.strip() else line


def _quoted(text: str) -> str:
    """A text as YAML reads it back, whatever it holds; a plain `${` stays one."""
    return json.dumps(text.replace("${", "$${"), ensure_ascii=False)


def _scalar(name: str) -> str:
    """A recipe's name: plain where it reads as text."""
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) else json.dumps(name)


def _stripped(lines: list[str]) -> list[str]:
    """Without blank lines at the end."""
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    return lines[:end]
