"""JSON lines that carry their own checksum, so that a changed bit is found where it is.  No torch.

    {"step":3,"loss":2.5,"sha256":"0f6a…"}

The last member is the first 16 hexadecimal digits of SHA-256 over the line's bytes before it.  It is an ordinary
member: whatever reads JSON Lines reads these.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

KEY = "sha256"
_TAIL = re.compile(rb',?"sha256":"([0-9a-f]{16})"\}\Z')


class BrokenSeal(ValueError):
    """A line's checksum does not fit what stands before it."""


def sealed_line(record: Mapping[str, Any]) -> bytes:
    """One record as a line with its checksum, the line's end included.

    Raises:
        ValueError: the record holds NaN or an infinity, or a member that is called as the checksum is.
    """
    if KEY in record:
        raise ValueError(f"a record's member cannot be called {KEY!r}: that is its checksum's name")
    text = json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    body = text[:-1].encode("utf-8", errors="backslashreplace")  # a lone surrogate becomes its escape
    comma = b"," if record else b""
    return body + comma + f'"{KEY}":"{_checksum(body)}"}}\n'.encode()


def unseal(line: bytes) -> tuple[Any, bool]:
    """A line's value without its checksum, and whether it had one.

    Args:
        line: without the line's end.

    Raises:
        BrokenSeal: the checksum does not fit.
        ValueError, RecursionError: the line is not JSON.
    """
    tail = _TAIL.search(line)
    if tail is None:
        return json.loads(line), False
    body = line[: tail.start()]
    if _checksum(body) != tail.group(1).decode():
        raise BrokenSeal("its checksum does not fit its content")
    return json.loads(body + b"}"), True


def _checksum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]
