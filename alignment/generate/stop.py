"""An answer's text, and stop texts: where it first holds one, and which tokens stand before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
_SLACK = 8  # tokens that may decode to nothing (control tokens, half characters)


def text_of(tokens: Sequence[int], eos_ids: Sequence[int], decode: Decode | None) -> str | None:
    """An answer's text without its end token; None where nothing decodes."""
    if decode is None:
        return None
    return decode(tokens[:-1] if tokens and tokens[-1] in eos_ids else tokens)


def find_stop(tokens: Sequence[int], stops: Sequence[str], decode: Decode) -> int | None:
    """Look for a stop text that the newest token completed.

    Only a tail that can hold the longest stop text is decoded first, so that a long answer is not
    decoded whole at every token; every token but a few gives at least one byte of text.

    Args:
        tokens: the answer so far.
        stops: texts, none of them empty.
        decode: tokens to text.

    Returns:
        How many tokens to keep: those whose text ends before the stop text begins; None without one.
    """
    longest = max(len(stop.encode()) for stop in stops)
    tail = decode(tokens[-(longest + _SLACK) :])
    if not any(stop in tail for stop in stops):
        return None
    text = decode(tokens)
    found = [start for stop in stops if (start := text.find(stop)) >= 0]
    if not found:
        return None
    begin = min(found)
    kept = len(tokens)
    while kept and len(decode(tokens[:kept])) > begin:
        kept -= 1
    return kept
