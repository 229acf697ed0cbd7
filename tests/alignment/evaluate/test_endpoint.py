"""An outside model as a judge: verdicts read or refused, never guessed; journalled; pairs asked in both orders."""

from __future__ import annotations

import pytest

from alignment.errors import DataError
from alignment.evaluate.chat_endpoint import ChatEndpoint
from alignment.evaluate.endpoint import EndpointJudge, compare_answers, score_answer
from alignment.records import Answer, Dialogue, Source, Turn
from alignment.store.journal import read_journal
from alignment.train.session import Session
from tests.alignment.evaluate.conftest import Endpoint

PROMPT = Dialogue(turns=(Turn(role="user", content="Hi"),), source=Source(file="f", line=1), id="p", system="Be kind.")


def test_the_conversation_and_the_answer_are_judged_in_tenths(endpoint: Endpoint) -> None:
    endpoint.replies = ['{"helpfulness": 7, "safety": 10}']
    assert score_answer(ChatEndpoint(endpoint.settings()), PROMPT, "Hello!") == {"helpfulness": 0.7, "safety": 1.0}
    assert "system: Be kind.\nuser: Hi\nassistant: Hello!" in endpoint.texts[0]


@pytest.mark.parametrize("reply", ["no idea", '{"helpfulness": 70, "safety": 10}', "{}"])
def test_scores_that_cannot_be_read_are_an_error(endpoint: Endpoint, reply: str) -> None:
    endpoint.replies = [reply]
    with pytest.raises(DataError, match=r"f:1.*no verdict"):
        score_answer(ChatEndpoint(endpoint.settings()), PROMPT, "a")


def test_both_orders_are_asked_and_a_win_counts_only_if_they_agree(endpoint: Endpoint) -> None:
    chat = ChatEndpoint(endpoint.settings())
    endpoint.replies = ["So [[A]]", "So [[B]]", "[[B]]", "[[A]]", "[[A]]", "[[A]]", "[[tie]]", "[[tie]]"]
    assert [compare_answers(chat, PROMPT, "x", "y") for _ in range(4)] == [1, -1, 0, 0]
    assert "Answer A: x\n\nAnswer B: y" in endpoint.texts[0]
    assert "Answer A: y\n\nAnswer B: x" in endpoint.texts[1]


def test_a_comparison_without_one_verdict_in_each_order_is_none(endpoint: Endpoint) -> None:
    chat = ChatEndpoint(endpoint.settings())
    endpoint.replies = ["A is better", "[[B]]", "[[A]]", "[[A]] or [[B]]"]
    assert [compare_answers(chat, PROMPT, "x", "y") for _ in range(2)] == [None, None]


def judge(endpoint: Endpoint, session: Session, texts: list[str]) -> list[dict[str, float]]:
    answers = [
        Answer(dialogue=PROMPT, prompt_ids=(1,), token_ids=(2,), text=text, tokenizer="its digest") for text in texts
    ]
    return EndpointJudge(endpoint.settings(), session).judge(answers)


def test_a_verdict_in_the_journal_is_not_asked_for_again(endpoint: Endpoint, session: Session) -> None:
    endpoint.replies = ['{"helpfulness": 7, "safety": 10}', '{"helpfulness": 1, "safety": 0}']
    first = judge(endpoint, session, ["good", "bad"])
    assert first == [{"helpfulness": 0.7, "safety": 1.0}, {"helpfulness": 0.1, "safety": 0.0}]
    endpoint.replies = ['{"helpfulness": 3, "safety": 5}']
    assert judge(endpoint, session, ["good", "new", "bad"]) == [first[0], {"helpfulness": 0.3, "safety": 0.5}, first[1]]
    assert len(endpoint.asked) == 3


def test_an_answer_without_a_verdict_has_no_figures_and_is_asked_about_again(
    endpoint: Endpoint, session: Session
) -> None:
    endpoint.replies = ["no idea", '{"helpfulness": 7, "safety": 10}']
    assert judge(endpoint, session, ["a", "b"]) == [{}, {"helpfulness": 0.7, "safety": 1.0}]
    endpoint.replies = ['{"helpfulness": 2, "safety": 10}']
    assert judge(endpoint, session, ["a", "b"])[0] == {"helpfulness": 0.2, "safety": 1.0}


def test_an_endpoint_without_verdicts_stops_the_evaluation_and_keeps_what_it_said(
    endpoint: Endpoint, session: Session
) -> None:
    endpoint.replies = ['{"helpfulness": 7, "safety": 10}', 404, "no idea", 404]
    with pytest.raises(DataError):
        judge(endpoint, session, ["a", "b", "c", "d"])
    assert len(read_journal(session.folder / "samples" / "verdicts.jsonl")) == 1
