"""An outside model on this machine: an HTTP server that gives canned replies and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from alignment.evaluate.settings import EndpointSettings


class Endpoint(HTTPServer):
    """A chat-completions endpoint; a reply is a text, or a status without a completion."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: list[str | int] = []
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
        self.send_response(reply if isinstance(reply, int) else 200)
        self.end_headers()
        if isinstance(reply, str):
            self.wfile.write(json.dumps({"choices": [{"message": {"content": reply}}]}).encode())

    def log_message(self, *_: Any) -> None:
        """Keep the tests quiet."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
