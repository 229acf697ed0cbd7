"""The loader reads plain values with their lines and refuses everything clever."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.errors import RecipeError, UsageError
from alignment.strict_yaml import MAX_BYTES, parse_scalar, parse_yaml, read_yaml


def problems(text: str) -> list[str]:
    """Everything that the loader says against a text."""
    try:
        return [str(problem) for problem in parse_yaml(text, name="r.yaml").problems]
    except RecipeError as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("+.5", 0.5),
        ("12.", 12.0),
        ("-3", -3),
        ("007", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("True", "True"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("1e", "1e"),
        (".", "."),
    ],
)
def test_plain_scalars_follow_the_yaml_1_2_core_schema(text: str, value: object) -> None:
    found = parse_scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "9223372036854775808", "9" * 5000, "0x" + "f" * 30])
def test_numbers_that_no_reader_could_hold_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"finite|large|64-bit"):
        parse_scalar(text)


def test_quoted_scalars_stay_text() -> None:
    document = parse_yaml("a: '1e-5'\nb: \"true\"\n", name="r.yaml")
    assert document.value == {"a": "1e-5", "b": "true"}


def test_every_key_and_item_keeps_its_line() -> None:
    document = parse_yaml("a:\n  b: 1\n  c:\n  - x\n  - d: 2\n", name="r.yaml")
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "d"): 5,
    }
    assert document.line_of(("a", "c", 1, "no such")) == 5


def test_a_key_given_twice_is_told_with_both_lines_and_the_first_is_kept() -> None:
    document = parse_yaml("a: 1\nb: {x: 1}\na: {y: 2}\n", name="r.yaml")
    assert document.value == {"a": 1, "b": {"x": 1}}
    assert [str(p) for p in document.problems] == ["r.yaml:3: a: the key stands twice, first at line 1; keep one"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object/apply:os.system ['touch /tmp/canary']\n", "the tag"),
        ("a: !include other.yaml\n", "the tag"),
        ("a: &x [1]\nb: *x\n", "the anchor &x"),
        ("a: &x [1]\nb: *x\n", "the alias *x"),
        ("a:\n\tb: 1\n", "indent with spaces"),
        ("a: b: c\n", "r.yaml:1"),
        ("a: [1, 2\n", "r.yaml:2"),
        ("a: 'x\n", "r.yaml:2"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("? [a]\n: b\n", "where a key is expected"),
        ("a: 1\n  b: 2\n", "r.yaml:2"),
        ('a: "\\ud800"\n', "U+D800"),
        ('a: "x\\0"\n', "U+0000"),
        ("a: \x07\n", "U+0007"),
        ("[" * 5000, "levels deep"),
        ("- " * 5000, "levels deep"),
        ("- a\n" * 25_000, "more than 20,000 values"),
    ],
)
def test_what_is_refused_is_told_with_its_line(text: str, said: str) -> None:
    assert said in "\n".join(problems(text))
    assert all(problem.startswith("r.yaml:") for problem in problems(text))


def test_a_billion_laughs_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    began = time.monotonic()
    assert any("anchor" in problem for problem in problems("\n".join(lines)))
    assert time.monotonic() - began < 2


def test_files_that_are_too_large_not_utf8_or_not_there_are_refused(tmp_path: Path) -> None:
    large, latin = tmp_path / "large.yaml", tmp_path / "latin.yaml"
    large.write_bytes(b"# " + b"x" * MAX_BYTES)
    latin.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(RecipeError, match="over 1,000,000 bytes"):
        read_yaml(large)
    with pytest.raises(RecipeError, match=r"latin\.yaml:2: byte 0xe9 is not UTF-8"):
        read_yaml(latin)
    for missing in (tmp_path / "none.yaml", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(UsageError):
            read_yaml(missing)


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_yaml(path)[1].value == {"a": 1, "b": 2}


@settings(max_examples=500, deadline=2000)
@given(st.binary(max_size=200))
def test_random_bytes_never_leave_the_errors_of_this_suite(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(data)
    told = ""
    try:
        read_yaml(path)
    except (RecipeError, UsageError) as error:  # anything else fails the test
        told = str(error)
    assert told == "" or "random.yaml" in told


@settings(max_examples=300, deadline=2000)
@given(st.text(alphabet="ab:-?[]{},&*!|>'\"%@# \n\t01.e", max_size=60))
def test_yaml_like_rubbish_is_read_as_pyyaml_reads_it_or_refused(text: str) -> None:
    try:
        document = parse_yaml(text, name="r.yaml")
    except RecipeError:
        return
    if not document.problems:  # nothing was refused: structure must be PyYAML's own, with scalars as text
        assert _texts(document.value) == _texts(yaml.load(text, Loader=yaml.BaseLoader))


def _texts(value: object) -> object:
    """A tree's shape, with every scalar replaced by one word (their types are tested elsewhere)."""
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list) else "scalar"
