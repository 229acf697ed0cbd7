"""`align chat`: a conversation with a run's model, line by line; what the model says cannot steer the terminal."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alignment.errors import DataError, RequestTooLong, UsageError
from alignment.generate.settings import SamplingSettings
from alignment.randomness import named_seed
from alignment.records import Dialogue, Source, Turn
from alignment.store.manifest import NAME as MANIFEST
from alignment.store.manifest import read_manifest
from recipes.masking import escape_controls, safe
from recipes.running.folder import MARKER, require_run, stage_folders
from recipes.running.record import read_record
from recipes.stages.kind import Makes
from recipes.stages.table import STAGES

if TYPE_CHECKING:
    from alignment.generate.sampler import Sampler
    from alignment.policy.policy import Policy

_CONFIGS = ("config.json", "params.json", "adapter_config.json")  # transformers', Meta's, PEFT's
MAX_LINE = 100_000  # characters of one message
COMMANDS = {
    "/new": "starts a fresh dialogue (the system message stays)",
    "/help": "says what can be typed",
    "/quit": "ends, as Ctrl-D does",
}


def chat_on_terminal(
    run: Path,
    *,
    stage: str | None,
    system: str | None,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    seed: int,
) -> None:
    """Talk to a run's model, or a checkpoint's, until the input ends; what `COMMANDS` names is done and not answered.

    Raises:
        UsageError: there is neither a run nor a checkpoint, or no such finished stage.
    """
    name, folder = find_model(run, stage)
    sampling = SamplingSettings(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens)
    from alignment.generate.draw import make_sampler
    from alignment.policy.policy import load_policy

    policy = load_policy(folder)
    answers = conversation(
        _lines(), policy=policy, sampler=make_sampler(policy), sampling=sampling, system=system, seed=seed, say=_say
    )
    if sys.stdin.isatty():
        who = f"{name} of {run}" if name else f"the model of {run}"
        _say(f"{who}; /new starts afresh, /help tells more, /quit or Ctrl-D ends")
    for answer in answers:
        print(escape_controls(answer), flush=True)


def conversation(
    lines: Iterable[str],
    *,
    policy: Policy,
    sampler: Sampler,
    sampling: SamplingSettings,
    system: str | None,
    seed: int,
    say: Callable[[str], None],
) -> Iterator[str]:
    """Answers to lines, each seeing the turns before it; the same seed and lines give the same answers.

    Args:
        say: told of lines that cannot be answered; the dialogue goes on without them.
    """
    from alignment.generate.sampler import SampleRequest
    from alignment.text.chat import render_prompt

    dialogue = _fresh(system)
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if line == "/quit":
            return
        if line == "/new":
            dialogue = _fresh(system)
            say("a new dialogue begins")
            continue
        if line == "/help":
            for command, what in COMMANDS.items():
                say(f"{command:6} {what}")
            say("any other line is a message to the model")
            continue
        if not line:
            continue
        asked = dataclasses.replace(
            dialogue,
            turns=(*dialogue.turns, Turn(role="user", content=line[:MAX_LINE])),
            source=Source(file="chat", line=number),
        )
        try:
            ids = tuple(render_prompt(asked, policy.tokenizer))
            request = SampleRequest(
                id=f"chat-{number}", prompt_ids=ids, seeds=(named_seed(seed, "chat", len(asked.turns), *ids),)
            )
            sample = sampler.sample([request], sampling)[0][0]
        except RequestTooLong as error:
            say(f"{error}; /new starts a fresh dialogue")
            continue
        except DataError as error:
            say(str(error))
            continue
        answer = policy.tokenizer.decode(sample.token_ids).strip()
        dialogue = asked.answered(answer)
        yield answer


def find_model(run: Path, stage: str | None) -> tuple[str, Path]:
    """The stage and checkpoint folder to talk to: of a run the named one, else the newest finished.

    Args:
        run: a run's folder; or a checkpoint's, or a stage's that holds one, whose name is then "".

    Raises:
        UsageError: there is none; names what there is.
    """
    if not (run / MARKER).exists():
        checkpoint = _checkpoint_at(run)
        if checkpoint is None:
            raise UsageError(
                f"{run} holds neither a run ({MARKER}) nor a checkpoint ({' or '.join(_CONFIGS)}); a run's folder, as "
                f"runs/quickstart, or a checkpoint's is right"
            )
        if stage is not None:
            raise UsageError(f"--stage chooses among the models of a run; {run} is a checkpoint, which is one model")
        return "", checkpoint
    require_run(run)
    found: dict[str, Path] = {}
    versions: list[str] = []  # what a stage goes on from; a control is to be compared with, and talks when it is named
    for folder in stage_folders(run):
        record = read_record(folder)
        speaks = record is not None and record.status == "finished" and _speaks(record.kind)
        if (folder / "checkpoint").is_symlink():
            raise UsageError(f"{folder / 'checkpoint'} is a symbolic link; a run holds its models itself")
        if record is not None and speaks and (folder / "checkpoint").is_dir():
            found[record.name] = folder / "checkpoint"
            versions += [record.name] * (Makes.POLICY in STAGES[record.kind].makes)
    if not found:
        raise UsageError(f"{run} has no finished model yet; `align stages {run}` shows how far it is")
    if stage is None:
        newest = (versions or list(found))[-1]
        return newest, found[newest]
    if stage not in found:
        raise UsageError(f"{run} has no finished model of the stage {stage[:100]!r}; it has {', '.join(found)}")
    return stage, found[stage]


def _checkpoint_at(place: Path) -> Path | None:
    """The checkpoint's folder at a place: itself, or the one that a stage's folder holds.

    Raises:
        UsageError: it holds a model of another kind.
    """
    for folder in (place, place / "checkpoint"):
        if any((folder / name).is_file() for name in _CONFIGS):
            kind = read_manifest(folder).kind if (folder / MANIFEST).exists() else "policy"
            if kind != "policy":
                raise UsageError(f"{folder} is a {kind} model, which scores answers and gives none")
            return folder
    return None


def _speaks(kind: str) -> bool:
    """Whether a kind of stage leaves a model to talk to."""
    return kind in STAGES and bool({Makes.POLICY, Makes.CONTROL} & STAGES[kind].makes)


def _fresh(system: str | None) -> Dialogue:
    return Dialogue(turns=(), source=Source(file="chat", line=1), id="chat", system=system)


def _lines() -> Iterator[str]:
    """Standard input's lines; a prompt sign where a person types; bytes that are no UTF-8 are replaced."""
    if sys.stdin.isatty():
        while True:
            try:
                yield input("> ")
            except EOFError:
                return
    else:
        for raw in sys.stdin.buffer:
            yield raw.decode("utf-8", errors="replace").removesuffix("\n")


def _say(text: str) -> None:
    print(safe(text), file=sys.stderr, flush=True)
