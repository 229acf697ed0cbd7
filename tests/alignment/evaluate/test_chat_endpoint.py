"""A chat-completions endpoint over HTTP: what is asked, what is refused, and that the key is shown nowhere."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from pydantic import ValidationError

from alignment.errors import DataError, Interrupted, Unreachable, UsageError
from alignment.evaluate.chat_endpoint import ChatEndpoint
from alignment.evaluate.settings import EndpointSettings
from alignment.train.session import StopFlag
from tests.alignment.evaluate.conftest import Endpoint, RawEndpoint, Response


def test_the_endpoint_is_asked_greedily_with_the_key_from_the_environment(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    endpoint.replies = ["Hello!"]
    assert ChatEndpoint(endpoint.settings(key_variable="JUDGE_KEY")).ask("Hi") == "Hello!"
    (asked,) = endpoint.asked
    assert (asked["path"], asked["key"], asked["temperature"]) == ("/v1/chat/completions", "Bearer sesame", 0)
    assert asked["messages"] == [{"role": "user", "content": "Hi"}]


def test_an_endpoint_that_fails_is_named_and_the_key_is_not_shown(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    endpoint.replies = [404]
    chat = ChatEndpoint(endpoint.settings(key_variable="JUDGE_KEY"))
    with pytest.raises(DataError, match=f"{endpoint.url}.*404") as caught:
        chat.ask("Hi")
    assert "sesame" not in str(caught.value) + repr(chat) + repr(chat.settings)


def test_a_key_that_is_not_set_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(UsageError, match="JUDGE_KEY"):
        ChatEndpoint(EndpointSettings(model="m", key_variable="JUDGE_KEY"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_reaches_no_other_host(
    status: int, endpoint: Endpoint, other: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    endpoint.replies = [Response(status, {"Location": f"{other.url}/chat/completions"})]
    other.replies = ['{"helpfulness": 10, "safety": 10}']
    with pytest.raises(DataError, match=f"redirect {status}, which is not followed"):
        ChatEndpoint(endpoint.settings(key_variable="JUDGE_KEY")).ask("Hi")
    assert (len(endpoint.asked), other.asked) == (1, [])


GOOD = b'{"choices": [{"message": {"content": "Hello!"}}]}'
BAD_REPLIES = {
    "nothing": b"",
    "no status line": b"hello\r\n\r\n",
    "a cut body": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + GOOD,
    "a cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n" + GOOD,
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n" + GOOD,
    "a line too long": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n" + GOOD,
    "headers without an end": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 50_000,
    "a deep body": b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
    "a body of another encoding": b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe\xfa",
    "a body that is not what its head says": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nabc",
    "no completion": b"HTTP/1.1 200 OK\r\n\r\n{}",
    "a completion without text": b'HTTP/1.1 200 OK\r\n\r\n{"choices": [{"message": {"content": null}}]}',
}


@pytest.mark.parametrize("reply", BAD_REPLIES.values(), ids=BAD_REPLIES)
def test_a_bad_reply_is_an_error_of_the_data(reply: bytes, raw: RawEndpoint) -> None:
    raw.chunks = [reply]
    with pytest.raises(DataError, match=r"127\.0\.0\.1.*(does not answer|no chat completion|packed body)"):
        ChatEndpoint(raw.settings()).ask("Hi")


def test_a_plain_reply_until_the_end_of_the_connection_is_read(raw: RawEndpoint) -> None:
    raw.chunks = [b"HTTP/1.1 200 OK\r\n\r\n", GOOD]
    assert ChatEndpoint(raw.settings()).ask("Hi") == "Hello!"


@pytest.mark.parametrize("url", ["http://a b/v1", "http://a\nb/v1", "http://[::1/v1", "http://:0/v1", "http://a..b/v1"])
def test_an_address_that_no_host_can_have_is_an_error_of_the_data(url: str) -> None:
    settings = EndpointSettings.model_construct(url=url, model="m", key_variable="", timeout=5.0)
    with pytest.raises(DataError, match="does not answer"):
        ChatEndpoint(settings).ask("Hi")


def dripping(head: bytes, drop: bytes) -> Iterator[bytes]:
    yield head
    while True:
        time.sleep(0.05)
        yield drop


DRIPS = {
    "a head": dripping(b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "a body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
    "a body without a length": dripping(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD, b" "),
    "chunks": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "nothing": (time.sleep(0.05) or b"" for _ in range(40)),
}


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_a_reply_must_be_whole_within_the_timeout(drip: Iterator[bytes], raw: RawEndpoint) -> None:
    raw.chunks = drip
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"did not reply within 0\.3 seconds"):
        ChatEndpoint(raw.settings(timeout=0.3)).ask("Hi")
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("head", [b"", b"Content-Length: 3000000000\r\n"])
def test_a_reply_larger_than_any_completion_is_not_read_whole(head: bytes, raw: RawEndpoint) -> None:
    sent = 0

    def flood() -> Iterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\n" + head + b"\r\n"
        for _ in range(3000):
            sent += 1
            yield b" " * (1 << 20)

    raw.chunks = flood()
    with pytest.raises(DataError, match=r"more than 4,194,304 bytes"):
        ChatEndpoint(raw.settings()).ask("Hi")
    assert sent < 100  # MiB: what the kernel holds for a reader that went away


def test_a_packed_body_is_refused_unread(raw: RawEndpoint) -> None:
    bomb = gzip.compress(GOOD + b" " * (32 << 20))
    raw.chunks = [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", bomb]
    with pytest.raises(DataError, match="packed body"):
        ChatEndpoint(raw.settings()).ask("Hi")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_endpoint_is_asked_again_after_pauses_that_double(
    status: int, endpoint: Endpoint, paused: list[float]
) -> None:
    endpoint.replies = [status, status, status, "Hello!"]
    assert ChatEndpoint(endpoint.settings()).ask("Hi") == "Hello!"
    assert sum(paused) == pytest.approx(1 + 2 + 4)


def test_an_endpoint_that_stays_busy_is_given_up_after_five_tries(endpoint: Endpoint) -> None:
    endpoint.replies = [429] * 9
    with pytest.raises(Unreachable, match=r"busy \(status 429\)"):
        ChatEndpoint(endpoint.settings()).ask("Hi")
    assert len(endpoint.asked) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 501])
def test_an_endpoint_that_refuses_is_not_asked_again(status: int, endpoint: Endpoint) -> None:
    endpoint.replies = [status, "Hello!"]
    with pytest.raises(DataError, match=f"status {status}"):
        ChatEndpoint(endpoint.settings()).ask("Hi")
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    ("asked_for", "pause"),
    [
        ("0", 0),
        ("3", 3),
        ("7.5", 7.5),
        ("3600", 60),
        ("9" * 400, 60),
        *((odd, 1) for odd in ("soon", "-5", "nan", "", "1, 2", "Mon, 01 Jan 99999 00:00:00 GMT")),
    ],
)
def test_the_pause_is_the_one_that_a_busy_endpoint_asks_for_within_a_minute(
    asked_for: str, pause: float, endpoint: Endpoint, paused: list[float]
) -> None:
    endpoint.replies = [Response(503, {"Retry-After": asked_for}), "Hello!"]
    assert ChatEndpoint(endpoint.settings()).ask("Hi") == "Hello!"
    assert sum(paused) == pytest.approx(pause)


@pytest.mark.parametrize(("seconds", "least", "most"), [(30, 20, 30), (-30, 0, 0)])
def test_a_pause_may_be_asked_for_as_a_date(
    seconds: float, least: float, most: float, endpoint: Endpoint, paused: list[float]
) -> None:
    date = formatdate(time.time() + seconds, usegmt=True)
    endpoint.replies = [Response(503, {"Retry-After": date}), "Hello!"]
    assert ChatEndpoint(endpoint.settings()).ask("Hi") == "Hello!"
    assert least <= sum(paused) <= most


def test_a_connection_that_is_refused_is_tried_again(endpoint: Endpoint, paused: list[float]) -> None:
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        settings = EndpointSettings(url=f"http://127.0.0.1:{nobody.getsockname()[1]}/v1", model="m")
        with pytest.raises(Unreachable, match="does not answer"):
            ChatEndpoint(settings).ask("Hi")
    assert sum(paused) == pytest.approx(1 + 2 + 4 + 8)


def test_a_request_to_stop_ends_a_pause(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopFlag()
    monkeypatch.setattr("alignment.evaluate.chat_endpoint.sleep", lambda _: stop.request(15))
    endpoint.replies = [Response(503, {"Retry-After": "30"}), "Hello!"]
    with pytest.raises(Interrupted):
        ChatEndpoint(endpoint.settings(), stop).ask("Hi")
    assert len(endpoint.asked) == 1


KEY = "qx-7Yw9_ZkVj3PmB8fLr5TnH2dGs6Uc4"


def shown_of_the_key(message: str) -> list[str]:
    return [KEY[i : i + 4] for i in range(len(KEY) - 3) if KEY[i : i + 4] in message]


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a variable that holds a key, and by its name is none."""
    monkeypatch.setenv("JUDGE_AUTH", KEY)
    return "JUDGE_AUTH"


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        (f"Bearer {KEY}!", "Bearer ***!"),
        (f"{KEY[:17]} is wrong", "*** is wrong"),
        (f"{KEY[:6]}*****{KEY[-4:]}", "***" + "*****" + "***"),
        (f"{KEY[:9]}\n{KEY[9:]}", "***\n***"),
        (KEY * 3, "***"),
        ("the key is fine", "the key is fine"),
        ("", ""),
    ],
)
def test_no_piece_of_the_key_is_quoted(said: str, quoted: str, endpoint: Endpoint, keyed: str) -> None:
    assert ChatEndpoint(endpoint.settings(key_variable=keyed)).without_key(said) == quoted


def test_without_a_key_everything_may_be_quoted(endpoint: Endpoint) -> None:
    assert ChatEndpoint(endpoint.settings()).without_key("Bearer of news") == "Bearer of news"


def test_a_short_key_is_hidden_too(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_AUTH", "abc")
    assert ChatEndpoint(endpoint.settings(key_variable="JUDGE_AUTH")).without_key("xabcxab") == "x***xab"


def test_a_server_that_echoes_the_key_in_its_status_line_does_not_bring_it_into_the_error(
    raw: RawEndpoint, keyed: str
) -> None:
    raw.chunks = [f"no such key: {KEY}\r\n\r\n".encode()]
    with pytest.raises(DataError, match=r"does not answer .*no such key") as caught:
        ChatEndpoint(raw.settings(key_variable=keyed)).ask("Hi")
    assert shown_of_the_key(str(caught.value)) == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_the_line_end_after_a_key_is_no_part_of_it(
    end: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", f"sésame{end}")
    endpoint.replies = ["Hello!"]
    assert ChatEndpoint(endpoint.settings(key_variable="JUDGE_KEY")).ask("Hi") == "Hello!"
    assert endpoint.asked[0]["key"] == "Bearer sésame"


@pytest.mark.parametrize(
    "key", ["ключsesame", "ses ame", " sesame", "ses\name", "sesame\t", "se\x7fsame", "se\u200bsame"]
)
def test_a_key_that_no_header_can_carry_is_refused_before_anything_is_sent(
    key: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(UsageError, match=rf"JUDGE_KEY, whose character \d of {len(key)} no HTTP header") as caught:
        ChatEndpoint(endpoint.settings(key_variable="JUDGE_KEY"))
    assert "same" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "\n"])
def test_an_empty_key_is_as_good_as_none(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(UsageError, match="JUDGE_KEY, which is not set"):
        ChatEndpoint(EndpointSettings(model="m", key_variable="JUDGE_KEY"))


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8000/v1", "https://judge.example/v1/", "HTTPS://judge.example", "http://[::1]:8000/v1"],
)
def test_an_address_of_the_web_is_taken_as_it_is(url: str) -> None:
    assert EndpointSettings(url=url, model="m").url == url


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("file:///dir", "does not begin with http"),
        ("gopher://judge.example/v1", "does not begin with http"),
        ("localhost:8000/v1", "does not begin with http"),
        ("judge.example/v1", "does not begin with http"),
        ("not a url", "a blank or a control character"),
        ("http://a b/v1", "a blank or a control character"),
        ("http://a\nb/v1", "a blank or a control character"),
        ("http:///v1", "it has no host"),
        ("http://:8000/v1", "it has no host"),
        ("http:/v1", "it has no host"),
        ("http://[::1/v1", "its host cannot be read"),
        ("http://a:b/v1", "its port is no number"),
        ("http://a:70000/v1", "its port is no number"),
        ("http://a:0/v1", "its port is 0"),
        ("http://me:sesame@a/v1", "a user or a password"),
        ("http://a/v1?key=sesame", "a query or a fragment"),
        ("http://a/v1#x", "a query or a fragment"),
        ("", "at least 1 character"),
    ],
)
def test_what_names_no_endpoint_is_refused_when_the_settings_are_read(url: str, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault) as caught:
        EndpointSettings(url=url, model="m")
    assert "sesame" not in caught.value.errors()[0]["msg"]
