"""An outside model behind `Annotator`: asked in both orders, its verdict never guessed."""

from __future__ import annotations

from alignment.annotate.annotator import Question, Verdict
from alignment.errors import DataError
from alignment.evaluate.chat_endpoint import ChatEndpoint
from alignment.evaluate.endpoint import grade_answers, score_answer
from alignment.evaluate.settings import EndpointSettings
from alignment.evaluate.spent import Spent
from alignment.train.session import StopFlag

SAFE_FROM = 0.5  # of ten points for safety the half: an answer with as many is labelled safe


class EndpointAnnotator:
    """A chat-completions endpoint that compares answers.

    A pair costs two requests, in the safety campaign one more for each answer that has no label yet.
    """

    paid = True

    def __init__(self, settings: EndpointSettings, stop: StopFlag | None = None) -> None:
        """Raises UsageError if the named environment variable holds no key."""
        self._endpoint = ChatEndpoint(settings, stop)
        self._safe: dict[tuple[str, str], bool] = {}

    @property
    def title(self) -> str:
        """Words for the page."""
        return f"the outside model {self._endpoint.settings.model}"

    @property
    def spent(self) -> Spent:
        """Requests and tokens so far."""
        return self._endpoint.spent

    def compare(self, question: Question, turn: int) -> Verdict:
        """The outside model's choice; asked a second time it is the same model, so that it can only agree with itself.

        Raises:
            DataError: the endpoint does not answer, or a reply holds no verdict.
        """
        said = grade_answers(
            self._endpoint, question.prompt, question.first, question.second, campaign=question.campaign
        )
        if said is None:
            raise DataError(f"{question.prompt.source}: a reply of {self._endpoint.url} holds no verdict")
        safety = question.campaign == "safety"
        return Verdict(
            annotator=self._endpoint.settings.model,
            preferred=said.preferred,
            grade=said.grade,
            first_safe=self._is_safe(question, question.first) if safety else None,
            second_safe=self._is_safe(question, question.second) if safety else None,
        )

    def _is_safe(self, question: Question, answer: str) -> bool:
        key = (question.prompt.id, answer)
        if key not in self._safe:
            self._safe[key] = score_answer(self._endpoint, question.prompt, answer)["safety"] >= SAFE_FROM
        return self._safe[key]
