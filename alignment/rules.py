"""How an instruction is checked: one function a rule, which looks at the answer's text alone.

What counts: a word is a run of letters and digits (an apostrophe or hyphen may stand within); words are compared
without regard to case and to the signs around them.  A sentence ends at `.`, `!`, `?` or `…` before a blank or the
end, and at the end of a line; so "Mr. Hill" makes two, which is said rather than guessed at.  The number or dash
that begins an item of a list is no part of a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Rule = Literal[
    "ends_with",
    "starts_with",
    "contains",
    "never_word",
    "max_words",
    "uppercase",
    "lowercase",
    "min_words",
    "max_sentences",
    "min_sentences",
    "sentences",
    "numbered_list",
    "bullet_list",
    "closing",
    "greeting",
    "quoted",
    "no_comma",
    "no_digit",
    "contains_twice",
    "question",
    "pattern",
    "combined",
]
RULES: tuple[Rule, ...] = get_args(Rule)
Takes = Literal["words", "number", "nothing", "pattern", "parts"]
Argument = str | int

LONGEST_PATTERN = 200  # characters of a regular expression
LONGEST_MATCHED = 2_000  # characters of an answer that a regular expression is tried on; a longer one does not follow
_MOST_WAYS = 10**10  # to try an expression on an answer, at worst: two open repeats

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_ITEM = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•])[ \t]+", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*(\d+)[.)][ \t]+\S", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*[-*•][ \t]+\S", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?:\s+|$)|\n+")
_QUOTES = {'"': '"', "“": "”", "«": "»", "‘": "’", "'": "'"}
_OPENING, _CLOSING = "".join(_QUOTES), "".join(_QUOTES.values())


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def sentences(text: str) -> list[str]:
    """The sentences of a text that hold a word, without their last sign."""
    return [part for part in _SENTENCE_END.split(_ITEM.sub("", text)) if words(part)]


def holds(found: Sequence[str], wanted: Sequence[str]) -> int:
    """How often words stand one after the other among others, no two places overlapping."""
    times = at = 0
    while at + len(wanted) <= len(found):
        hit = list(found[at : at + len(wanted)]) == list(wanted)
        times += hit
        at += len(wanted) if hit else 1
    return times


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule.

    Attributes:
        takes: what its argument is.
        kept: whether an answer that holds a word follows it.
    """

    takes: Takes
    kept: Callable[[str, Argument], bool]


def _ends(answer: str, wanted: Argument) -> bool:
    last = words(str(wanted))
    return words(answer)[-len(last) :] == last


def _starts(answer: str, wanted: Argument) -> bool:
    first = words(str(wanted))
    return words(answer)[: len(first)] == first


def _numbered(answer: str, least: Argument) -> bool:
    numbers = [int(found) for found in _NUMBERED.findall(answer)]
    return len(numbers) >= int(least) and numbers == list(range(1, len(numbers) + 1))


def _closes(answer: str, wanted: Argument) -> bool:
    """The last sentence is the wanted one, and something comes before it."""
    found = sentences(answer)
    return len(found) > 1 and words(found[-1]) == words(str(wanted))


def _greets(answer: str, wanted: Argument) -> bool:
    """The greeting, a sign, and then something more."""
    first = words(str(wanted))
    head = r"\W+".join(re.escape(word) for word in first)
    said = answer.lstrip(_OPENING + " \t\n")
    match = re.match(rf"{head}\s*[,!.:;—–-]", said, flags=re.IGNORECASE)
    return match is not None and bool(words(said[match.end() :]))


def _is_quoted(answer: str, _: Argument) -> bool:
    """One pair of quotation marks around all of it, and no other of the pair within."""
    text = answer.strip()
    close = _QUOTES.get(text[:1], "")
    within = text[1:-1]
    if not close or len(text) < 3 or text[-1] != close:
        return False
    if close in "'’":  # an apostrophe within a word is none
        within = re.sub(r"(?<=\w)['’](?=\w)", "", within)
    return text[0] not in within and close not in within


def _matches(answer: str, pattern: Argument) -> bool:
    return len(answer) <= LONGEST_MATCHED and re.search(str(pattern), answer) is not None


_CHECKS: Mapping[Rule, Check] = {
    "ends_with": Check(takes="words", kept=_ends),
    "starts_with": Check(takes="words", kept=_starts),
    "contains": Check(takes="words", kept=lambda a, w: holds(words(a), words(str(w))) > 0),
    "never_word": Check(takes="words", kept=lambda a, w: not holds(words(a), words(str(w)))),
    "contains_twice": Check(takes="words", kept=lambda a, w: holds(words(a), words(str(w))) > 1),
    "greeting": Check(takes="words", kept=_greets),
    "closing": Check(takes="words", kept=_closes),
    "max_words": Check(takes="number", kept=lambda a, n: len(words(a)) <= int(n)),
    "min_words": Check(takes="number", kept=lambda a, n: len(words(a)) >= int(n)),
    "max_sentences": Check(takes="number", kept=lambda a, n: len(sentences(a)) <= int(n)),
    "min_sentences": Check(takes="number", kept=lambda a, n: len(sentences(a)) >= int(n)),
    "sentences": Check(takes="number", kept=lambda a, n: len(sentences(a)) == int(n)),
    "numbered_list": Check(takes="number", kept=_numbered),
    "bullet_list": Check(takes="number", kept=lambda a, n: len(_BULLET.findall(a)) >= int(n)),
    "uppercase": Check(takes="nothing", kept=lambda a, _: a.upper() == a and a.lower() != a),
    "lowercase": Check(takes="nothing", kept=lambda a, _: a.lower() == a and a.upper() != a),
    "quoted": Check(takes="nothing", kept=_is_quoted),
    "no_comma": Check(takes="nothing", kept=lambda a, _: "," not in a),
    "no_digit": Check(takes="nothing", kept=lambda a, _: not any(sign.isdigit() for sign in a)),
    "question": Check(takes="nothing", kept=lambda a, _: a.rstrip(_CLOSING + " \t\n").endswith("?")),
    "pattern": Check(takes="pattern", kept=_matches),
}


def kept(rule: Rule, argument: Argument, answer: str) -> bool:
    """Whether an answer follows a rule that is not `combined`; an answer without a word never does."""
    return bool(words(answer)) and _CHECKS[rule].kept(answer, argument)


def takes(rule: Rule) -> Takes:
    """What a rule's argument is."""
    return "parts" if rule == "combined" else _CHECKS[rule].takes


def argument_fault(rule: Rule, argument: object) -> str:
    """Why this is no argument of the rule; "" if it is one."""
    wanted = takes(rule)
    if wanted == "number":
        fits = isinstance(argument, int) and not isinstance(argument, bool) and argument >= 1
        return "" if fits else f"{rule} takes a number from 1"
    if wanted in ("nothing", "parts"):
        return "" if argument == "" else f'{rule} takes none ("")'
    if wanted == "pattern":
        return pattern_fault(argument)
    return "" if isinstance(argument, str) and words(argument) else f"{rule} takes a word or words"


def pattern_fault(pattern: object) -> str:
    """Why a regular expression is not taken; "" if it is.

    Python's engine cannot be stopped, so what makes it try exponentially many ways is refused: a repeated group that
    repeats or chooses within, and references back.  What is left takes at most the product of how often each part may
    repeat, which is bounded: two open repeats (`*`, `+`) are taken, or one and narrow ones (`{1,20}`) beside it.
    """
    if not isinstance(pattern, str) or not pattern:
        return "pattern takes a regular expression"
    if len(pattern) > LONGEST_PATTERN:
        return f"the regular expression has {len(pattern):,} characters; {LONGEST_PATTERN} are the most"
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"it is no regular expression: {error}"
    return _explosive(pattern)


_TOKEN = re.compile(
    r"(?P<back>\\[1-9]|\(\?P=|\(\?\()|(?P<skip>\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\()|(?P<close>\))"
    r"|(?P<choice>\|)|(?P<maybe>\?)|(?P<repeat>[*+]|\{\d*,?\d*\})|(?P<other>.)",
    re.DOTALL,
)


def _explosive(pattern: str) -> str:
    inner = [False]  # of every group that is open: whether it repeats or chooses within
    closed, ways, before = False, LONGEST_MATCHED, ""  # whether what stands just before is such a group
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup or ""
        if kind == "back":
            return "the regular expression refers back to a group; write it without"
        if kind == "repeat":
            low, high = _times(token.group())
            if closed and high > 1:
                return "the regular expression repeats a group that repeats or chooses within; write it flat"
            ways *= high - low + 1
            inner[-1] = inner[-1] or high > low
        elif kind == "choice":
            inner[-1] = True
        elif kind == "maybe" and before != "open":
            ways *= 2
        elif kind == "open":
            inner.append(False)
        closed = False
        if kind == "close" and len(inner) > 1:
            closed = inner.pop()
            inner[-1] = inner[-1] or closed
        before = kind
    if ways > _MOST_WAYS:
        return "the regular expression repeats too much; two of * and + are the most, and {1,20} costs less than +"
    return ""


def _times(repeat: str) -> tuple[int, int]:
    """How often a repeat repeats, at least and at most."""
    if repeat in "*+":
        return int(repeat == "+"), LONGEST_MATCHED
    low, _, high = repeat[1:-1].partition(",")
    least = int(low or 0)
    if "," not in repeat:
        return least, least
    return least, int(high) if high else max(least, LONGEST_MATCHED)
