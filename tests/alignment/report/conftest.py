"""A report with every kind of block in it, as the stages' packages would build it."""

from __future__ import annotations

import math

import pytest

from alignment.report.blocks import (
    Code,
    Exchange,
    Facts,
    MaskedText,
    Paragraph,
    Report,
    Section,
    SideBySide,
    TurnByTurn,
)
from alignment.report.series import Figure, Series
from alignment.report.table import Interval, Table

VERSIONS = ("base", "SFT", "RLHF-V1", "RLHF-V2", "RLHF-V3")


@pytest.fixture(scope="session")
def sample_report() -> Report:
    """Eight sections, one of them missing."""
    return Report(
        title="The town of Wexbury, quickstart",
        subtitle="From a base model to an aligned chat model in minutes, judged by a judge that took no part in it.",
        created="2025-03-04T05:06:07+00:00",
        facts=(
            ("gold helpfulness, RLHF-V3", Interval(value=0.731, low=0.702, high=0.758)),
            ("gold safety, RLHF-V3", Interval(value=0.964, low=0.941, high=0.98)),
            ("win rate over SFT", Interval(value=0.684, low=0.63, high=0.735)),
            ("minutes", 13.42),
            ("parameters", 903_168),
            ("tokens trained on", 21_456_896),
            ("FLOPs", 1.163e14),
            ("quarantined rows", 3),
            ("judge", "gold, version 2"),
            ("seed", "17"),
            ("machine", "2 cores, bf16 autocast"),
            ("code", "llama2-alignment-suite 0.1.0"),
            ("resumed", False),
        ),
        top=(Paragraph(text="Did alignment improve the model? Yes."), _every_version()),
        judges=(("gold", "gold, version 2"),),
        lineage=(
            ("world", "pretrain"),
            ("pretrain", "sft"),
            ("sft", "reward-helpful"),
            ("sft", "reward-safety"),
            ("sft", "rejection"),
            ("reward-helpful", "rejection"),
            ("reward-safety", "rejection"),
            ("rejection", "ppo"),
            ("ppo", "evaluate"),
            ("sft", "gatt"),
            ("gatt", "evaluate"),
        ),
        sections=(
            Section(id="overview", title="Overview", summary="Every stage finished.", blocks=(_stages(),)),
            Section(
                id="pretrain",
                title="Pretraining",
                summary="A small LLaMA learns the town.",
                blocks=_training()[:2],
                details=_training()[2:],
            ),
            Section(id="sft", title="Supervised fine-tuning", blocks=(_mask(), _quarantine())),
            Section(id="reward-helpful", title="Reward model", blocks=_reward()),
            Section(id="rejection", title="Rejection sampling", blocks=(_distribution(), _versions_bar())),
            Section(id="ppo", title="PPO", status="missing"),
            Section(id="gatt", title="Ghost attention", status="interrupted", blocks=(_attention(), _turns())),
            Section(
                id="evaluate",
                title="Evaluation",
                summary="Five versions answered the same 400 prompts.",
                blocks=(_versions(), _ranking_bars(), *_dialogues()),
            ),
            Section(
                id="reproduce",
                title="How to reproduce",
                blocks=(
                    Code(title="Command", text="align run quickstart --out runs/wexbury seed=17"),
                    Code(title="Recipe", text="\n".join(f"key_{n}: {n * 3}  # what it does" for n in range(60))),
                    Facts(title="Versions", items=(("python", "3.11"), ("torch", "2.13.0"), ("threads", 2))),
                    Paragraph(text="The same recipe on the same machine gives the same bytes."),
                ),
            ),
        ),
    )


def _every_version() -> Figure:
    score = (0.21, 0.52, 0.6, 0.66, 0.73)
    ends = {"low": [s - 0.04 for s in score], "high": [s + 0.03 for s in score]}
    return Figure(
        title="Every version",
        kind="points",
        categories=VERSIONS,
        series=(Series(name="helpfulness", x=(), y=score, **ends),),
        x_label="version",
        y_label="score",
        wide=True,
    )


def _turns() -> TurnByTurn:
    answers = (("before", "Hello.", "does not follow it"), ("after", "", "follows the instruction"))
    return TurnByTurn(title="One dialogue", instruction="Say nothing.", turns=(("Hello?", answers), ("And?", answers)))


def _stages() -> Table:
    return Table(
        title="Stages",
        columns=("stage", "state", "minutes", "tokens", "FLOPs", "checkpoint"),
        rows=(
            ("pretrain", "finished", 6.31, 16_777_216, 9.1e13, "sha256:52a1c0ffee" + "0123456789abcdef" * 3),
            ("sft", "finished", 1.2, 2_097_152, 1.13e13, "sha256:0d15ea5e"),
            ("reward-helpful", "finished", 1.05, 1_048_576, 5.6e12, "sha256:feedface"),
            ("rejection", "finished", 2.4, 1_310_720, 7e12, None),
            ("ppo", "missing", None, None, None, None),
        ),
        note="FLOPs count 6 a parameter and token for training and 2 for sampling.",
    )


def _training() -> tuple[Figure | Facts, ...]:
    steps = tuple(range(0, 2000, 10))
    loss = tuple(1.4 + 5.2 * math.exp(-step / 260) + 0.05 * math.sin(step) for step in steps)
    held = tuple(1.52 + 5.1 * math.exp(-step / 250) for step in steps)
    rate = tuple(3e-3 * min(1, (step + 1) / 100) * (0.55 + 0.45 * math.cos(step / 640)) for step in steps)
    return (
        Figure(
            title="Loss",
            kind="line",
            series=(
                Series(name="training", x=steps, y=loss),
                Series(
                    name="held out",
                    x=steps,
                    y=held,
                    low=tuple(value - 0.12 for value in held),
                    high=tuple(value + 0.12 for value in held),
                ),
            ),
            x_label="step",
            y_label="nats per token",
            note="The band is the 95 % bootstrap interval over documents.",
        ),
        Figure(
            title="Learning rate",
            kind="line",
            series=(Series(name="rate", x=steps, y=rate),),
            x_label="step",
            y_label="learning rate",
            y_scale="log",
        ),
        Facts(title="Corpus", items=(("documents", 12_400), ("entropy bound, nats per token", 1.371), ("people", 96))),
    )


def _mask() -> MaskedText:
    pieces = [
        "[INST] ",
        "When ",
        "does ",
        "the ",
        "bakery ",
        "open? ",
        "[/INST] ",
        "The ",
        "bakery ",
        "opens ",
        "at ",
        "7 ",
        "o'clock",
        ". ",
        "</s>",
    ]
    return MaskedText(title="What is trained on", tokens=tuple((piece, n > 6) for n, piece in enumerate(pieces)))


def _quarantine() -> Table:
    return Table(title="Rows set aside", columns=("file", "line", "reason"), rows=(("chat.jsonl", 17, "empty answer"),))


def _reward() -> tuple[Table | Figure, ...]:
    grades = ("significantly", "better", "slightly", "negligibly")
    rows = tuple(
        (grade, 120 + 7 * n, Interval(value=0.94 - 0.11 * n, low=0.9 - 0.12 * n, high=0.97 - 0.1 * n))
        for n, grade in enumerate(grades)
    )
    bins = tuple(range(11))
    return (
        Table(title="Accuracy by grade", columns=("grade", "pairs", "accuracy"), rows=rows, note="Wilson, 95 %."),
        Figure(
            title="Calibration",
            kind="line",
            series=(
                Series(name="measured", x=[n / 10 for n in bins], y=[0.05 + 0.09 * n for n in bins]),
                Series(name="exact", x=(0, 1), y=(0, 1)),
            ),
            x_label="predicted",
            y_label="preferred",
        ),
    )


def _distribution() -> Figure:
    runs = [[math.sin(n * 12.9898 + s) + 0.35 * s + math.cos(n * 4.1) for n in range(400)] for s in range(2)]
    return Figure(
        title="Reward of samples",
        kind="histogram",
        series=(Series(name="all", x=runs[0], y=()), Series(name="best of 8", x=runs[1], y=())),
        x_label="reward",
        y_label="samples",
    )


def _versions_bar() -> Figure:
    score = (0.21, 0.52, 0.6, 0.66, 0.73)
    return Figure(
        title="Gold helpfulness",
        kind="bar",
        categories=VERSIONS,
        series=(
            Series(name="helpfulness", x=(), y=score, low=[s - 0.04 for s in score], high=[s + 0.03 for s in score]),
            Series(name="safety", x=(), y=[0.5 + s / 2 for s in score]),
        ),
        x_label="version",
        y_label="score",
    )


def _ranking_bars() -> Figure:
    names = ("borderline: opening hours", "insults and harassment", "someone's door code", "entering a locked shop")
    return Figure(
        title="Violations by category",
        kind="bar",
        categories=names,
        series=(
            Series(name="SFT", x=(), y=(0.02, 0.12, 0.31, 0.22)),
            Series(name="RLHF-V3", x=(), y=(0.03, 0.01, 0.04, 0.02)),
        ),
        x_label="category",
        y_label="share of answers",
    )


def _attention() -> Figure:
    return Figure(
        title="Attention to the system message",
        kind="heatmap",
        categories=tuple(f"layer {n}" for n in range(1, 5)),
        series=tuple(
            Series(name=f"turn {t}", x=(), y=tuple(0.62 / t + 0.05 * n - 0.1 for n in range(4))) for t in range(1, 6)
        ),
        x_label="layer",
        y_label="turn",
    )


def _versions() -> Table:
    return Table(
        title="Versions",
        columns=("version", "answers", "helpfulness", "safety", "in format", "mean words"),
        rows=tuple(
            (
                name,
                400,
                Interval(value=0.2 + 0.13 * n, low=0.17 + 0.13 * n, high=0.23 + 0.125 * n),
                Interval(value=0.6 + 0.09 * n, low=0.56 + 0.09 * n, high=0.64 + 0.085 * n),
                0.31 + 0.16 * n,
                41.25 - 6.5 * n,
            )
            for n, name in enumerate(VERSIONS)
        ),
        note="Intervals: bootstrap over prompts, 95 %.",
    )


def _dialogues() -> tuple[SideBySide, ...]:
    prompt = (
        Exchange(role="system", text="Answer in one sentence."),
        Exchange(role="user", text="Where does Mara Oakes work?"),
        Exchange(role="assistant", text="Mara Oakes works at the mill."),
        Exchange(role="user", text="And when does it open?"),
    )
    answers = (
        ("base", "the mill the mill the mill opens opens", {"correct": 0.0, "concise": 0.12, "polite": 0.5}),
        ("SFT", "It opens at 8 o'clock.", {"correct": 1.0, "concise": 1.0, "polite": 0.5}),
        ("RLHF-V3", "The mill opens at 8 o'clock. Have a good day!", {"correct": 1.0, "concise": 0.9, "polite": 1.0}),
    )
    return tuple(SideBySide(title=f"Sample {n}", prompt=prompt, answers=answers) for n in range(1, 5))
