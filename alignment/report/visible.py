"""Characters that would change how a text looks without being seen are written out: `⟨U+202E⟩`.

Bidirectional controls can make an answer read differently from what it says; control characters
and lone surrogates cannot stand in HTML or XML at all.  Line ends and tabs stay; joiners, which
scripts and emoji need, stay too.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "["
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, embeddings, isolates
    "\u200b\u2060-\u2064\u206a-\u206f\ufeff\u00ad\u2028\u2029"  # without width, or invisible line ends
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters but tab, line feed, carriage return
    "\ud800-\udfff\ufff9-\ufffb\ufffe\uffff"  # lone surrogates, interlinear marks, no characters
    "\U000e0000-\U000e007f"  # tags: a second, unseen alphabet
    "]"
)


def visible(text: str) -> str:
    """The text with every hidden character written as its code point; line ends become `\\n`."""
    text = text.replace("\r\n", "\n").replace("\r", "⟨U+000D⟩")
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", text)
