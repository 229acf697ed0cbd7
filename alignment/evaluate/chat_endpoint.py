"""A chat-completions endpoint (OpenAI's form): one text asked greedily, one reply.

No redirect is followed; a reply is bounded in time and size; an endpoint that is busy is asked again after a while.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import cached_property
from itertools import groupby
from time import sleep, time
from typing import Any

import httpx2

from alignment.errors import DataError, Unreachable, UsageError
from alignment.evaluate.settings import EndpointSettings
from alignment.evaluate.spent import Spent, told_by
from alignment.train.session import StopFlag

MOST_BYTES = 4 << 20  # of a reply: a completion with its reasoning is far below
LONGEST_PAUSE = 60.0  # seconds, whatever Retry-After says
_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try
_STRETCH = 0.2  # seconds of a pause between two looks at the stop flag
_PIECE = 4  # characters: shorter pieces of a key stand in any text
_BUSY = (408, 425, 429, 500, 502, 503, 504)
# of the transport and of the reply's form; ValueError: of an address that no host can have
_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError)


class ChatEndpoint:
    """An outside model behind `/chat/completions`.

    Attributes:
        settings: its address and name; the key is kept apart and shown nowhere.
        url: what is asked.
        spent: requests and tokens so far.
    """

    def __init__(self, settings: EndpointSettings, stop: StopFlag | None = None) -> None:
        """Raises UsageError if the named environment variable holds no key; `stop` ends its pauses."""
        self.settings = settings
        self._stop = stop or StopFlag()
        self.url = f"{settings.url.rstrip('/')}/chat/completions"
        self.spent = Spent()
        self._key = _key_in(settings.key_variable) if settings.key_variable else ""

    def ask(self, text: str) -> str:
        """The greedy reply to one user message.

        Where it is busy (429, 503 and their like, a connection refused or lost) it is asked up to five times, with
        pauses that double or are those that it asks for.

        Raises:
            Unreachable: it is busy or gone after five tries, or did not reply in time; it may answer later.
            DataError: it answers with something else than a chat completion.
            Interrupted: somebody asked to stop during a pause.
        """
        question = {"model": self.settings.model, "temperature": 0, "messages": [{"role": "user", "content": text}]}
        content = json.dumps(question).encode()
        for pause in _PAUSES:
            try:
                return self._once(content)
            except _Busy as busy:
                self._wait(min(pause if busy.wait is None else busy.wait, LONGEST_PAUSE))
        return self._once(content)

    def without_key(self, text: str) -> str:
        """A text of the endpoint's with every piece of the key that stands in it as `***`: what may be quoted.

        A piece is four characters or more, so that a key that was cut, wrapped or masked in part does not show either.
        """
        length = min(_PIECE, len(self._key))
        pieces = {self._key[i : i + length] for i in range(len(self._key) - length + 1)} - {""}
        hidden = [False] * len(text)
        for i in range(len(text)):
            if text[i : i + length] in pieces:
                hidden[i : i + length] = [True] * length
        runs = groupby(zip(text, hidden, strict=True), key=lambda pair: pair[1])
        return "".join("***" if hide else "".join(sign for sign, _ in run) for hide, run in runs)

    def _once(self, question: bytes) -> str:
        status, headers, body = self._exchange(question)
        if 300 <= status < 400:
            raise DataError(
                f"{self.url} replied with the redirect {status}, which is not followed (the key would go along); "
                f"give the final address as endpoint.url"
            )
        if status in _BUSY:
            raise _Busy(f"{self.url} is busy (status {status})", _seconds(headers.get("Retry-After", "")))
        if status != 200:
            raise DataError(f"{self.url} does not answer (status {status}); an OpenAI-compatible endpoint is needed")
        try:
            reply: Any = json.loads(body)
            self.spent += told_by(reply)
            content = reply["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise DataError(f"{self.url} replied with no chat completion ({type(error).__name__})") from None
        if not isinstance(content, str):
            raise DataError(f"{self.url} replied with no chat completion (its content is no text)")
        return content

    def _wait(self, seconds: float) -> None:
        """Sleep in short stretches, so that a request to stop is heard.

        Raises:
            Interrupted: somebody asked to stop.
        """
        while seconds > 0:
            self._stop.check()
            sleep(min(seconds, _STRETCH))
            seconds -= _STRETCH
        self._stop.check()

    def _exchange(self, question: bytes) -> tuple[int, httpx2.Headers, bytes]:
        """One request: status, headers and body of its response, whole within `timeout` and `MOST_BYTES`."""
        self.spent += Spent(requests=1)
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
            failure, busy = "", False
        except _FAILURES as error:
            busy = isinstance(error, (httpx2.NetworkError, httpx2.ConnectTimeout))
            failure = f"{type(error).__name__}: {self.without_key(str(error)[:200])}".rstrip(": ")
        if deadline.over:  # before all else: a body that was cut off so looks whole where its length is not said
            raise Unreachable(f"{self.url} did not reply within {self.settings.timeout:g} seconds (endpoint.timeout)")
        if failure:
            message = f"{self.url} does not answer ({failure}); an OpenAI-compatible endpoint is needed"
            raise _Busy(message, None) if busy else DataError(message)
        return response.status_code, response.headers, bytes(body)

    @cached_property
    def _client(self) -> httpx2.Client:
        # a connection for each request, so that each can be shut when its time is over
        limits = httpx2.Limits(max_keepalive_connections=0)
        return httpx2.Client(follow_redirects=False, timeout=self.settings.timeout, limits=limits)


def _key_in(variable: str) -> str:
    """The key in an environment variable, without the line end that a file or a shell has left.

    Raises:
        UsageError: there is none, or no HTTP header can carry it; shows no character of it.
    """
    key = os.environ.get(variable, "").rstrip("\r\n")
    if not key:
        raise UsageError(
            f"endpoint.key_variable names {variable}, which is not set; put the key into it, "
            f"or leave key_variable empty"
        )
    for place, sign in enumerate(key, start=1):
        if sign.isspace() or not sign.isprintable() or ord(sign) > 0xFF:
            raise UsageError(
                f"endpoint.key_variable names {variable}, whose character {place} of {len(key)} no HTTP header can "
                f"carry in a key (a blank, a line break, or no letter of Latin-1); put the key alone into it"
            )
    return key


class _Busy(Unreachable):
    """The endpoint may answer later.

    Attributes:
        wait: seconds that it asks to be left alone; None if it does not say.
    """

    def __init__(self, message: str, wait: float | None) -> None:
        self.wait = wait
        super().__init__(message)


def _seconds(retry_after: str) -> float | None:
    """The header's seconds or date as seconds from now; None if it is neither."""
    if re.fullmatch(r"\d+(\.\d+)?", retry_after.strip(), flags=re.ASCII):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time())
    except (ValueError, OverflowError):  # of a year that no clock has
        return None


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
