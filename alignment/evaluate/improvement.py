"""Did it get better, by how much, who says so: the sentence, figure and cards for the top of the page.  No torch.

Two models are compared on the prompts that both answered; the difference's interval is a bootstrap over prompts of the
paired differences, since prompts differ more than models do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alignment.evaluate.compared import Compared
from alignment.evaluate.facts import facts_figure
from alignment.evaluate.judge_words import JudgeWords, scale_of
from alignment.evaluate.result import Comparison, Evaluation, ScoredAnswer, VersionScores
from alignment.report import digits
from alignment.report.blocks import Opening, Paragraph
from alignment.report.intervals import bootstrap_mean
from alignment.report.series import Figure, Series
from alignment.report.table import Cell, Interval

Outcome = Literal["better", "worse", "open"]
_SEED = 0  # the resamples are the same whatever the run's seed


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """Two models on the held-out prompts of one campaign, by one judge.

    Attributes:
        judge: its name.
        independent: whether it took no part in training; None where the evaluation does not say.
        prompts: both answered and the judge scored.
        before, after: mean scores with 95 % intervals.
        difference: of the second to the first, paired by prompt.
    """

    campaign: str
    judge: str
    independent: bool | None
    figure: str
    prompts: int
    before: Interval
    after: Interval
    difference: Interval

    @property
    def outcome(self) -> Outcome:
        """What the difference's interval allows to say."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "open"


def improvements(
    evaluation: Evaluation, answers: Sequence[ScoredAnswer], compared: Compared | None
) -> tuple[Improvement, ...]:
    """By campaign how the two models differ, by the first judge: one that took no part in training, if there is one.

    Returns:
        Nothing where there are no two models, or no judge scored both.
    """
    if compared is None or not evaluation.comparisons:
        return ()
    judge = evaluation.comparisons[0].judge
    found = [
        _improvement(entry, evaluation, answers, compared) for entry in evaluation.comparisons if entry.judge == judge
    ]
    return tuple(entry for entry in found if entry is not None)


def headline(found: Sequence[Improvement], compared: Compared | None) -> str:
    """The comparison in one line; "" where there is none."""
    if compared is None:
        return ""
    return "; ".join(
        f"{one.figure}: {compared.before} {one.before.value:.2f} -> {compared.after} {one.after.value:.2f} "
        f"({_signed(one.difference)})"
        for one in found
    )


def opening(
    evaluation: Evaluation, answers: Sequence[ScoredAnswer], compared: Compared | None, words: JudgeWords
) -> Opening:
    """The top of the page; empty where no two models were compared."""
    found = improvements(evaluation, answers, compared)
    if not found or compared is None:
        return Opening()
    models = list(dict.fromkeys(entry.version for entry in evaluation.versions))
    facts = facts_figure(evaluation.recall, models)
    scores = _figure(found, evaluation, words, wide=not facts)  # two figures stand beside each other
    return Opening(
        blocks=(Paragraph(text=sentence(found, compared, words)), scores, *facts),
        cards=tuple(card for one in found for card in _cards(one, compared)),
        judge=found[0].judge,
    )


def sentence(found: Sequence[Improvement], compared: Compared, words: JudgeWords) -> str:
    """The answer: whether, by how much, on what, who says so."""
    judge = words.title(found[0].judge)
    part = {
        True: ", which took no part in training",
        False: ", which took part in training: it tells that training reached its own aim, not what people would say",
        None: "",
    }[found[0].independent]
    changes = ", and ".join(_change(one, compared) for one in found)
    work = compared.work
    return (
        f"Did {work} improve the model? {_answer(found, work)} From {compared.before} to {compared.after}, {changes}; "
        f"judged by {judge}{part}. Intervals are 95 %, over prompts that both models answered."
    )


def _answer(found: Sequence[Improvement], work: str) -> str:
    outcomes = {one.outcome for one in found}
    if outcomes == {"better"}:
        return "Yes."
    if outcomes == {"worse"}:
        return f"No: {work} made it worse."
    if outcomes == {"open"}:
        return "That cannot be told: no difference stands out from the noise."
    return "In part."


def _change(one: Improvement, compared: Compared) -> str:
    ends = f"{_signed(one.difference)}, {one.before.value:.2f} to {one.after.value:.2f}, {one.prompts:,} prompts"
    verb = {"better": "rose", "worse": "fell", "open": "shows no clear change"}[one.outcome]
    return f"{one.campaign} {verb} ({ends})"


def _signed(difference: Interval) -> str:
    sign = "+" if difference.value > 0 else ""
    return f"{sign}{digits.show(difference)}"


def _cards(one: Improvement, compared: Compared) -> tuple[tuple[str, Cell], ...]:
    return (
        (f"{one.figure}, {compared.before}", one.before),
        (f"{one.figure}, {compared.after}", one.after),
        (f"{one.figure}, {compared.after} less {compared.before}", one.difference),
    )


def _figure(found: Sequence[Improvement], evaluation: Evaluation, words: JudgeWords, *, wide: bool) -> Figure:
    judge = found[0].judge
    return points(
        f"Every model on held-out prompts, scored by {words.title(judge)}",
        judge,
        {f"{one.campaign} prompts": (one.campaign, one.figure) for one in found},
        evaluation,
        wide=wide,
    )


def points(
    title: str, judge: str, figures: dict[str, tuple[str, str]], evaluation: Evaluation, *, wide: bool = False
) -> Figure:
    """Every model's mean with its interval, the models by name in the order of training.

    Args:
        figures: series' name -> (campaign, "judge.figure").
    """
    names = list(dict.fromkeys(entry.version for entry in evaluation.versions))
    nothing = Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    series = []
    for title_of_series, (campaign, figure) in figures.items():
        cells = [_mean_of(evaluation, name, campaign, figure) or nothing for name in names]
        series.append(
            Series(
                name=title_of_series,
                x=(),
                y=tuple(cell.value for cell in cells),
                low=tuple(cell.low for cell in cells),
                high=tuple(cell.high for cell in cells),
            )
        )
    return Figure(
        title=title,
        kind="points",
        categories=tuple(names),
        series=tuple(series),
        x_label="model",
        y_label=scale_of(judge),
        note="Models in the order of training"
        + (f" ({', '.join(evaluation.controls)}: beside the versions)" if evaluation.controls else "")
        + "; bars are 95 % bootstrap intervals over prompts.",
        wide=wide,
    )


def _improvement(
    entry: Comparison, evaluation: Evaluation, answers: Sequence[ScoredAnswer], compared: Compared
) -> Improvement | None:
    scores = {
        version: {
            answer.prompt: answer.scores[entry.figure]
            for answer in answers
            if answer.version == version and answer.campaign == entry.campaign and entry.figure in answer.scores
        }
        for version in (compared.before, compared.after)
    }
    before, after = scores[compared.before], scores[compared.after]
    shared = sorted(before.keys() & after.keys())
    if not shared:
        return None
    told = {judge.name: judge.independent for judge in evaluation.judges}
    return Improvement(
        campaign=entry.campaign,
        judge=entry.judge,
        independent=told.get(entry.judge),
        figure=entry.figure,
        prompts=len(shared),
        before=_mean([before[name] for name in shared], evaluation, compared.before, entry),
        after=_mean([after[name] for name in shared], evaluation, compared.after, entry),
        difference=bootstrap_mean([after[name] - before[name] for name in shared], _SEED),
    )


def _mean(scores: Sequence[float], evaluation: Evaluation, version: str, entry: Comparison) -> Interval:
    """The mean of the shared prompts; with the evaluation's own interval where those were all, so that there is one."""
    own = bootstrap_mean(scores, _SEED)
    told = _mean_of(evaluation, version, entry.campaign, entry.figure)
    return told if told is not None and abs(told.value - own.value) < 1e-9 else own


def _mean_of(evaluation: Evaluation, version: str, campaign: str, figure: str) -> Interval | None:
    rows: list[VersionScores] = [
        row for row in evaluation.versions if (row.version, row.campaign, row.task) == (version, campaign, "")
    ]
    return rows[0].figures.get(figure) if rows else None
