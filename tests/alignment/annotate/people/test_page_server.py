"""The page's server: who is answered, what it takes, and that the page can neither load nor run anything else."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alignment.annotate.people import server as server_module
from alignment.annotate.people.desk import Desk
from alignment.annotate.people.server import MOST_BYTES, PageServer, page_html
from alignment.annotate.people.verdicts import read_verdicts
from alignment.errors import DiskFull, UsageError
from tests.alignment.annotate.people.conftest import Page, items, served

SOURCES = Path(server_module.__file__).parent


def test_it_listens_on_this_machine_alone(page: Page) -> None:
    assert page.server.server_address[0] == "127.0.0.1"
    assert page.server.url == f"http://127.0.0.1:{page.server.server_port}/"


def test_the_first_item_is_shown_with_both_answers_and_how_far_all_are(page: Page) -> None:
    state = page.get("/next").json
    (item,) = [item for item in items() if item.id == state["item"]["id"]]
    assert {state["item"]["left"], state["item"]["right"]} == {item.first, item.second}
    assert state["item"]["prompt"] == item.as_json()["prompt"]
    assert state["item"]["earlier"] is None
    assert (state["progress"]["items"], state["progress"]["waiting"]) == (5, 5)


def test_a_verdict_is_kept_and_the_next_item_comes(page: Page, stage: Path) -> None:
    first = page.get("/next").json["item"]["id"]
    state = page.judge()
    assert state.status == 200
    assert state.json["item"]["id"] != first
    assert state.json["progress"]["waiting"] == 4
    assert list(read_verdicts(stage, items())["anna"]) == [first]


def test_unsure_is_a_verdict_without_a_grade(page: Page, stage: Path) -> None:
    page.judge("unsure")
    (said,) = read_verdicts(stage, items())["anna"].values()
    assert said.preferred == 0


def test_when_nothing_waits_there_is_no_item(page: Page) -> None:
    for _ in range(5):
        state = page.judge().json
    assert state["item"] is None
    assert page.get("/next").json["item"] is None


def test_a_page_opened_again_goes_on_where_it_was(stage: Path) -> None:
    with served(Desk(stage, "anna")) as page:
        for _ in range(2):
            waiting = page.judge().json["item"]
    with served(Desk(stage, "anna")) as page:
        assert page.get("/next").json["item"] == waiting


def test_the_item_judged_before_comes_back_and_may_be_corrected(page: Page, stage: Path) -> None:
    first = page.get("/next").json["item"]["id"]
    page.judge("left")
    back = page.get(f"/before?id={page.get('/next').json['item']['id']}").json["item"]
    assert (back["id"], back["earlier"]["preferred"], back["earlier"]["grade"]) == (first, "left", "slightly")
    page.post({"id": first, "preferred": "right", "grade": "significantly"})
    (said,) = read_verdicts(stage, items())["anna"].values()
    assert said.grade == "significantly"
    assert page.get("/before").json["item"]["earlier"]["preferred"] == "right"


def test_before_the_first_there_is_none(page: Page) -> None:
    assert page.get("/before").json["item"] is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"id": "nothing"}, "there is no item 'nothing'"),
        ({"preferred": "both"}, "says neither left nor right nor unsure"),
        ({"grade": "much"}, "grade is 'much'"),
        ({"grade": ["better"]}, "grade is ['better']"),
        ({"left_safe": True}, "labels belong to the safety campaign"),
    ],
)
def test_what_is_no_verdict_is_refused_with_its_reason(
    change: Mapping[str, Any], why: str, page: Page, stage: Path
) -> None:
    reply = page.judge(**change)
    assert reply.status == 409
    assert why in reply.json["error"]
    assert read_verdicts(stage, items()) == {"anna": {}}


def test_a_safety_item_needs_both_labels(page: Page) -> None:
    for _ in range(3):
        page.judge()
    assert page.get("/next").json["item"]["campaign"] == "safety"
    reply = page.judge(right_safe=None)
    assert (reply.status, "right_safe is None" in reply.json["error"]) == (409, True)


def test_a_full_disk_is_said_on_the_page(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Desk, said: Mapping[str, Any]) -> None:
        raise DiskFull("no space left for anna.jsonl")

    monkeypatch.setattr(Desk, "take", full)
    reply = page.judge()
    assert (reply.status, reply.json["error"]) == (409, "no space left for anna.jsonl")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:80", "", "[::1]:80"])
@pytest.mark.parametrize("path", ["/", "/next", "/before"])
def test_another_name_for_this_address_is_refused(host: str, path: str, page: Page) -> None:
    reply = page.get(path, Host=host)
    assert reply.status == 403
    assert "open http://127.0.0.1:" in reply.json["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}"])
def test_its_own_names_are_answered(host: str, page: Page) -> None:
    assert page.get("/next", Host=host.format(port=page.server.server_port)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_another_pages_requests_are_refused_and_nothing_is_kept(
    headers: Mapping[str, str], page: Page, stage: Path
) -> None:
    port = page.server.server_port
    sent = {name: value.format(port=port) for name, value in headers.items()}
    item = page.get("/next").json["item"]["id"]
    assert page.post({"id": item, "preferred": "unsure", "grade": None}, **sent).status == 403
    assert page.get("/next", **sent).status == 403
    assert read_verdicts(stage, items()) == {"anna": {}}


def test_the_pages_own_requests_are_answered(page: Page) -> None:
    own = {"Origin": f"http://127.0.0.1:{page.server.server_port}", "Sec_Fetch_Site": "same-origin"}
    item = page.get("/next", **own).json["item"]["id"]
    assert page.post({"id": item, "preferred": "unsure", "grade": None}, **own).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_can_send_is_no_verdict(kind: str, page: Page) -> None:
    assert page.post({"preferred": "unsure"}, Content_Type=kind).status == 415


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": str(MOST_BYTES + 1)}, 413),
        ({"Content-Length": "9" * 30}, 413),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": "\u0663".encode().decode("latin-1")}, 411),
        ({}, 411),
        ({"Content-Length": "2", "Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_a_body_of_no_or_too_great_length_is_not_read(headers: Mapping[str, str], status: int, page: Page) -> None:
    lines = ["POST /verdict HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", page.server.server_port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        assert connection.recv(100).split()[1] == str(status).encode()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"[" * 9_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes, page: Page) -> None:
    assert page.post(body).status == 400


@pytest.mark.parametrize("path", ["/../items.jsonl", "/verdict", "/page.js", "/%2e%2e/stage.json", "/next/x"])
def test_there_is_nothing_else_to_get(path: str, page: Page) -> None:
    assert page.get(path).status == 404


def test_there_is_nothing_else_to_send(page: Page) -> None:
    assert page.post({}, "/next").status == 404


def test_the_policy_allows_the_pages_own_script_and_style_and_connections_home(page: Page) -> None:
    reply = page.get("/")
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', reply.text))
    assert policy == {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert nonce not in page.get("/").text


@pytest.mark.parametrize("path", ["/", "/next", "/nothing"])
def test_nothing_is_stored_sniffed_or_told_to_others(path: str, page: Page) -> None:
    headers = page.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Python" not in headers["Server"]


def test_the_page_names_no_outside_resource_and_makes_markup_of_no_text() -> None:
    text = page_html("nonce")
    assert re.findall(r"""(?:https?:)?//[\w.]+|@import|url\(|src=|\bon\w+=["']""", text) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", text) == []
    assert re.findall(r' style="', text) == []


def test_the_pages_parts_stand_beside_the_server() -> None:
    assert {path.suffix for path in SOURCES.glob("page.*")} == {".html", ".css", ".js"}
    assert "@NONCE@" not in page_html("nonce")


def test_text_of_an_item_is_never_in_the_page_itself(page: Page) -> None:
    assert all(text not in page.get("/").text for item in items() for text in (item.first, item.second))


def test_half_a_character_reaches_the_page(stage: Path) -> None:
    from alignment.annotate.people.items import ITEMS_FILE, Item, write_items

    odd = Item(id="x", campaign="helpfulness", prompt=(("user", "?"),), first="a\ud83d", second="b")
    write_items(stage / ITEMS_FILE, [odd])
    with served(Desk(stage, "anna")) as page:
        shown = json.loads(page.get("/next").text)["item"]
    assert {shown["left"], shown["right"]} == {"a\ud83d", "b"}


def test_a_port_in_use_is_said_with_what_to_do(page: Page, stage: Path) -> None:
    port = page.server.server_port
    with (
        Desk(stage, "ben") as desk,
        pytest.raises(UsageError, match=f"port {port} is in use; name another with --port, or 0 for any that is free"),
    ):
        PageServer(desk, port)


def test_a_browser_that_goes_away_is_no_matter(page: Page, capfd: pytest.CaptureFixture[str]) -> None:
    gone = threading.Event()
    ended = page.server.shutdown_request

    def noted(request: Any) -> None:
        ended(request)
        gone.set()

    page.server.shutdown_request = noted  # type: ignore[method-assign]
    with socket.create_connection(("127.0.0.1", page.server.server_port), timeout=10) as connection:
        connection.sendall(b"POST /verdict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
    assert gone.wait(10)
    assert page.get("/next").status == 200
    assert capfd.readouterr().err == ""
