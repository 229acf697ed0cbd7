"""An outside model as a judge, over HTTP in OpenAI's form: greedy, both orders of a pair, and no guessing.

Llama 2 paper, 3.4.2 (GPT-4 as a judge, answers in random order): here both orders are asked and a win
counts only if they agree.  A reply that holds no verdict is counted and left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from alignment.errors import DataError
from alignment.evaluate.chat_endpoint import ChatEndpoint
from alignment.evaluate.settings import EndpointSettings
from alignment.evaluate.verdicts import (
    graded_prompt,
    pair_prompt,
    read_choice,
    read_graded,
    read_scores,
    score_prompt,
)
from alignment.generate.draw import JOURNALS
from alignment.judging import Decision
from alignment.records import GRADES, Answer, Dialogue, Grade
from alignment.store.journal import Journal
from alignment.train.session import Session

MOST_FAILURES = 3  # one after another: then the endpoint is gone, not one reply unreadable
_TIE = 0.05  # half a point of ten: whole points that are equal tie, others do not


class EndpointJudge:
    """A chat-completions endpoint as a judge; its verdicts are journalled, so that none is paid for twice.

    Args:
        session: verdicts go to `samples/verdicts.jsonl` in its folder.

    Attributes:
        without_verdict: answers that got no verdict so far; none was guessed.
    """

    name = "endpoint"
    independent = True
    decides: Mapping[str, Decision] = MappingProxyType(
        {campaign: Decision(figure=campaign, tie=_TIE) for campaign in ("helpfulness", "safety")}
    )

    def __init__(self, settings: EndpointSettings, session: Session) -> None:
        self.endpoint = ChatEndpoint(settings, session.stop)
        self.session = session
        self.path: Path = session.folder / JOURNALS / "verdicts.jsonl"
        self.without_verdict = 0
        self._failures_in_a_row = 0  # over all calls: campaigns may have few prompts

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        """`helpfulness` and `safety` in [0, 1] of every answer, asked for where the journal has no verdict yet.

        Returns:
            An empty mapping for an answer without a verdict; it is asked for again when the stage goes on.

        Raises:
            DataError: the endpoint gave no verdict three times running.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        found: list[dict[str, float]] = []
        with Journal(self.path) as journal:
            known = {record["answer"]: record for record in journal.records}
            for answer in answers:
                key = _key(answer)
                if key not in known:
                    self.session.stop.check()
                    try:
                        scores = score_answer(self.endpoint, answer.dialogue, answer.text)
                    except DataError:
                        self._failures_in_a_row += 1
                        if self._failures_in_a_row == MOST_FAILURES:
                            raise
                        self.without_verdict += 1
                        found.append({})
                        continue
                    self._failures_in_a_row = 0
                    known[key] = {"answer": key, **scores}
                    journal.append(known[key])
                found.append({name: known[key][name] for name in ("helpfulness", "safety")})
        if self.without_verdict:
            self.session.progress.note(f"{self.without_verdict} replies of the outside judge held no verdict so far")
        return found


def score_answer(endpoint: ChatEndpoint, dialogue: Dialogue, answer: str) -> dict[str, float]:
    """Helpfulness and safety of one answer: points from 0 to 10, divided by ten.

    Raises:
        DataError: the endpoint does not answer, or its reply holds no verdict.
    """
    reply = endpoint.ask(score_prompt(dialogue, answer))
    try:
        return read_scores(reply)
    except DataError as error:
        fault, quoted = endpoint.without_key(str(error)), endpoint.without_key(reply[:200])[:80]
        raise DataError(f"{dialogue.source}: the judge's reply {fault}; it was {quoted!r}") from None


def compare_answers(endpoint: ChatEndpoint, dialogue: Dialogue, first: str, second: str) -> int | None:
    """Two answers compared in both orders: a win counts only if both orders agree on it, else it is a tie.

    Returns:
        1 if the first answer is better, -1 the second, 0 a tie; None if the reply to either order holds no verdict.

    Raises:
        DataError: the endpoint does not answer.
    """
    forward = read_choice(endpoint.ask(pair_prompt(dialogue, first, second)))
    backward = read_choice(endpoint.ask(pair_prompt(dialogue, second, first)))
    if forward is None or backward is None:
        return None
    return forward if forward == -backward else 0


@dataclass(frozen=True, kw_only=True)
class GradedChoice:
    """Which of two answers is better (1 the first, -1 the second, 0 unsure), and how much."""

    preferred: Literal[1, 0, -1]
    grade: Grade | None = None


def grade_answers(
    endpoint: ChatEndpoint, dialogue: Dialogue, first: str, second: str, *, campaign: str
) -> GradedChoice | None:
    """Two answers compared in both orders by a campaign's guidelines, with the weaker one of the two grades.

    Args:
        campaign: "helpfulness" or "safety".

    Returns:
        Unsure where the orders do not agree on the better answer; None if the reply to either holds no verdict.

    Raises:
        DataError: the endpoint does not answer.
    """
    forward = read_graded(endpoint.ask(graded_prompt(dialogue, first, second, campaign)))
    backward = read_graded(endpoint.ask(graded_prompt(dialogue, second, first, campaign)))
    if forward is None or backward is None:
        return None
    grades = [grade for _, grade in (forward, backward) if grade is not None]
    if forward[0] == 0 or forward[0] != -backward[0]:
        return GradedChoice(preferred=0)
    return GradedChoice(preferred=1 if forward[0] > 0 else -1, grade=min(grades, key=GRADES.index))


def _key(answer: Answer) -> str:
    """Names an answer in the journal."""
    return hashlib.sha256(f"{answer.dialogue.id}\n{answer.text}".encode(errors="backslashreplace")).hexdigest()
