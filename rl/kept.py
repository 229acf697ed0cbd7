"""The answers that rejection sampling keeps: which can be, the best of a prompt and of a pool, on disk, as trees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from alignment.batch.tree import Tree
from alignment.records import Dialogue
from alignment.store.atomic import write_text
from alignment.text.chat import answer_ids, marker_in, render_prompt
from alignment.text.tokenizer import Tokenizer
from rl.rollout import Rollout

KEPT_FILE = "kept.jsonl"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An answer to one prompt that is kept, as it travels to later versions.

    Attributes:
        token_ids: as they were sampled and scored, EOS included; a text can often be cut into other tokens too.  Empty
            in what release 0.1.0 kept.
    """

    prompt_id: str
    answer: str
    version: int
    helpfulness: float
    safety: float | None  # None where there is no safety model
    combined: float
    token_ids: tuple[int, ...] = ()


def demonstrable(rollout: Rollout, tokenizer: Tokenizer) -> list[int]:
    """Places of a prompt's answers that can be demonstrations: not cut, not empty, without a chat marker."""
    return [
        k
        for k, (sample, text) in enumerate(zip(rollout.samples, rollout.texts, strict=True))
        if sample.finish_reason == "stop" and text and marker_in(text, tokenizer) is None
    ]


def best_of(rollout: Rollout, usable: Sequence[int], version: int) -> Kept | None:
    """The answer with the highest combined reward among the usable ones; the first of equals; None of none."""
    return next(iter(top_of(rollout, usable, version, 1)), None)


def top_of(rollout: Rollout, usable: Sequence[int], version: int, count: int) -> list[Kept]:
    """The answers with the highest combined rewards among the usable ones, best first; the first of equals.

    An answer that was drawn twice is kept once.
    """
    found: dict[str, Kept] = {}
    for k in sorted(usable, key=lambda i: (-rollout.combined[i], i)):
        if len(found) == count:
            break
        kept = Kept(
            prompt_id=rollout.prompt.id,
            answer=rollout.texts[k],
            version=version,
            helpfulness=rollout.helpfulness[k],
            safety=rollout.safety[k] if rollout.safety is not None else None,
            combined=rollout.combined[k],
            token_ids=rollout.samples[k].token_ids,
        )
        found.setdefault(kept.answer, kept)
    return list(found.values())


def guarded(best: Kept, greedy: Kept | None, guard: float) -> Kept:
    """The best candidate, unless the model's own greedy answer is within `guard` of it: then that one.

    A reward model errs about small differences, and the best of many answers is the one whose score errs upwards the
    most; the greedy answer is what the model believes most, and changes nothing that need not change.
    """
    return greedy if greedy is not None and best.combined < greedy.combined + guard else best


def best_of_pool(versions: Sequence[Sequence[Kept]], count: int = 1) -> list[Kept]:
    """For each prompt the best answers of any version; the newer of equals.  Ordered by prompt id, then best first.

    Args:
        versions: what each kept, oldest first.
        count: answers of a prompt, at most; one that several versions kept counts once.
    """
    pool: dict[str, dict[str, Kept]] = {}
    for version in versions:
        for kept in version:
            answers = pool.setdefault(kept.prompt_id, {})
            if kept.answer not in answers or kept.combined >= answers[kept.answer].combined:
                answers.pop(kept.answer, None)  # the newer one stands behind what is older
                answers[kept.answer] = kept
    newest_first = {prompt: [*answers.values()][::-1] for prompt, answers in pool.items()}
    return [
        kept for prompt in sorted(pool) for kept in sorted(newest_first[prompt], key=lambda one: -one.combined)[:count]
    ]


def kept_tree(prompt: Dialogue, kept: Kept, tokenizer: Tokenizer, context_length: int) -> Tree:
    """A kept answer after its prompt, cut at the context; the answer's tokens carry loss."""
    start = render_prompt(prompt, tokenizer)
    answer = list(kept.token_ids) or answer_ids(kept.answer, tokenizer)
    ids = (start + answer)[:context_length]
    trained = ([False] * len(start) + [True] * len(answer))[:context_length]
    return Tree.sequence(ids, trained, row=str(prompt.source))


def write_kept(path: Path, kept: Sequence[Kept]) -> None:
    """Write a version's kept answers."""
    write_text(path, "".join(json.dumps(asdict(answer)) + "\n" for answer in kept))


def read_kept(path: Path) -> list[Kept]:
    """The kept answers of a finished version."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [Kept(**row | {"token_ids": tuple(row.get("token_ids", ()))}) for row in rows]
