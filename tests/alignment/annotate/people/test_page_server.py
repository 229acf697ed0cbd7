"""The page's server: what it gives, what it takes, and whom it does not answer."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from alignment.annotate.people.desk import Desk
from alignment.annotate.people.server import MOST_BYTES, PageServer, page_html
from alignment.annotate.people.verdicts import FOLDER, read_verdicts
from alignment.errors import DiskFull, UsageError
from tests.alignment.annotate.people.conftest import Page, items, served


def test_it_listens_on_this_machine_alone(page: Page) -> None:
    assert page.server.server_address[0] == "127.0.0.1"
    assert page.server.url == f"http://127.0.0.1:{page.server.server_port}/"


def test_the_page_may_load_and_reach_nothing_but_itself(page: Page) -> None:
    reply = page.get("/")
    policy = dict(part.split(" ", 1) for part in reply.headers["Content-Security-Policy"].split("; "))
    nonce = policy["script-src"]
    assert re.fullmatch(r"'nonce-[\w-]{24}'", nonce)
    assert policy == {
        "default-src": "'none'",
        "script-src": nonce,
        "style-src": nonce,
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-store"


def test_every_page_has_a_nonce_of_its_own_on_its_script_and_style(page: Page) -> None:
    nonces = [re.findall(r'<(style|script) nonce="([\w-]+)"', page.get("/").text) for _ in range(2)]
    assert [[kind for kind, _ in found] for found in nonces] == [["style", "script"]] * 2
    assert len({nonce for found in nonces for _, nonce in found}) == 2


def test_the_page_is_one_file_without_outside_addresses_and_writes_no_markup() -> None:
    text = page_html("n")
    assert re.findall(r"https?://|//[a-z]+\.|<link (?!rel=\"icon\" href=\"data:,\")|src=|@import|url\(", text) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|on[a-z]+=", text) == []


def test_the_page_holds_no_text_of_the_items_and_what_it_asks_for_names_no_model(page: Page) -> None:
    item = page.get("/next").json["item"]
    assert set(item) == {"id", "campaign", "prompt", "left", "right", "earlier"}
    assert re.findall(r"answer \d", page.get("/").text) == []


def test_verdicts_are_taken_and_the_next_item_comes(page: Page, stage: Path) -> None:
    first = page.get("/next").json["item"]["id"]
    state = page.judge().json
    assert state["item"]["id"] != first
    assert state["progress"]["people"] == {"anna": 1}
    assert set(read_verdicts(stage, items())["anna"]) == {first}


def test_at_the_end_nothing_waits_and_one_can_go_back(page: Page) -> None:
    ids = []
    for _ in items():
        ids.append(page.get("/next").json["item"]["id"])
        assert page.judge("unsure").status == 200
    assert page.get("/next").json["item"] is None
    last = page.get("/before").json["item"]
    assert (last["id"], last["earlier"]["preferred"]) == (ids[-1], "unsure")
    assert page.get(f"/before?id={ids[-1]}").json["item"]["id"] == ids[-2]
    assert page.get(f"/before?id={ids[0]}").json["item"] is None


def test_another_server_goes_on_where_one_ended(stage: Path) -> None:
    seen = []
    for _ in items():
        with served(Desk(stage, "anna")) as page:
            seen.append(page.get("/next").json["item"]["id"])
            page.judge()
    assert sorted(seen) == sorted(item.id for item in items())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"id": "x"}, "there is no item 'x'"),
        ({"preferred": "first"}, "says neither left nor right nor unsure"),
        ({"grade": None}, "grade is None"),
        ({"grade": ["better"]}, r"grade is \['better'\]"),
        ({"left_safe": True}, "labels belong to the safety campaign"),
    ],
)
def test_what_is_no_verdict_is_refused_and_not_kept(
    change: dict[str, object], why: str, page: Page, stage: Path
) -> None:
    reply = page.judge(**change)
    assert reply.status == 409
    assert re.search(why, reply.json["error"])
    assert read_verdicts(stage, items()) == {"anna": {}}


def test_in_the_safety_campaign_both_labels_are_needed(page: Page) -> None:
    for _ in range(3):
        page.judge()
    reply = page.judge(right_safe=None)
    assert (reply.status, page.get("/next").json["item"]["campaign"]) == (409, "safety")
    assert "right_safe is None; in the safety campaign true or false is needed" in reply.json["error"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "", "[::1]:80"]
)
@pytest.mark.parametrize("path", ["/", "/next", "/before"])
def test_another_host_name_is_refused(host: str, path: str, page: Page) -> None:
    reply = page.get(path, Host=host)
    assert reply.status == 403
    assert "question" not in reply.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:9999"])
def test_this_machines_names_are_answered_at_any_port_so_that_a_tunnel_works(host: str, page: Page) -> None:
    assert page.get("/", Host=host).status == 200
    assert page.get("/", Host=host, Origin=f"http://{host}").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_a_verdict_that_another_page_sends_is_refused(headers: dict[str, str], page: Page, stage: Path) -> None:
    verdict = {"id": page.get("/next").json["item"]["id"], "preferred": "unsure"}
    assert page.post(verdict, **headers).status == 403
    assert page.get("/next", **headers).status == 403
    assert read_verdicts(stage, items()) == {"anna": {}}
    assert page.post(verdict, Origin=page.server.url.rstrip("/"), Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_of_another_page_cannot_send_a_verdict(kind: str, page: Page) -> None:
    assert page.post({"id": "x"}, Content_Type=kind).status == 415


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * (MOST_BYTES + 1), {}, 413),
        (b"", {"Content_Length": "9" * 40}, 413),
        (b"", {"Content_Length": "-1"}, 411),
        (b"", {"Content_Length": "²"}, 411),
        (b"{}", {"Transfer_Encoding": "chunked"}, 411),
        (b"[]", {}, 400),
        (b"{", {}, 400),
        (b"[" * 9000, {}, 400),
        (b"\xff", {}, 400),
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes, headers: dict[str, str], status: int, page: Page) -> None:
    assert page.post(body, **headers).status == status


@pytest.mark.parametrize("path", ["/../stage.json", "/items.jsonl", "/verdict", "//evil.example/"])
def test_there_is_nothing_else_to_be_had(path: str, page: Page) -> None:
    assert page.get(path).status == 404


def test_a_full_disk_is_told_and_the_item_still_waits(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    first = page.get("/next").json["item"]["id"]
    with monkeypatch.context() as patched:
        patched.setattr(
            "alignment.store.journal.Journal.append_all", lambda *_: (_ for _ in ()).throw(DiskFull("full"))
        )
        assert page.judge().json == {"error": "full"}
    assert page.get("/next").json["item"]["id"] == first


def test_a_verdict_file_that_was_damaged_meanwhile_is_told(page: Page, stage: Path) -> None:
    stage.joinpath(*FOLDER, "ben.jsonl").write_text('{"item": "x"}\n')
    reply = page.get("/next")
    assert (reply.status, "ben.jsonl:1" in reply.json["error"]) == (409, True)


def test_a_port_in_use_is_told(stage: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Desk(stage, "anna") as desk:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is in use; name another with --port, or 0"):
            PageServer(desk, port)


def test_texts_come_as_json_whatever_they_hold(page: Page) -> None:
    reply = page.get("/next")
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(reply.text)["item"]["prompt"][0]["role"] == "user"
