"""An outside judge's verdicts on every answer, journalled as they arrive, so that none is paid for twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from alignment.errors import DataError
from alignment.evaluate.endpoint import EndpointJudge
from alignment.evaluate.endpoint_settings import EndpointSettings
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.store.journal import Journal
from alignment.train.session import Session

MOST_FAILURES = 3  # one after another: then the endpoint is gone, not one reply unreadable


class EndpointScorer:
    """Figures `helpfulness` and `safety` in [0, 1]; an answer without a verdict has none and is counted.

    Args:
        settings: the endpoint.
        session: verdicts go to `samples/verdicts.jsonl` in its folder.
    """

    def __init__(self, settings: EndpointSettings, session: Session) -> None:
        self.judge = EndpointJudge(settings)
        self.session = session
        self.path: Path = session.folder / "samples" / "verdicts.jsonl"
        self.without_verdict = 0

    def __call__(
        self,
        policy: Policy,
        dialogues: Sequence[Dialogue],
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        texts: Sequence[str],
    ) -> list[dict[str, float]]:
        """Ask for every answer that has no verdict yet.

        Raises:
            DataError: the endpoint gave no verdict three times running.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        found: list[dict[str, float]] = []
        failures = 0
        with Journal(self.path) as journal:
            known = {record["answer"]: record for record in journal.records}
            for dialogue, text in zip(dialogues, texts, strict=True):
                key = hashlib.sha256(f"{dialogue.id}\n{text}".encode(errors="backslashreplace")).hexdigest()
                if key not in known:
                    self.session.stop.check()
                    try:
                        verdict = self.judge.judge(dialogue, text)
                        figures = {"helpfulness": verdict.helpfulness, "safety": verdict.safety}
                        failures = 0
                    except DataError:
                        failures += 1
                        if failures == MOST_FAILURES:
                            raise
                        self.without_verdict += 1
                        found.append({})
                        continue  # not journalled: it is asked again when the stage goes on
                    known[key] = {"answer": key, **figures}
                    journal.append(known[key])
                record = known[key]
                found.append({"helpfulness": record["helpfulness"], "safety": record["safety"]})
        if self.without_verdict:
            self.session.progress.note(f"{self.without_verdict} replies of the outside judge held no verdict so far")
        return found
