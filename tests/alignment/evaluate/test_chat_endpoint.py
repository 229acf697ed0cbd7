"""A chat-completions endpoint over HTTP: what is asked, what is refused, and that the key is shown nowhere."""

from __future__ import annotations

import pytest

from alignment.errors import DataError, UsageError
from alignment.evaluate.chat_endpoint import ChatEndpoint
from alignment.evaluate.settings import EndpointSettings
from tests.alignment.evaluate.conftest import Endpoint, Response


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
