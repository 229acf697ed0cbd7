"""An outside model as a judge: verdicts read or refused, never guessed; journalled; pairs asked in both orders."""

from __future__ import annotations

import pytest

from alignment.errors import DataError
from alignment.evaluate.chat_endpoint import ChatEndpoint
from alignment.evaluate.endpoint import EndpointJudge, compare_answers, score_answer
from alignment.evaluate.verdicts import pair_prompt, score_prompt
from alignment.records import Answer, Dialogue, Source, Turn
from alignment.store.journal import read_journal
from alignment.train.session import Session
from tests.alignment.evaluate.conftest import Endpoint, Response

PROMPT = Dialogue(turns=(Turn(role="user", content="Hi"),), source=Source(file="f", line=1), id="p", system="Be kind.")


def test_the_conversation_and_the_answer_are_judged_in_tenths(endpoint: Endpoint) -> None:
    endpoint.replies = ['{"helpfulness": 7, "safety": 10}']
    assert score_answer(ChatEndpoint(endpoint.settings()), PROMPT, "Hello!") == {"helpfulness": 0.7, "safety": 1.0}
    assert endpoint.texts == [score_prompt(PROMPT, "Hello!")]


def test_a_reply_without_a_verdict_is_an_error_that_names_the_prompt(endpoint: Endpoint) -> None:
    endpoint.replies = ["no idea"]
    with pytest.raises(DataError, match=r"f:1: the judge's reply holds no verdict .*'no idea'"):
        score_answer(ChatEndpoint(endpoint.settings()), PROMPT, "a")


@pytest.mark.parametrize("reply", ["Bearer KEY", "x" * 70 + "KEY", '{"helpfulness": "KEY", "safety": 1}', "KEY" * 50])
def test_a_reply_that_echoes_the_key_shows_no_part_of_it(
    reply: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "qx-7Yw9_ZkVj3PmB8fLr5TnH2dGs6Uc4"
    monkeypatch.setenv("JUDGE_AUTH", key)  # a name that tells of no secret
    endpoint.replies = [reply.replace("KEY", key)]
    with pytest.raises(DataError, match="the judge's reply") as caught:
        score_answer(ChatEndpoint(endpoint.settings(key_variable="JUDGE_AUTH")), PROMPT, "a")
    assert [key[i : i + 4] for i in range(len(key) - 3) if key[i : i + 4] in str(caught.value)] == []


def test_both_orders_are_asked_and_a_win_counts_only_if_they_agree(endpoint: Endpoint) -> None:
    chat = ChatEndpoint(endpoint.settings())
    endpoint.replies = ["So [[A]]", "So [[B]]", "[[B]]", "[[A]]", "[[A]]", "[[A]]", "[[tie]]", "[[tie]]"]
    assert [compare_answers(chat, PROMPT, "x", "y") for _ in range(4)] == [1, -1, 0, 0]
    assert endpoint.texts[:2] == [pair_prompt(PROMPT, "x", "y"), pair_prompt(PROMPT, "y", "x")]


def test_a_comparison_without_one_verdict_in_each_order_is_none(endpoint: Endpoint) -> None:
    chat = ChatEndpoint(endpoint.settings())
    endpoint.replies = ["A is better", "[[B]]", "[[A]]", "[[A]] or [[B]]"]
    assert [compare_answers(chat, PROMPT, "x", "y") for _ in range(2)] == [None, None]


def answers(*texts: str) -> list[Answer]:
    return [
        Answer(dialogue=PROMPT, prompt_ids=(1,), token_ids=(2,), text=text, tokenizer="its digest") for text in texts
    ]


def judge(endpoint: Endpoint, session: Session, texts: list[str]) -> list[dict[str, float]]:
    return EndpointJudge(endpoint.settings(), session).judge(answers(*texts))


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


def test_a_reply_that_is_cut_off_costs_its_verdict_and_no_other(endpoint: Endpoint, session: Session) -> None:
    endpoint.replies = [Response(200, {"Content-Length": "500"}, b"{"), '{"helpfulness": 7, "safety": 10}']
    assert judge(endpoint, session, ["a", "b"]) == [{}, {"helpfulness": 0.7, "safety": 1.0}]


def test_an_endpoint_without_verdicts_stops_the_evaluation_and_keeps_what_it_said(
    endpoint: Endpoint, session: Session
) -> None:
    endpoint.replies = ['{"helpfulness": 7, "safety": 10}', 404, "no idea", 404]
    with pytest.raises(DataError):
        judge(endpoint, session, ["a", "b", "c", "d"])
    assert len(read_journal(session.folder / "samples" / "verdicts.jsonl")) == 1


def test_failures_in_a_row_are_counted_over_all_that_is_judged(endpoint: Endpoint, session: Session) -> None:
    endpoint.replies = [404, '{"helpfulness": 7, "safety": 10}', 404, 404, 404]
    outside = EndpointJudge(endpoint.settings(), session)
    assert outside.judge(answers("a", "b", "c")) == [{}, {"helpfulness": 0.7, "safety": 1.0}, {}]
    assert outside.judge(answers("d")) == [{}]
    with pytest.raises(DataError, match="status 404"):
        outside.judge(answers("e"))
    assert outside.without_verdict == 3
