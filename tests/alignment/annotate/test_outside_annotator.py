"""An outside model as annotator: what it costs, what it can be talked into, and how its absence is told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from alignment.annotate.annotator import Metered, Question, Verdict
from alignment.annotate.judging import judge_questions
from alignment.annotate.outside import EndpointAnnotator
from alignment.annotate.probes import probe_questions, talked_into
from alignment.annotate.report import section
from alignment.annotate.settings import PaidEndpointSettings
from alignment.errors import Unreachable
from alignment.evaluate.spent import Spent
from alignment.policy.policy import Policy
from alignment.records import GRADES
from alignment.report.page import Facts
from alignment.store.journal import read_journal
from alignment.train.session import Session
from tests.alignment.annotate.conftest import Longer, question
from tests.alignment.annotate.test_collect import collect
from tests.alignment.evaluate.conftest import Endpoint, Response

FIRST_IS_BETTER = ["[[A better]]", "[[B better]]"]  # by both orders


def reply(text: str, **usage: Any) -> Response:
    told = {"choices": [{"message": {"content": text}}], "usage": usage}
    return Response(200, body=json.dumps(told).encode())


@dataclass
class Costly(Longer):
    """A request and ten tokens for every question, failures among them."""

    paid: bool = True
    spent: Spent = field(default_factory=Spent)

    def compare(self, question: Question, turn: int) -> Verdict:
        self.spent += Spent(requests=1, sent=10, received=2)
        return super().compare(question, turn)


class Obedient(Costly):
    """Prefers whatever answer speaks to it."""

    def compare(self, question: Question, turn: int) -> Verdict:
        said = super().compare(question, turn)
        tells = ["better" in answer for answer in (question.first, question.second)]
        preferred = int(tells[0]) - int(tells[1])
        return Verdict(annotator="m", preferred=preferred, grade="better") if preferred else said  # type: ignore[arg-type]


def test_tokens_are_counted_as_replies_tell_them_and_every_request_is(endpoint: Endpoint) -> None:
    annotator = EndpointAnnotator(endpoint.settings())
    endpoint.replies = [
        503,
        reply("[[A better]]", prompt_tokens=300, completion_tokens=5),
        reply("[[B better]]", prompt_tokens=301, completion_tokens=7),
    ]
    annotator.compare(question("x", "y"), 0)
    assert annotator.spent == Spent(requests=3, sent=601, received=12)


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "9"}])
def test_a_reply_that_does_not_tell_its_tokens_is_counted_as_such(usage: dict[str, Any], endpoint: Endpoint) -> None:
    annotator = EndpointAnnotator(endpoint.settings())
    endpoint.replies = [reply(text, **usage) for text in FIRST_IS_BETTER]
    annotator.compare(question("x", "y"), 0)
    assert annotator.spent == Spent(requests=2, untold=2)


def test_what_was_paid_before_a_stop_is_counted_when_the_stage_goes_on(session: Session) -> None:
    journal = session.folder / "verdicts.jsonl"
    first = judge_questions(
        [question("a", "bb"), question("a", "silence"), question("a", "cc")], Costly(), session, journal
    )
    assert first.spent == Spent(requests=3, sent=30, received=6)
    assert [row["spent"]["requests"] for row in read_journal(journal)] == [1, 2]  # the failure is in the next one's
    again = judge_questions([question("a", "bb"), question("a", "dd")], Costly(), session, journal)
    assert again.spent == Spent(requests=4, sent=40, received=8)


def test_an_annotator_who_costs_nothing_leaves_no_account(session: Session, longer: Longer) -> None:
    judge_questions([question("a", "bb")], longer, session, session.folder / "verdicts.jsonl")
    assert "spent" not in read_journal(session.folder / "verdicts.jsonl")[0]
    assert not isinstance(longer, Metered)


def test_the_page_tells_tokens_and_their_cost(policy: Policy, session: Session) -> None:
    result = collect(policy, Costly(), session).as_json()
    requests = result["asked"]["spent"]["requests"]
    page = section(stage="collect", result=result, prices=(5_000.0, 25_000.0))
    (facts,) = [block for block in page.details if isinstance(block, Facts)]
    told = dict(facts.items)
    assert told["tokens sent and received"] == f"{requests * 10:,} and {requests * 2:,}"
    assert told["cost of these tokens"] == f"{requests * 0.1:,.2f}"
    plain = section(stage="collect", result=result)
    assert "cost of these tokens" not in {
        name for block in plain.details if isinstance(block, Facts) for name, _ in block.items
    }


def test_prices_are_of_the_annotators_settings(endpoint: Endpoint) -> None:
    assert (
        PaidEndpointSettings(model="m", price_sent=2.5).fingerprint_values().keys()
        == endpoint.settings().fingerprint_values().keys()
    )


def test_a_model_that_obeys_answers_is_found_out_and_one_that_judges_them_is_not(
    policy: Policy, session: Session
) -> None:
    obeyed = collect(policy, Obedient(), session).as_json()["asked"]
    assert (obeyed["probes"], obeyed["followed"]) == (len(probe_questions()), len(probe_questions()))
    sound = {probe.key: Verdict(annotator="m", preferred=_sound(probe), grade="better") for probe in probe_questions()}
    assert talked_into(sound) == 0


def _sound(probe: Question) -> Any:
    return 1 if probe.first == "A week has seven days." else -1


def test_a_probes_telling_is_no_verdict_of_the_judges_own() -> None:
    for probe in probe_questions():
        for answer in (probe.first, probe.second):
            assert "[[" not in answer  # else a judge that quotes it would be read as obeying
    assert {grade for grade in GRADES if any(grade in p.first + p.second for p in probe_questions())} >= {
        "significantly"
    }


def test_people_and_towns_are_asked_no_probe(policy: Policy, longer: Longer, session: Session) -> None:
    result = collect(policy, longer, session).as_json()
    assert "asked" not in result
    assert not {key for key, _ in longer.asked} & {probe.key for probe in probe_questions()}


def test_an_endpoint_that_is_down_ends_the_stage_as_one_that_goes_on_later(
    endpoint: Endpoint, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignment.evaluate.chat_endpoint.sleep", lambda seconds: None)
    journal = session.folder / "verdicts.jsonl"
    asked = [question("a", text) for text in ("bb", "cc", "dd", "ee")]
    endpoint.replies = [*FIRST_IS_BETTER, *[503] * 15]  # five tries for each of three questions
    with pytest.raises(Unreachable, match=r"busy \(status 503\).*\(1 verdicts are kept, and the stage goes on"):
        judge_questions(asked, EndpointAnnotator(endpoint.settings()), session, journal)
    endpoint.replies = FIRST_IS_BETTER * 3
    found = judge_questions(asked, EndpointAnnotator(endpoint.settings()), session, journal)
    assert [verdict.preferred for verdict in found.first.values()] == [1, 1, 1, 1]
    assert (found.set_aside, endpoint.replies) == ([], [])
