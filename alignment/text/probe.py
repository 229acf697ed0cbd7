"""The text on which two tokenizers must give the same ids: many scripts, blanks, code, and pieces of the vocabulary.

Published merged vocabularies give all their new pieces one score.  Programs break such ties differently, but only
where two pieces of a text overlap, which plain text rarely shows: so overlapping pieces are laid together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

PROBE = (
    "The baker sells bread; isn't it 1,987 times cheaper than in 2024? (see https://example.org/a_b?c=d#e)",
    "    def add(a, b):\n        return a + b  # ---- ==== ____\n\n\n\tpass\r\n",
    " leading, trailing,  two   three    four     five      spaces ",
    "[INST] <<SYS>>\nbe brief\n<</SYS>>\n\nhi [/INST] hello ［INST］ ＡＢＣ　ﬁ ² ½ Å ㎏",
    "人工智能是计算机科学的一个分支，它企图了解智能的实质，并生产出一种新的智能机器。说是指导性的文件",
    "日本語のテキストとカタカナ、ひらがな。한국어 문장도 있습니다. ภาษาไทย हिन्दी",
    "Привет, мир! Ελληνικά κείμενο. العربية עברית Käse naïve Straße ñandú",
    "🦙🦙👩‍👩‍👧 🇫🇷 e\u0301 \u200b\u00a0\u2028 \ufeff ∑∫≈ ▁ ᚠ 𝔘 �",
    "aaaaaaaaaaaa lllllllll xxxxxxx 00000000 ........ !!!!!!",
)
_BASE = 32_000  # pieces of LLaMA's own vocabulary; what a merge added comes after
_PIECES = 256  # that many overlaps from each of the two parts, evenly over the vocabulary
_FIRST = 259  # after the special and byte pieces


def probe_texts(vocab_size: int, piece: Callable[[int], str]) -> list[str]:
    """The fixed texts, then overlapping pieces of the base vocabulary and of what lies beyond it.

    Args:
        piece: how the vocabulary writes an id.
    """
    texts = list(PROBE)
    for ids in (range(_FIRST, min(vocab_size, _BASE)), range(_BASE, vocab_size)):
        texts += _overlaps([text for text in map(piece, ids) if _is_plain(text)])
    return texts


def _overlaps(pieces: list[str]) -> list[str]:
    """Two pieces laid over each other's last and first character ("说是" and "是指": "说是指"), or side by side."""
    by_first: dict[str, list[str]] = defaultdict(list)
    for text in pieces:
        by_first[text[0]].append(text)
    step = max(1, len(pieces) // _PIECES)
    found = []
    for i, text in enumerate(pieces[::step]):
        after = by_first.get(text[-1])
        laid = text[:-1] + after[i % len(after)] if after else text + pieces[i * step - 1]
        found.append(laid.replace("▁", " "))
    return found


def _is_plain(text: str) -> bool:
    return len(text) > 1 and not (text.startswith("<") and text.endswith(">"))
