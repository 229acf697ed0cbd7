"""The two annotators: a town's people, and an outside model that is asked in both orders."""

from __future__ import annotations

import pytest

from alignment.annotate.annotator import Question, Verdict
from alignment.annotate.outside import EndpointAnnotator
from alignment.annotate.town import TownAnnotators
from alignment.errors import DataError
from alignment.evaluate.verdicts import graded_prompt, score_prompt
from alignment.records import GRADES
from alignment.world import World, WorldSettings
from tests.alignment.annotate.conftest import question
from tests.alignment.evaluate.conftest import Endpoint, Response


def of_the_town(world: World, campaign: str = "helpfulness") -> Question:
    pair = next(iter(world.preferences(campaign)))  # type: ignore[arg-type]
    return Question(prompt=pair.prompt, first=pair.chosen, second=pair.rejected, campaign=campaign)


class TestTown:
    def test_a_verdict_depends_on_the_question_and_the_seed_alone(self, world: World) -> None:
        asked = of_the_town(world)
        said = TownAnnotators(world, seed=0).compare(asked, 0)
        assert said == TownAnnotators(world, seed=0).compare(asked, 0)
        assert said.annotator in world.annotators().names
        assert said.grade in GRADES

    def test_the_second_time_somebody_else_is_asked(self, world: World) -> None:
        people = TownAnnotators(world, seed=0)
        assert people.compare(of_the_town(world), 0).annotator != people.compare(of_the_town(world), 1).annotator

    def test_the_better_answer_is_mostly_preferred_in_either_place(self, world: World) -> None:
        people = TownAnnotators(world, seed=1)
        pairs = [pair for pair in world.preferences("helpfulness") if pair.grade == "significantly"][:60]
        right = 0
        for i, pair in enumerate(pairs):
            shown = (pair.chosen, pair.rejected) if i % 2 else (pair.rejected, pair.chosen)
            asked = Question(prompt=pair.prompt, first=shown[0], second=shown[1], campaign="helpfulness")
            right += people.compare(asked, 0).preferred == (1 if i % 2 else -1)
        assert right > 0.75 * len(pairs)

    def test_the_safety_campaign_labels_both_answers(self, world: World) -> None:
        people = TownAnnotators(world, seed=0)
        said = people.compare(of_the_town(world, "safety"), 0)
        assert {type(said.first_safe), type(said.second_safe)} == {bool}
        assert people.compare(of_the_town(world), 0).first_safe is None

    def test_an_unsafe_answer_preferred_to_a_safe_one_is_said_so(self) -> None:
        world = World(WorldSettings(size="seconds", annotator_noise=2.0))  # careless people: else it hardly happens
        people = TownAnnotators(world, seed=0)
        pairs = [pair for pair in world.preferences("safety") if pair.chosen_safe and pair.rejected_safe is False]
        said = [
            people.compare(
                Question(prompt=pair.prompt, first=pair.rejected, second=pair.chosen, campaign="safety"), turn=0
            )
            for pair in pairs[:60]
        ]
        assert {(verdict.first_safe, verdict.second_safe) for verdict in said} == {(False, True)}
        assert {verdict.preferred for verdict in said if verdict.prefers_unsafe} == {1}

    def test_of_other_prompts_it_knows_no_truth(self, world: World) -> None:
        with pytest.raises(DataError, match=r"made:1 is no prompt of the embedded world"):
            TownAnnotators(world, seed=0).compare(question("a", "b"), 0)


class TestEndpoint:
    def test_both_orders_are_asked_and_the_weaker_grade_holds(self, endpoint: Endpoint) -> None:
        endpoint.replies = ["So [[A significantly]]", "[[B slightly]]"]
        said = EndpointAnnotator(endpoint.settings()).compare(question("x", "y"), 0)
        assert said == Verdict(annotator="m", preferred=1, grade="slightly")
        prompt = question("x", "y").prompt
        assert endpoint.texts == [
            graded_prompt(prompt, "x", "y", "helpfulness"),
            graded_prompt(prompt, "y", "x", "helpfulness"),
        ]

    @pytest.mark.parametrize("replies", [("[[A better]]", "[[A better]]"), ("[[unsure]]", "[[B better]]")])
    def test_orders_that_do_not_agree_are_unsure(self, endpoint: Endpoint, replies: tuple[str, str]) -> None:
        endpoint.replies = list(replies)
        said = EndpointAnnotator(endpoint.settings()).compare(question("x", "y"), 0)
        assert said == Verdict(annotator="m", preferred=0)

    @pytest.mark.parametrize("reply", ["A", "[[A]]", "[[A enormously]]", "[[A better]] or [[B better]]", "[[tie]]"])
    def test_a_reply_without_one_verdict_is_none(self, endpoint: Endpoint, reply: str) -> None:
        endpoint.replies = [reply, "[[B better]]"]
        with pytest.raises(DataError, match=r"made:1: a reply of http.* holds no verdict"):
            EndpointAnnotator(endpoint.settings()).compare(question("x", "y"), 0)

    def test_in_the_safety_campaign_each_answer_is_labelled_once(self, endpoint: Endpoint) -> None:
        annotator = EndpointAnnotator(endpoint.settings())
        good, bad = '{"helpfulness": 3, "safety": 9}', '{"helpfulness": 9, "safety": 4}'
        endpoint.replies = ["[[A better]]", "[[B better]]", good, bad, "[[A better]]", "[[B better]]", good]
        said = annotator.compare(question("x", "y", "safety"), 0)
        assert (said.first_safe, said.second_safe, said.prefers_unsafe) == (True, False, False)
        said = annotator.compare(question("z", "y", "safety"), 0)
        assert (said.first_safe, said.second_safe) == (True, False)
        prompt = question("x", "y", "safety").prompt
        assert endpoint.texts[2:4] == [score_prompt(prompt, "x"), score_prompt(prompt, "y")]

    def test_an_endpoint_that_is_busy_is_asked_again(self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("alignment.evaluate.chat_endpoint.sleep", lambda seconds: None)
        endpoint.replies = [Response(429, headers={"Retry-After": "1"}), "[[A better]]", 503, "[[B better]]"]
        assert EndpointAnnotator(endpoint.settings()).compare(question("x", "y"), 0).preferred == 1
        assert len(endpoint.texts) == 4
