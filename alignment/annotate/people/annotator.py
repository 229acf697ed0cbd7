"""People behind `Annotator`: the questions are handed out as items, and the stage waits until each has a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from alignment.annotate.annotator import Question, Verdict
from alignment.annotate.people.items import ITEMS_FILE, item_of, write_items
from alignment.annotate.people.verdicts import Verdicts, read_verdicts
from alignment.errors import Waiting
from alignment.randomness import named_generator
from alignment.train.session import Session


class PeopleAnnotator:
    """Whoever sits down to `align annotate`.

    Where several people judged an item, what most of them prefer counts: the verdict that is taken, grade and labels
    with it, is of one of them, drawn by the item.

    Args:
        session: the stage's; the items are written into its folder, the verdicts are read there.
        ask: the command that asks people, for the sentence that says what is waited for.
    """

    paid = False

    def __init__(self, session: Session, *, ask: str) -> None:
        self._session = session
        self._ask = ask
        self._said: dict[str, list[Verdict]] = {}  # question's key -> verdicts, the one that counts first

    @property
    def title(self) -> str:
        """Words for the page."""
        names = sorted({verdict.annotator for said in self._said.values() for verdict in said})
        return f"people ({', '.join(names)})"

    def hand_out(self, questions: Sequence[Question], again: Sequence[Question]) -> Sequence[Question]:
        """Write the items, and read what people said of them.

        Args:
            again: those that a second person is asked to judge too; nobody waits for that.

        Returns:
            The questions that more than one person judged.

        Raises:
            Waiting: a question has no verdict yet.
            CheckpointError: a file of verdicts is damaged.
        """
        folder, scope = self._session.folder, self._session.fingerprint
        twice = {question.key for question in again}
        items = {question.key: item_of(question, scope, twice=question.key in twice) for question in questions}
        write_items(folder / ITEMS_FILE, items.values())
        verdicts = read_verdicts(folder, items.values())
        self._said = {key: _ordered(item.id, verdicts) for key, item in items.items()}
        missing = sum(not said for said in self._said.values())
        if missing:
            raise Waiting(
                f"{missing:,} of {len(items):,} items wait for people's verdicts: `{self._ask}` asks for them, and the "
                f"same command goes on afterwards"
            )
        return [question for question in questions if len(self._said[question.key]) > 1]

    def compare(self, question: Question, turn: int) -> Verdict:
        """What people said of a question that was handed out; the second turn is another person's verdict."""
        return self._said[question.key][turn]


def _ordered(item: str, verdicts: Mapping[str, Verdicts]) -> list[Verdict]:
    """An item's verdicts in an order drawn by the item, the first of what most prefer put first."""
    said = [own[item] for own in verdicts.values() if item in own]
    drawn = [said[i] for i in named_generator(0, "people", item).permutation(len(said)).tolist()]
    votes = Counter(verdict.preferred for verdict in drawn)
    return sorted(drawn, key=lambda verdict: votes[verdict.preferred] < max(votes.values()))
