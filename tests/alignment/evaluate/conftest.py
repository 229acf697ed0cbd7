"""An outside model on this machine: an HTTP server that gives canned replies and keeps what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import BaseRequestHandler, TCPServer
from typing import Any, TypeVar

import pytest

from alignment.evaluate.settings import EndpointSettings


@dataclass(frozen=True)
class Response:
    """What the server sends instead of a completion."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Endpoint(HTTPServer):
    """A chat-completions endpoint; a reply is the text of a completion, a status, or a whole response."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: list[str | int | Response] = []
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def settings(self, **more: Any) -> EndpointSettings:
        return EndpointSettings(url=self.url, model="m", **more)

    @property
    def texts(self) -> list[str]:
        """What was asked, request by request."""
        return [asked["messages"][0]["content"] for asked in self.asked]


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        reply = self.server.replies.pop(0)
        if isinstance(reply, str):
            reply = Response(200, body=json.dumps({"choices": [{"message": {"content": reply}}]}).encode())
        if isinstance(reply, int):
            reply = Response(reply)
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def do_GET(self) -> None:
        """What a followed redirect would become."""
        self.server.asked.append({"path": self.path, "key": self.headers.get("Authorization")})
        self.send_error(405)

    def log_message(self, *_: Any) -> None:
        """Keep the tests quiet."""


class RawEndpoint(TCPServer):
    """Sends what it is told to, HTTP or not, and hangs up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RawHandler)
        self.chunks: Iterable[bytes] = ()

    def settings(self, **more: Any) -> EndpointSettings:
        return EndpointSettings(url=f"http://127.0.0.1:{self.server_address[1]}/v1", model="m", **more)


class _RawHandler(BaseRequestHandler):
    server: RawEndpoint
    request: socket.socket

    def handle(self) -> None:
        self.request.recv(65536)
        with suppress(OSError):  # the other side hung up first
            for chunk in self.server.chunks:
                self.request.sendall(chunk)


Server = TypeVar("Server", Endpoint, RawEndpoint)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as server:
        yield server


@pytest.fixture
def other() -> Iterator[Endpoint]:
    """A second host."""
    with serving(Endpoint()) as server:
        yield server


@pytest.fixture
def raw() -> Iterator[RawEndpoint]:
    with serving(RawEndpoint()) as server:
        yield server


@pytest.fixture(autouse=True)
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The stretches, in seconds, that an endpoint's pauses would have taken."""
    stretches: list[float] = []
    monkeypatch.setattr("alignment.evaluate.chat_endpoint.sleep", stretches.append)
    return stretches
