"""The world as files: JSON Lines that `datasets.load_dataset("json", …)` reads, written as they are made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignment.records import Dialogue, Document, Preference
from alignment.store.atomic import staged_folder
from alignment.store.manifest import write_manifest
from alignment.world.settings import SPLITS, WorldSettings
from alignment.world.world import World


def write_world(settings: WorldSettings, out_dir: Path) -> dict[str, int]:
    """Write every part of every split, each as `<part>.<split>.jsonl`; the folder appears as a whole.

    Args:
        out_dir: the folder to make; one that exists is replaced if it is a world's, and refused if not.

    Returns:
        File name -> number of rows.
    """
    world = World(settings)
    written: dict[str, int] = {}
    with staged_folder(out_dir, replace=True) as aside:
        for split in SPLITS:
            for part, rows in parts(world, split):
                file = aside / f"{part}.{split}.jsonl"
                with file.open("w", encoding="utf-8", newline="\n") as out:
                    number = 0
                    for number, row in enumerate(rows, start=1):  # noqa: B007
                        out.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
                written[file.name] = number
        write_manifest(aside, kind="world", meta={"settings": settings.model_dump(), "rows": written})
    return written


def parts(world: World, split: str) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """The parts of a split as plain rows, lazily."""
    yield "documents", (document_row(d) for d in world.documents(split))
    yield "dialogues", (dialogue_row(d) for d in world.dialogues(split))
    for kind in ("helpfulness", "safety"):
        yield f"prompts-{kind}", (dialogue_row(d) for d in world.prompts(kind, split))
        yield f"preferences-{kind}", (preference_row(p) for p in world.preferences(kind, split))
    yield "constraints", (c.to_json() | {"argument": str(c.argument)} for c in world.constraints(split))


def document_row(document: Document) -> dict[str, Any]:
    """`text` and `kind`."""
    return {"text": document.text, "kind": document.meta["kind"]}


def dialogue_row(dialogue: Dialogue) -> dict[str, Any]:
    """`messages` in the usual form; `meta` as JSON text, since its keys differ by task (a table's may not)."""
    return {
        "id": dialogue.id,
        "messages": _messages(dialogue),
        "task": dialogue.meta["task"],
        "meta": _meta(dialogue.meta),
    }


def preference_row(preference: Preference) -> dict[str, Any]:
    """`prompt`, `chosen` and `rejected` as messages, grade and safety labels beside them."""
    return {
        "id": preference.prompt.id,
        "prompt": _messages(preference.prompt),
        "chosen": [{"role": "assistant", "content": preference.chosen}],
        "rejected": [{"role": "assistant", "content": preference.rejected}],
        "grade": preference.grade,
        "chosen_safe": preference.chosen_safe,
        "rejected_safe": preference.rejected_safe,
        "task": preference.prompt.meta["task"],
        "meta": _meta({**preference.prompt.meta, **preference.meta}),
    }


def _messages(dialogue: Dialogue) -> list[dict[str, str]]:
    system = [{"role": "system", "content": dialogue.system}] if dialogue.system else []
    return system + [{"role": turn.role, "content": turn.content} for turn in dialogue.turns]


def _meta(meta: Any) -> str:
    return json.dumps(dict(meta), ensure_ascii=False, sort_keys=True)
