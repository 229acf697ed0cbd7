"""Secrets and control characters never reach a terminal, a log or a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.masking import escape_controls, is_secret_name, mask, mask_private, mask_values, safe

ENVIRONMENT = {
    "HF_TOKEN": "hf_canary4711",
    "API_KEY": "canary-key",
    "LONG_KEY": "canary-key-long",
    "PATH": "/usr/bin",
    "K_KEY": "abc",
}


@pytest.mark.parametrize("name", ["HF_TOKEN", "api_key", "AWS_SECRET_ACCESS_KEY", "MY_SECRET", "DB_PASSWORD"])
def test_these_names_hold_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["PATH", "TOKENIZER", "ALIGNMENT_DATA", "KEYBOARD"])
def test_these_names_do_not(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token hf_canary4711 used", "token ${HF_TOKEN} used"),
        ("canary-key-long", "${LONG_KEY}"),  # the longer one first: no part of it is left
        ("https://me:pw@host/x?y=1", "https://***@host/x?y=1"),
        ("s3://key:se/cret@bucket", "s3://key:se/cret@bucket"),  # a slash ends the authority: no credentials there
        ("https://host/x?access_token=abc&y=1", "https://host/x?access_token=***&y=1"),
        ("abc /usr/bin", "abc /usr/bin"),  # too short to be told from a word; not a secret's name
        ("plain text, a=b", "plain text, a=b"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert mask(text, ENVIRONMENT) == shown


def test_the_home_folder_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert mask_private("in /home/somebody/runs") == "in ~/runs"
    assert mask_private("/home/somebody-else, /mnt/home/somebody/x") == "/home/somebody-else, /mnt/home/somebody/x"
    assert mask_private("'/home/somebody', file:///home/somebody/x.") == "'~', file://~/x."
    assert safe("in /home/somebody\x1b[2J") == "in ~\\x1b[2J"
    monkeypatch.setenv("HOME", "/")
    assert mask_private("in /home/somebody/runs") == "in /home/somebody/runs"


def test_values_are_masked_at_every_depth_and_keys_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_TOKEN", "canary-4711")
    monkeypatch.setenv("SORT_KEY", "helpfulness")
    assert mask_values({"gold.helpfulness": [{"a": "x canary-4711"}, 3, None]}) == {
        "gold.helpfulness": [{"a": "x ${X_TOKEN}"}, 3, None]
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\rb", "a\\x0db"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("two\nlines\tand ünïcode 名 🎉", "two\nlines\tand ünïcode 名 🎉"),
        ("no\xa0break", "no\xa0break"),
    ],
)
def test_control_characters_are_shown_escaped(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    shown = safe(text)
    assert all(
        (ord(character) >= 0x20 and not 0x7F <= ord(character) < 0xA0) or character in "\n\t" for character in shown
    )
    shown.encode()  # no lone surrogate either


def test_a_urls_credentials_are_masked_also_where_a_path_swallowed_a_slash() -> None:
    assert mask("https:/ada:sesame@example.org/rows", {}) == "https:/***@example.org/rows"
    assert mask("https:/example.org/a@b", {}) == "https:/example.org/a@b"
