"""What must not be shown: secrets of the environment and in URLs, and control characters of a terminal.

Secrets are values of variables named `…TOKEN`, `…KEY`, `…SECRET` or `…PASSWORD`, and the user part of
a URL.  Everything that the runner prints, logs or stores as text goes through `mask`.  No torch.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_SECRET_NAME = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
# with one slash too: a path swallows the other one
_CREDENTIALS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/(?:/[^\s/@'\"]+|[^\s/@'\":]+:[^\s/@'\"]*)@")
_PARAMETER = re.compile(r"(?P<name>[?&][\w.-]*(?:token|key|secret|password|signature)=)[^&\s'\"]+", re.IGNORECASE)
_SHORTEST = 6  # a shorter value would mask ordinary words

# shown as they are: the line break and what fills a table
_KEPT = {"\n", "\t"}


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def mask(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text without secrets: values of secret variables become `${NAME}`, URL credentials `***`."""
    return _masked(text, _secrets(os.environ if environment is None else environment))


def mask_private(text: str) -> str:
    """Masked, and the home folder as `~`: what is kept in files, and shown in logs, that people pass on."""
    home = os.path.expanduser("~").rstrip("/")  # noqa: PTH111 (Path.home() raises where there is none)
    masked = mask(text)
    if len(home) < 2 or home not in masked:
        return masked
    # whole names only: the home folder is neither the end of another path nor the beginning of a neighbour's name
    return re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w-])", "~", masked)


def mask_values(value: Any) -> Any:
    """Plain JSON values with every string masked; keys are names of ours, and stay."""
    return _masked_values(value, _secrets(os.environ))


def _secrets(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Values and names, the longest value first, so that one inside another cannot survive in part."""
    found = [(value, name) for name, value in environment.items() if len(value) >= _SHORTEST and is_secret_name(name)]
    return sorted(found, key=lambda pair: (-len(pair[0]), pair[1]))


def _masked(text: str, secrets: list[tuple[str, str]]) -> str:
    for value, name in secrets:
        if value in text:
            text = text.replace(value, f"${{{name}}}")
    if ":/" in text:
        text = _CREDENTIALS.sub(_without_credentials, text)
    return _PARAMETER.sub(r"\g<name>***", text) if "=" in text else text


def _without_credentials(found: re.Match[str]) -> str:
    scheme, _, rest = found.group().partition(":/")
    return f"{scheme}:/{'/' if rest.startswith('/') else ''}***@"


def _masked_values(value: Any, secrets: list[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        return _masked(value, secrets)
    if isinstance(value, Mapping):
        return {str(key): _masked_values(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked_values(item, secrets) for item in value]
    return value


def escape_controls(text: str) -> str:
    """Text that is safe on a terminal: control, bidirectional and other invisible characters as `\\x1b` or `\\u202e`.

    Line breaks and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in _KEPT or character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe(text: str) -> str:
    """Masked (the home folder too) and escaped: what may be printed or logged."""
    return escape_controls(mask_private(text))
