"""Every variant's answers at every temperature, journalled as they arrive, and which of them may be in a pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from alignment.annotate.pairs import Way
from alignment.annotate.settings import CollectSettings
from alignment.data.forms.columns import RowFault, check_message
from alignment.generate.draw import JOURNALS, answers_of, draw_samples, fitting_prompts
from alignment.policy.policy import Policy
from alignment.records import Answer, Dialogue
from alignment.text.chat import marker_in
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import resolve_compute
from alignment.train.session import Session


@dataclass(kw_only=True)
class DrawnAnswers:
    """What was drawn.

    Attributes:
        usable: prompt's id -> way -> texts that may be in a pair.
        drawn, unusable, cut: answers in all, those that may not, those that were cut at the limit.
        tokens: of all answers.
        left_out: ids of prompts that leave no room for an answer.
    """

    usable: dict[str, dict[Way, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    drawn: int = 0
    unusable: int = 0
    cut: int = 0
    tokens: int = 0
    left_out: set[str] = field(default_factory=set)


def draw_answers(
    variants: Mapping[str, Policy | Callable[[], Policy]],
    prompts: Sequence[Dialogue],
    settings: CollectSettings,
    session: Session,
) -> DrawnAnswers:
    """Every variant's answers at every temperature; what the journals hold is not drawn again."""
    found = DrawnAnswers()
    session.progress.begin(len(variants) * len(settings.temperatures), "variants")
    done = 0
    for name, given in variants.items():
        policy = given if isinstance(given, Policy) else given()
        resolve_compute(session.compute).place(policy.model)
        for temperature in settings.temperatures:
            sampling = settings.sampling(temperature)
            fitting, _ = fitting_prompts(prompts, policy, sampling)
            found.left_out |= {prompt.id for prompt in prompts} - {prompt.id for prompt, _ in fitting}
            samples = draw_samples(
                policy,
                fitting,
                num_samples=settings.answers,
                sampling=sampling,
                seed=session.seed,
                names=("collect", name, f"{temperature:g}"),
                journal_path=session.folder / JOURNALS / f"{name}-{temperature:g}.jsonl",
            )
            way = Way(variant=name, temperature=temperature)
            for options in answers_of(fitting, samples, policy):
                _take(found, way, options, policy.tokenizer, keep_cut=settings.keep_cut)
            done += 1
            session.progress.step(done, {})
            session.stop.check()
    session.progress.end()
    return found


def _take(found: DrawnAnswers, way: Way, options: Sequence[Answer], tokenizer: Tokenizer, *, keep_cut: bool) -> None:
    """Count answers, and take those that may be in a pair."""
    texts = [answer.text for answer in options if (answer.finished or keep_cut) and _readable(answer.text, tokenizer)]
    found.usable[options[0].dialogue.id][way] = texts
    found.drawn += len(options)
    found.unusable += len(options) - len(texts)
    found.cut += sum(not answer.finished for answer in options)
    found.tokens += sum(len(answer.token_ids) for answer in options)


def _readable(text: str, tokenizer: Tokenizer) -> bool:
    """Whether a reward model's data may hold it: not empty, without control tokens, by the rule that reads it there."""
    try:
        check_message(text, "answer")
    except RowFault:
        return False
    return marker_in(text, tokenizer) is None
