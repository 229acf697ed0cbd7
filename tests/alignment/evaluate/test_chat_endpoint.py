"""A chat-completions endpoint over HTTP: what is asked, what is refused, and that the key is shown nowhere."""

from __future__ import annotations

import pytest

from alignment.errors import DataError, UsageError
from alignment.evaluate.chat_endpoint import ChatEndpoint
from alignment.evaluate.settings import EndpointSettings
from tests.alignment.evaluate.conftest import Endpoint


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
