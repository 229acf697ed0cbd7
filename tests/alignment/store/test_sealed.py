"""A line with its checksum gives back what was written, and no changed bit passes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.store.sealed import KEY, BrokenSeal, sealed_line, unseal

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@pytest.mark.slow
@given(st.dictionaries(st.text().filter(lambda key: key != KEY), VALUES, max_size=4))
def test_a_record_comes_back_as_it_was(record: dict[str, Any]) -> None:
    line = sealed_line(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert unseal(line[:-1]) == (record, True)
    assert json.loads(line).keys() == {*record, KEY}


def test_every_flipped_bit_of_the_content_is_found() -> None:
    line = sealed_line({"token_ids": [17, 4], "text": "y"})[:-1]
    content = line.rindex(b',"sha256"')
    for bit in range(8 * content):
        damaged = bytearray(line)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BrokenSeal):
            unseal(bytes(damaged))


def test_a_line_without_a_checksum_says_so() -> None:
    assert unseal(b'{"step": 1}') == ({"step": 1}, False)


def test_a_lone_surrogate_comes_back() -> None:
    assert unseal(sealed_line({"file": "caf\udce9.jsonl"})[:-1])[0] == {"file": "caf\udce9.jsonl"}


def test_a_member_called_as_the_checksum_is_refused() -> None:
    with pytest.raises(ValueError, match="checksum's name"):
        sealed_line({KEY: "x"})
