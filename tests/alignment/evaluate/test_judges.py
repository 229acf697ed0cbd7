"""Judges behind one interface: reward models, and an outside model over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from alignment.errors import DataError, NonFiniteError, UsageError
from alignment.evaluate.endpoint import EndpointJudge
from alignment.evaluate.endpoint_scorer import EndpointScorer
from alignment.evaluate.endpoint_settings import EndpointSettings
from alignment.evaluate.judge import RewardJudge
from alignment.evaluate.winrate import both_orders
from alignment.records import Dialogue, Source, Turn
from alignment.store.journal import read_journal
from alignment.train.session import Session

PROMPT = Dialogue(turns=(Turn(role="user", content="Hi"),), source=Source(file="f", line=1), id="p", system="Be kind.")


def test_a_reward_model_judges_answered_dialogues() -> None:
    judge = RewardJudge(lambda dialogues: [len(d.turns[-1].content) - 2.0 for d in dialogues])
    assert judge.judge(PROMPT, "ab").helpfulness == 0.5
    assert judge.judge(PROMPT, "ab").safety == 1.0
    assert judge.judge(PROMPT, "abc").helpfulness > 0.5


def test_a_score_that_is_not_finite_is_refused_with_its_row() -> None:
    with pytest.raises(NonFiniteError, match="f:1"):
        RewardJudge(lambda dialogues: [float("nan")]).judge(PROMPT, "a")


class Endpoint(HTTPServer):
    """A chat-completions endpoint that gives canned replies and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: list[str] = []
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        reply = self.server.replies.pop(0)
        self.send_response(500 if reply == "fail" else 200)
        self.end_headers()
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


def test_the_endpoint_is_asked_greedily_with_the_key_from_the_environment(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    endpoint.replies = ['{"helpfulness": 7, "safety": 10}']
    judge = EndpointJudge(EndpointSettings(url=endpoint.url, model="m", key_variable="JUDGE_KEY"))
    verdict = judge.judge(PROMPT, "Hello!")
    assert (verdict.helpfulness, verdict.safety) == (0.7, 1.0)
    asked = endpoint.asked[0]
    assert (asked["path"], asked["key"], asked["temperature"]) == ("/v1/chat/completions", "Bearer sesame", 0)
    assert "system: Be kind.\nuser: Hi\nassistant: Hello!" in asked["messages"][0]["content"]


def test_both_orders_are_asked_and_a_reply_without_a_verdict_is_counted_not_guessed(endpoint: Endpoint) -> None:
    judge = EndpointJudge(EndpointSettings(url=endpoint.url, model="m"))
    endpoint.replies = ["So [[A]]", "So [[B]]", "[[A]]", "[[A]]", "A is better", "[[B]]", "[[A]] or [[B]]", "[[tie]]"]
    outcomes = [both_orders(judge, PROMPT, "x", "y") for _ in range(4)]
    assert outcomes == [1, 0, None, None]
    assert (judge.asked, judge.unreadable) == (8, 2)
    assert "Answer A: y" in endpoint.asked[1]["messages"][0]["content"]


@pytest.mark.parametrize("reply", ["no idea", '{"helpfulness": 70, "safety": 10}', "{}"])
def test_scores_that_cannot_be_read_are_an_error(endpoint: Endpoint, reply: str) -> None:
    endpoint.replies = [reply]
    judge = EndpointJudge(EndpointSettings(url=endpoint.url, model="m"))
    with pytest.raises(DataError, match="no verdict"):
        judge.judge(PROMPT, "a")
    assert judge.unreadable == 1


def test_an_endpoint_that_fails_is_named_and_the_key_is_not_shown(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    endpoint.replies = ["fail"]
    judge = EndpointJudge(EndpointSettings(url=endpoint.url, model="m", key_variable="JUDGE_KEY"))
    with pytest.raises(DataError, match="does not answer") as caught:
        judge.compare(PROMPT, "a", "b")
    assert "sesame" not in str(caught.value) + repr(judge) + str(vars(judge).get("_settings"))


def test_a_key_that_is_not_set_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(UsageError, match="JUDGE_KEY"):
        EndpointJudge(EndpointSettings(model="m", key_variable="JUDGE_KEY"))


def score(endpoint: Endpoint, session: Session, texts: list[str]) -> list[dict[str, float]]:
    scorer = EndpointScorer(EndpointSettings(url=endpoint.url, model="m"), session)
    given = [PROMPT] * len(texts)
    return scorer(None, given, [], [], texts)  # type: ignore[arg-type]  # it needs no policy


def test_a_verdict_in_the_journal_is_not_asked_for_again(endpoint: Endpoint, session: Session) -> None:
    endpoint.replies = ['{"helpfulness": 7, "safety": 10}', '{"helpfulness": 1, "safety": 0}']
    first = score(endpoint, session, ["good", "bad"])
    assert first == [{"helpfulness": 0.7, "safety": 1.0}, {"helpfulness": 0.1, "safety": 0.0}]
    endpoint.replies = ['{"helpfulness": 3, "safety": 5}']
    assert score(endpoint, session, ["good", "new", "bad"]) == [first[0], {"helpfulness": 0.3, "safety": 0.5}, first[1]]
    assert len(endpoint.asked) == 3


def test_an_answer_without_a_verdict_has_no_figures_and_is_asked_about_again(
    endpoint: Endpoint, session: Session
) -> None:
    endpoint.replies = ["no idea", '{"helpfulness": 7, "safety": 10}']
    assert score(endpoint, session, ["a", "b"]) == [{}, {"helpfulness": 0.7, "safety": 1.0}]
    endpoint.replies = ['{"helpfulness": 2, "safety": 10}']
    assert score(endpoint, session, ["a", "b"])[0] == {"helpfulness": 0.2, "safety": 1.0}


def test_an_endpoint_without_verdicts_stops_the_evaluation_and_keeps_what_it_said(
    endpoint: Endpoint, session: Session
) -> None:
    endpoint.replies = ['{"helpfulness": 7, "safety": 10}', "fail", "no idea", "fail"]
    with pytest.raises(DataError):
        score(endpoint, session, ["a", "b", "c", "d"])
    assert len(read_journal(session.folder / "samples" / "verdicts.jsonl")) == 1
