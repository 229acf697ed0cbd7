"""The page that asks, served to this machine alone.  No torch.

It listens on 127.0.0.1.  Other pages in the same browser can reach that address too, so a request is answered only if
it is meant for this machine's own name (another name that was bound to the address is refused) and, where a browser
says where it comes from, comes from this page.  The page itself may load and connect to nothing else.
"""

from __future__ import annotations

import errno
import json
import secrets
import sys
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from alignment.annotate.people.desk import Desk
from alignment.annotate.people.items import Item
from alignment.errors import AlignmentError, UsageError

ADDRESS = "127.0.0.1"
MOST_BYTES = 10_000  # of a verdict
_PATIENCE = 30.0  # seconds that a connection may stand still
_OWN_NAMES = {ADDRESS, "localhost"}
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PageServer(ThreadingHTTPServer):
    """Serves one annotator's desk until it is shut down.

    Args:
        port: 0 takes a free one.

    Raises:
        UsageError: the port is taken, or not ours to take.
    """

    daemon_threads = True

    def __init__(self, desk: Desk, port: int) -> None:
        self.desk = desk
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
            raise UsageError(f"port {port} {why}; name another with --port, or 0 for any that is free") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; anything else is told on the terminal."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"


class _Refused(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        self.status = status
        super().__init__(why)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = _PATIENCE
    server_version, sys_version = "align", ""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/":
            self._answer(self._page)
        elif address.path == "/next":
            self._answer(lambda: self._state(self.server.desk.asked_next()))
        elif address.path == "/before":
            asked = parse_qs(address.query).get("id")
            self._answer(lambda: self._state(self.server.desk.before(asked[0] if asked else None)))
        else:
            self._answer(self._nothing)

    def do_POST(self) -> None:
        self._answer(self._verdict if urlsplit(self.path).path == "/verdict" else self._nothing)

    def log_message(self, *_: Any) -> None:
        """Say nothing on the terminal."""

    def _answer(self, work: Callable[[], tuple[str, bytes, Mapping[str, str]]]) -> None:
        try:
            self._require_own_page()
            kind, body, more = work()
            status = HTTPStatus.OK
        except _Refused as error:
            kind, body, more = _json({"error": str(error)})
            status = error.status
        except AlignmentError as error:
            kind, body, more = _json({"error": str(error)})
            status = HTTPStatus.CONFLICT
        self.send_response(status)
        for name, value in {**_HEADERS, **more, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _require_own_page(self) -> None:
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0] not in _OWN_NAMES and host not in _OWN_NAMES:
            raise _Refused(HTTPStatus.FORBIDDEN, f"asked for under the name {host!r:.60}; open {self.server.url}")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise _Refused(HTTPStatus.FORBIDDEN, f"asked for by another page ({origin!r:.60})")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise _Refused(HTTPStatus.FORBIDDEN, "asked for by another page")

    def _page(self) -> tuple[str, bytes, Mapping[str, str]]:
        nonce = secrets.token_urlsafe(18)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            f"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return "text/html; charset=utf-8", page_html(nonce).encode(), {"Content-Security-Policy": policy}

    def _state(self, item: Item | None) -> tuple[str, bytes, Mapping[str, str]]:
        desk = self.server.desk
        return _json({"item": desk.shown(item) if item is not None else None, "progress": desk.progress()})

    def _verdict(self) -> tuple[str, bytes, Mapping[str, str]]:
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a verdict comes as application/json")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()) or "Transfer-Encoding" in self.headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "a verdict says how long it is")
        if len(length) > 9 or int(length) > MOST_BYTES:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a verdict has at most {MOST_BYTES:,} bytes")
        try:
            said = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "a verdict is a JSON object")
        self.server.desk.take(said)
        return self._state(self.server.desk.asked_next())

    def _nothing(self) -> tuple[str, bytes, Mapping[str, str]]:
        raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing at that address")


def page_html(nonce: str) -> str:
    """The whole page; no text of the items is in it, the script asks for them."""
    return _template().replace("@NONCE@", nonce)


@cache
def _template() -> str:
    folder = Path(__file__).parent
    page, style, script = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    )
    return page.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)


def _json(value: Mapping[str, Any]) -> tuple[str, bytes, Mapping[str, str]]:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", errors="backslashreplace")
    return "application/json; charset=utf-8", text, {}
