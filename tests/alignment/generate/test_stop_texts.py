"""Where a stop text ends an answer."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from alignment.generate.stop import find_stop, text_of

PIECES = ["a", "b", "ab", "ba", "", "é", "\n", "User", ":", "bab"]


def decode(tokens: Sequence[int]) -> str:
    return "".join(PIECES[token] for token in tokens)


def test_tokens_before_the_stop_text_are_kept() -> None:
    assert find_stop([0, 6, 7, 8], ["\nUser:"], decode) == 1


def test_a_token_that_holds_the_stop_text_s_beginning_goes_as_a_whole() -> None:
    assert find_stop([1, 9], ["ab"], decode) == 1


def test_an_answer_that_begins_with_the_stop_text_keeps_nothing() -> None:
    assert find_stop([7], ["User"], decode) == 0


def test_the_earliest_of_several_stop_texts_counts() -> None:
    assert find_stop([0, 8, 7], ["User", ":"], decode) == 1


def test_without_a_stop_text_the_answer_goes_on() -> None:
    assert find_stop([0, 1, 2], ["User"], decode) is None


@given(
    tokens=st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=60),
    stops=st.lists(st.sampled_from(["ab", "ba", "é\n", "User:", "bb", "aUser"]), min_size=1, max_size=3),
)
def test_looking_at_the_tail_finds_what_looking_at_the_whole_text_finds(tokens: list[int], stops: list[str]) -> None:
    """Fed token by token, the answer ends at the token that first completes a stop text anywhere."""
    for end in range(1, len(tokens) + 1):
        text = decode(tokens[:end])
        found = find_stop(tokens[:end], stops, decode)
        begins = [text.index(stop) for stop in stops if stop in text]
        # more than a handful of empty tokens inside a stop text is beyond what the tail promises
        if tokens[max(0, end - 14) : end].count(4) > 8:
            return
        assert (found is not None) == bool(begins)
        if found is not None:
            assert len(decode(tokens[:found])) <= min(begins)
            assert found == end or len(decode(tokens[: found + 1])) > min(begins)
            return


def test_an_answers_text_leaves_out_its_end_token_alone() -> None:
    assert text_of([0, 1, 9], [9], decode) == "ab"
    assert text_of([0, 1, 9], [3], decode) == "abbab"
    assert text_of([9, 0], [9], decode) == "baba"
    assert text_of([], [9], decode) == ""
    assert text_of([0, 1], [9], None) is None
