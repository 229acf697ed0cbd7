"""A chat-completions endpoint (OpenAI's form): one text asked greedily, one reply.  No redirect is followed."""

from __future__ import annotations

import json
import os
from typing import Any

import httpx2

from alignment.errors import DataError, UsageError
from alignment.evaluate.settings import EndpointSettings

# of the transport and of the reply's form; ValueError: of an address that no host can have
_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError)


class ChatEndpoint:
    """An outside model behind `/chat/completions`.

    Attributes:
        settings: its address and name; the key is kept apart and shown nowhere.
        url: what is asked.
        asked: requests so far.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        """Raises UsageError if the named environment variable is not set."""
        self.settings = settings
        self.url = f"{settings.url.rstrip('/')}/chat/completions"
        self.asked = 0
        self._key = os.environ.get(settings.key_variable, "") if settings.key_variable else ""
        if settings.key_variable and not self._key:
            raise UsageError(
                f"endpoint.key_variable names {settings.key_variable}, which is not set; put the key into it, "
                f"or leave key_variable empty"
            )

    def ask(self, text: str) -> str:
        """The greedy reply to one user message.

        Raises:
            DataError: the endpoint does not answer, or with something else than a chat completion.
        """
        question = {"model": self.settings.model, "temperature": 0, "messages": [{"role": "user", "content": text}]}
        status, body = self._exchange(json.dumps(question).encode())
        if 300 <= status < 400:
            raise DataError(
                f"{self.url} replied with the redirect {status}, which is not followed (the key would go along); "
                f"give the final address as endpoint.url"
            )
        if status != 200:
            raise DataError(f"{self.url} does not answer (status {status}); an OpenAI-compatible endpoint is needed")
        try:
            reply: Any = json.loads(body)
            content = reply["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise DataError(f"{self.url} replied with no chat completion ({type(error).__name__})") from None
        if not isinstance(content, str):
            raise DataError(f"{self.url} replied with no chat completion (its content is no text)")
        return content

    def _exchange(self, question: bytes) -> tuple[int, bytes]:
        """One request: status and body of its response."""
        self.asked += 1
        headers = {b"Content-Type": b"application/json"}
        if self._key:
            headers[b"Authorization"] = b"Bearer " + self._key.encode("latin-1")
        try:
            with httpx2.Client(follow_redirects=False, timeout=self.settings.timeout) as client:
                response = client.post(self.url, content=question, headers=headers)
            return response.status_code, response.content
        except _FAILURES as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise DataError(f"{self.url} does not answer ({what}); an OpenAI-compatible endpoint is needed") from None
