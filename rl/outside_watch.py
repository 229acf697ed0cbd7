"""An outside model that watches: each answer compared with the first one that it was shown to the same prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from alignment.errors import CheckpointError, DataError, Unreachable
from alignment.evaluate.chat_endpoint import ChatEndpoint
from alignment.evaluate.endpoint import MOST_FAILURES, compare_answers
from alignment.evaluate.settings import EndpointSettings
from alignment.generate.draw import JOURNALS
from alignment.records import Answer
from alignment.store.journal import Journal
from alignment.train.session import Session

_FILE = "watched.jsonl"
WORTH = {1: 1.0, 0: 0.5, -1: 0.0}  # of a comparison won, tied, lost


class EndpointWatch:
    """A chat-completions endpoint in a watch model's place: what share of comparisons an answer wins.

    The first answer to a prompt that a stage shows is what all later ones are compared with, and worth 0.5 itself: in
    PPO the greedy answer of the model at its start, in rejection sampling's guard the greedy one, in the evaluation
    that of the model that RLHF starts from.  Both orders are asked, and a win counts only if both agree; an answer that
    says the same is a tie and costs no request.  Verdicts are journalled, so that none is paid for twice.

    Args:
        session: first answers and verdicts go to `samples/watched.jsonl` in its folder.

    Attributes:
        tokenizer: none: it reads text.
        without_verdict: answers that got no verdict so far; none was made up.
    """

    tokenizer = None

    def __init__(self, settings: EndpointSettings, session: Session) -> None:
        """Raises UsageError if the named environment variable holds no key."""
        self.endpoint = ChatEndpoint(settings, session.stop)
        self.session = session
        self.path: Path = session.folder / JOURNALS / _FILE
        self.without_verdict = 0
        self._failures_in_a_row = 0

    def compare(self, answers: Sequence[Answer]) -> list[float | None]:
        """1 for an answer that is better than the prompt's first one, 0.5 for a tie, 0 for a worse one.

        Returns:
            None for an answer without a verdict; it is asked for again when the stage goes on.

        Raises:
            DataError: the endpoint gave no verdict three times running.
            CheckpointError: the journal holds something else.
            Interrupted: somebody asked to stop.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        before = self.without_verdict
        with Journal(self.path) as journal:
            first, known = _read(journal, self.path)
            found: list[float | None] = []
            for answer in answers:
                prompt = answer.dialogue.id
                if prompt not in first:
                    first[prompt] = answer.text
                    journal.append({"prompt": prompt, "first": answer.text}, flush=False)
                key = _key(answer)
                if answer.text != first[prompt] and key not in known:
                    self.session.stop.check()
                    verdict = self._verdict(answer, first[prompt])
                    if verdict is None:
                        found.append(None)
                        continue
                    known[key] = verdict
                    journal.append({"answer": key, "preferred": verdict})
                found.append(WORTH[known.get(key, 0)])
        if missing := self.without_verdict - before:
            self.session.progress.note(f"{missing} of {len(answers)} answers got no verdict of the outside watch model")
        return found

    def _verdict(self, answer: Answer, first: str) -> int | None:
        """1, 0 or -1; None where there is none, which is counted.

        Raises:
            DataError: it is the third running.
        """
        fault = DataError(f"{answer.dialogue.source}: a reply of {self.endpoint.url} holds no verdict")
        try:
            verdict = compare_answers(self.endpoint, answer.dialogue, answer.text, first)
        except DataError as error:
            verdict, fault = None, error
        if verdict is not None:
            self._failures_in_a_row = 0
            return verdict
        self._failures_in_a_row += 1
        self.without_verdict += 1
        if self._failures_in_a_row == MOST_FAILURES:
            gone = Unreachable if isinstance(fault, Unreachable) else DataError
            raise gone(
                f"{fault}; that was the third answer running without a verdict (reward.watch.endpoint); the verdicts "
                f"so far are kept, and the stage goes on from them"
            ) from fault
        return None


def _read(journal: Journal, path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """The first answer to each prompt, and the verdicts by answer."""
    first: dict[str, str] = {}
    known: dict[str, int] = {}
    for line, record in enumerate(journal.records, start=1):
        if isinstance(record.get("prompt"), str) and isinstance(record.get("first"), str):
            first[record["prompt"]] = record["first"]
        elif isinstance(record.get("answer"), str) and record.get("preferred") in WORTH:
            known[record["answer"]] = int(record["preferred"])
        else:
            raise CheckpointError(
                f"{path}:{line} is no verdict; move the journal away, and the outside model is asked anew"
            )
    return first, known


def _key(answer: Answer) -> str:
    """Names an answer in the journal."""
    return hashlib.sha256(f"{answer.dialogue.id}\n{answer.text}".encode(errors="backslashreplace")).hexdigest()
