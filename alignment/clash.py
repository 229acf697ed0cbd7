"""Which instructions cannot be followed at once: the table by which they are combined, at random or by hand.

Two rules at a time.  What is told is certain: no answer follows both.  What three ask for together is not worked out,
and what a regular expression asks for is not known; it stands beside anything.
"""

from __future__ import annotations

from alignment.rules import Argument, Rule, holds, words

_START = frozenset({"starts_with", "greeting"})
_END = frozenset({"ends_with", "closing"})
_SAYS = _START | _END | {"contains", "contains_twice"}
Asked = tuple[Rule, Argument]


def clash(one: Asked, other: Asked) -> str:
    """Why no answer follows both of two rules; "" where one can."""
    for (rule, argument), (rule2, argument2) in ((one, other), (other, one)):
        if fault := _fault(rule, argument, rule2, argument2):
            return fault
    return ""


def _fault(rule: Rule, argument: Argument, rule2: Rule, argument2: Argument) -> str:
    if (rule, rule2) == ("uppercase", "lowercase"):
        return "no answer is in capital and in small letters"
    if rule == "no_digit" and rule2 == "numbered_list":
        return "a numbered list holds digits"
    if rule2 in _SAYS:
        said = words(str(argument2))
        if rule == "never_word" and holds(said, words(str(argument))):
            return f"{rule2} asks for {argument2!r}, which never_word forbids"
        if rule == "no_digit" and any(sign.isdigit() for sign in str(argument2)):
            return f"{rule2} asks for {argument2!r}, which holds a digit"
        if rule in _START and rule2 in _START and not _begins(words(str(argument)), said):
            return f"an answer that begins with {argument!r} does not begin with {argument2!r}"
        if rule in _END and rule2 in _END and not _begins(words(str(argument))[::-1], said[::-1]):
            return f"an answer that ends with {argument!r} does not end with {argument2!r}"
        if rule == rule2 == "closing" and words(str(argument)) != said:
            return f"an answer whose last sentence is {argument!r} does not close with {argument2!r}"
    if rule == "max_words" and _words_needed(rule2, argument2) > int(argument):
        return (
            f"{rule2} ({argument2}) takes at least {_words_needed(rule2, argument2)} words, max_words allows {argument}"
        )
    if rule in ("max_sentences", "sentences") and _sentences_needed(rule2, argument2) > int(argument):
        needed = _sentences_needed(rule2, argument2)
        return f"{rule2} ({argument2}) takes at least {needed} sentences, {rule} allows {argument}"
    return ""


def _begins(one: list[str], other: list[str]) -> bool:
    """Whether one of the two is the beginning of the other."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _words_needed(rule: Rule, argument: Argument) -> int:
    if rule in _SAYS:
        said = len(words(str(argument)))
        return said * 2 if rule == "contains_twice" else said + (rule in ("closing", "greeting"))
    if rule in ("min_words", "min_sentences", "sentences", "bullet_list"):
        return int(argument)
    return 2 * int(argument) if rule == "numbered_list" else 1  # its numbers count as words


def _sentences_needed(rule: Rule, argument: Argument) -> int:
    if rule in ("min_sentences", "sentences", "numbered_list", "bullet_list"):
        return int(argument)
    return 2 if rule == "closing" else 1
