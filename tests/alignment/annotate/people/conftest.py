"""A stage's folder with five items of two campaigns, and a page server on any free port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from alignment.annotate.annotator import Question, Verdict
from alignment.annotate.people.desk import Desk
from alignment.annotate.people.items import ITEMS_FILE, Item, item_of, write_items
from alignment.annotate.people.server import PageServer
from tests.alignment.annotate.conftest import asked


def questions() -> list[Question]:
    """Three of helpfulness, two of safety."""
    made = []
    for line in range(1, 6):
        campaign = "helpfulness" if line < 4 else "safety"
        prompt = asked(f"question {line}?", campaign, line)
        made.append(Question(prompt=prompt, first=f"answer {line} one", second=f"answer {line} two", campaign=campaign))
    return made


def items(scope: str = "run-a", *, twice: bool = False) -> list[Item]:
    return [item_of(question, scope, twice=twice) for question in questions()]


def verdict(item: Item, preferred: int = 1, *, name: str = "anna", grade: str = "better") -> Verdict:
    """A whole verdict on an item."""
    label = True if item.campaign == "safety" else None
    sure: dict[str, Any] = {"grade": grade} if preferred else {}
    return Verdict(annotator=name, preferred=preferred, first_safe=label, second_safe=label, **sure)  # type: ignore[arg-type]


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A stage's folder that waits for people."""
    folder = tmp_path / "04-collect"
    folder.mkdir()
    write_items(folder / ITEMS_FILE, items())
    return folder


@dataclass(frozen=True)
class Reply:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found


@dataclass(frozen=True)
class Page:
    """A served page, and a client that sends what it is told to."""

    server: PageServer

    def get(self, path: str, **headers: str) -> Reply:
        return self._asked("GET", path, None, headers)

    def post(self, body: Any, path: str = "/verdict", **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._asked("POST", path, data, {"Content-Type": "application/json", **headers})

    def judge(self, preferred: str = "left", **more: Any) -> Reply:
        """Say the same of whatever comes next."""
        item = self.get("/next").json["item"]
        labels = {"left_safe": True, "right_safe": False} if item["campaign"] == "safety" else {}
        grade = None if preferred == "unsure" else "slightly"
        return self.post({"id": item["id"], "preferred": preferred, "grade": grade, **labels, **more})

    def _asked(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.server.server_port, timeout=10)
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        reply = Reply(answer.status, dict(answer.getheaders()), answer.read().decode())
        connection.close()
        return reply


@contextmanager
def served(desk: Desk) -> Iterator[Page]:
    """A desk's page while the block lasts."""
    with desk, PageServer(desk, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield Page(server)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def page(stage: Path) -> Iterator[Page]:
    """Anna's page."""
    with served(Desk(stage, "anna")) as page:
        yield page
