"""Instructions in groups by what training has seen of them, and combined at random.

`seen` instructions are trained; `unseen values` are of a trained kind with another word or number; `unseen
combinations` join two trained instructions whose kinds training never joins; `unseen kinds` are of kinds that no
training dialogue has. Where training combines instructions itself, `seen combinations` are of the kinds that it
joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from alignment.clash import clash
from alignment.constraint import Constraint, combine
from alignment.errors import DataError
from alignment.randomness import named_generator
from alignment.rules import Rule

SEEN, SEEN_COMBINATIONS = "seen", "seen combinations"
UNSEEN_VALUES, UNSEEN_COMBINATIONS, UNSEEN_KINDS = "unseen values", "unseen combinations", "unseen kinds"
GROUPS = (SEEN, SEEN_COMBINATIONS, UNSEEN_VALUES, UNSEEN_COMBINATIONS, UNSEEN_KINDS)
_HELD_OUT_PAIRS = 1 / 3  # of the pairs of kinds, where training combines some; at least one
_COMBINED = 24  # constraints that the group of unseen combinations has at most

KindPair = tuple[Rule, Rule]


def group_constraints(
    train: Sequence[Constraint], held_out: Sequence[Constraint], *, combine_share: float, seed: int
) -> dict[str, list[Constraint]]:
    """The instructions to measure with, by group; a group that would hold none is left out.

    Args:
        train, held_out: as a file, `builtin`, `kinds` or the world gives them.
        combine_share: of the training dialogues, those that training combines two instructions for.

    Raises:
        DataError: something that is held out is trained.
    """
    require_apart(train, held_out)
    kinds = {kind for constraint in train for kind in constraint.kinds}
    trained_pairs = {constraint.kinds for constraint in train if constraint.parts}
    found: dict[str, list[Constraint]] = {name: [] for name in GROUPS}
    found[SEEN] = list(train)
    for constraint in held_out:
        if not set(constraint.kinds) <= kinds:
            found[UNSEEN_KINDS].append(constraint)
        elif constraint.parts and constraint.kinds not in trained_pairs:
            found[UNSEEN_COMBINATIONS].append(constraint)
        else:
            found[UNSEEN_VALUES].append(constraint)
    trained, unseen = kind_pairs(train, seed=seed)
    if combine_share:
        found[SEEN_COMBINATIONS] = combined(train, trained, count=_COMBINED, seed=seed, name="train")
    pairs = [pair for pair in (unseen if combine_share else [*trained, *unseen]) if pair not in trained_pairs]
    found[UNSEEN_COMBINATIONS] += combined(train, pairs, count=_COMBINED, seed=seed, name="unseen")
    return {name: group for name, group in found.items() if group}


def require_apart(train: Sequence[Constraint], held_out: Sequence[Constraint]) -> None:
    """Refuse a held-out instruction that training has, in whatever words.

    Raises:
        DataError: naming the two.
    """
    asked = {constraint.asks: constraint for constraint in train}
    for constraint in held_out:
        if (same := asked.get(constraint.asks)) is not None:
            raise DataError(
                f"the held-out constraint {constraint.id!r} asks for what {same.id!r} asks for, which is trained; give "
                f"it another value or leave it out"
            )


def kind_pairs(constraints: Sequence[Constraint], *, seed: int) -> tuple[list[KindPair], list[KindPair]]:
    """The pairs of kinds that can be joined: those that training may join, and those that it never does.

    A regular expression joins nothing at random, since nobody knows what it asks for.
    """
    by_kind = _by_kind(constraints)
    pairs: list[KindPair] = [
        pair for pair in combinations(sorted(by_kind), 2) if _joinable(by_kind[pair[0]], by_kind[pair[1]])
    ]
    if len(pairs) < 2:
        return pairs, []
    apart = max(1, round(len(pairs) * _HELD_OUT_PAIRS))
    order = named_generator(seed, "gatt-pairs").permutation(len(pairs))
    held = {int(i) for i in order[:apart]}
    return [pair for i, pair in enumerate(pairs) if i not in held], [pair for i, pair in enumerate(pairs) if i in held]


def combined(
    constraints: Sequence[Constraint], pairs: Sequence[KindPair], *, count: int, seed: int, name: str
) -> list[Constraint]:
    """Constraints that join two at random, evenly over the pairs of kinds; none twice, fewer if there are no more."""
    by_kind = _by_kind(constraints)
    choices = {}
    for pair in pairs:
        joined = _joinable(by_kind[pair[0]], by_kind[pair[1]])
        order = named_generator(seed, "gatt-combined", name, *pair).permutation(len(joined))
        choices[pair] = [joined[int(i)] for i in order]
    made: list[Constraint] = []
    deepest = max((len(options) for options in choices.values()), default=0)
    for depth in range(deepest):
        made += [combine(options[depth]) for options in choices.values() if depth < len(options)]
        if len(made) >= count:
            break
    return made[:count]


def training_constraints(
    constraints: Sequence[Constraint], *, count: int, combine_share: float, seed: int
) -> list[Constraint]:
    """One instruction for each of `count` dialogues, of which a share joins two of them.

    Raises:
        DataError: some are to be joined, and no two kinds can be.
    """
    if not combine_share:
        return list(constraints)
    joined = combined(constraints, kind_pairs(constraints, seed=seed)[0], count=count, seed=seed, name="train")
    if not joined:
        raise DataError("gatt.combine asks for instructions to be combined, and no two of these can be; set it to 0")
    draws = named_generator(seed, "gatt-combine")
    chosen, at = [], {True: 0, False: 0}
    for _ in range(count):
        both = bool(draws.random() < combine_share)
        source = joined if both else constraints
        chosen.append(source[at[both] % len(source)])
        at[both] += 1
    return chosen


def _by_kind(constraints: Sequence[Constraint]) -> dict[Rule, list[Constraint]]:
    found: dict[Rule, list[Constraint]] = {}
    for constraint in constraints:
        if not constraint.parts and constraint.kind != "pattern":
            found.setdefault(constraint.kind, []).append(constraint)
    return found


def _joinable(some: Sequence[Constraint], others: Sequence[Constraint]) -> list[tuple[Constraint, Constraint]]:
    return [
        (one, other)
        for one in some
        for other in others
        if not clash((one.kind, one.argument), (other.kind, other.argument))
    ]
