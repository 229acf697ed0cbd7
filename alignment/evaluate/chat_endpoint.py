"""A chat-completions endpoint (OpenAI's form): one text asked greedily, one reply.  No redirect is followed."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import httpx2

from alignment.errors import DataError, UsageError
from alignment.evaluate.settings import EndpointSettings

MOST_BYTES = 4 << 20  # of a reply: a completion with its reasoning is far below
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
        """One request: status and body of its response, whole within `timeout` and `MOST_BYTES`."""
        self.asked += 1
        headers = {b"Content-Type": b"application/json", b"Accept-Encoding": b"identity"}
        if self._key:
            headers[b"Authorization"] = b"Bearer " + self._key.encode("latin-1")
        deadline = _Deadline(self.settings.timeout)
        extensions = {"trace": deadline.watch}
        body = bytearray()
        try:
            with (
                deadline,
                self._client.stream(
                    "POST", self.url, content=question, headers=headers, extensions=extensions
                ) as response,
            ):
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise DataError(f"{self.url} replied with a packed body, which was not asked for")
                for piece in response.iter_raw():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise DataError(f"{self.url} replied with more than {MOST_BYTES:,} bytes")
            failure = None
        except _FAILURES as error:
            failure = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if deadline.over:  # before all else: a body that was cut off so looks whole where its length is not said
            raise DataError(f"{self.url} did not reply within {self.settings.timeout:g} seconds (endpoint.timeout)")
        if failure is not None:
            raise DataError(f"{self.url} does not answer ({failure}); an OpenAI-compatible endpoint is needed")
        return response.status_code, bytes(body)

    @cached_property
    def _client(self) -> httpx2.Client:
        # a connection for each request, so that each can be shut when its time is over
        limits = httpx2.Limits(max_keepalive_connections=0)
        return httpx2.Client(follow_redirects=False, timeout=self.settings.timeout, limits=limits)


class _Deadline:
    """Shuts a request's connection when its time is over, whatever it waits for then.

    The client's own timeouts are for one read each: a server that sends a byte now and then is never too slow for them.
    """

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Takes up a connection as soon as it stands; given to the client, which calls it at every step."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._sockets.append(info["return_value"].get_extra_info("socket"))
            if self.over:
                self._end()

    def _end(self) -> None:
        self.over = True
        for connection in self._sockets:
            with suppress(OSError):  # it is closed already, or was wrapped by TLS
                connection.shutdown(socket.SHUT_RDWR)
