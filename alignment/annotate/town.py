"""The embedded world's simulated annotators behind `Annotator`: each question goes to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from alignment.annotate.annotator import Question, Verdict
from alignment.errors import DataError
from alignment.randomness import named_generator

if TYPE_CHECKING:
    from alignment.world import World


class TownAnnotators:
    """The people of a town, each with a taste and a noise of their own; they judge whatever policy wrote.

    Args:
        world: the town; its prompts alone can be judged, since only of them the truth is known.
        seed: the run's: names who is asked and what the noise is.
    """

    paid = False

    def __init__(self, world: World, *, seed: int) -> None:
        self._pool = world.annotators()
        self._seed = seed

    @property
    def title(self) -> str:
        """Words for the page."""
        return f"{len(self._pool.names)} simulated annotators of the embedded world"

    def compare(self, question: Question, turn: int) -> Verdict:
        """One person's choice; the second turn is another one's.

        Raises:
            DataError: the prompt is not the world's.
        """
        if not isinstance(question.prompt.meta.get("truth"), Mapping):
            raise DataError(
                f"{question.prompt.source} is no prompt of the embedded world, whose annotators know the truth of its "
                f"own alone; have an endpoint compare"
            )
        names = self._pool.names
        order = named_generator(self._seed, "annotators", question.key).permutation(len(names))
        name = names[int(order[turn % len(names)])]
        noise = partial(named_generator, self._seed, "annotate", question.key, turn)
        asked = (question.prompt, question.first, question.second, question.campaign, name)
        pair = self._pool.compare(*asked, noise())
        if pair is None:  # the world drops a pair whose chosen answer is unsafe and the other one safe
            said = self._pool.annotate(*asked, noise())
            return Verdict(
                annotator=name,
                preferred=1 if said.first_chosen else -1,
                grade=said.grade,
                first_safe=not said.first_chosen,
                second_safe=said.first_chosen,
            )
        first_chosen = pair.chosen == question.first
        safe = (pair.chosen_safe, pair.rejected_safe)
        return Verdict(
            annotator=name,
            preferred=1 if first_chosen else -1,
            grade=pair.grade,
            first_safe=safe[0] if first_chosen else safe[1],
            second_safe=safe[1] if first_chosen else safe[0],
        )
