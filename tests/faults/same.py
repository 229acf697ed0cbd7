"""One definition of Equal for two runs or stages: everything but times, and journals' order of arrival.

`python -m tests.faults.same RUN_A RUN_B` prints what differs and ends with 1 if anything does.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignment.store.atomic import ASIDE, KEPT
from alignment.store.sealed import unseal
from recipes.running.record import STAGE

# how long something took, when it was, how often it was tried; never what came out
_TIME_KEYS = {"seconds", "started", "ended", "attempts", "created", "made", "time"}
_TIME_WORDS = re.compile(r"\b(seconds?|minutes?|time|duration|written)\b|tokens/s", re.IGNORECASE)
_DURATION = re.compile(r"\b[\d.,]+ (seconds|minutes|hours)\b")
_IGNORED = {".lock", "log.txt", "index.html", "report.md"}  # the pages say what report.json says (tested on its own)
_TIMED_DIGESTS = {"sha256", "journals"}  # of the record itself, and of journals that tell times
_JOURNAL_KEYS = {"prompt", "sample", "token_ids"}
LOG_PROB_TOLERANCE = 1e-5  # a sample's log-probabilities may differ in their last digits with its neighbours


def differences(one: Path, other: Path, *, limit: int = 5) -> list[str]:
    """What differs between two run or stage folders, the first `limit` differences; empty means Equal."""
    return [text for _, text in zip(range(limit), _differences(one, other), strict=False)]


def _differences(one: Path, other: Path) -> Iterator[str]:
    files, others = _files(one), _files(other)
    for name in sorted(files.keys() | others.keys()):
        if ASIDE in name or KEPT in name:
            yield f"{name}: left behind"
        elif name not in files or name not in others:
            yield f"{name}: only in {one if name in files else other}"
        else:
            yield from (f"{name}: {text}" for text in _file_differences(files[name], others[name]))


def _files(folder: Path) -> dict[str, Path]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    return {name: path for name, path in found.items() if path.name not in _IGNORED and ".replaced" not in path.parts}


def _file_differences(one: Path, other: Path) -> Iterator[str]:
    if one.read_bytes() == other.read_bytes():
        return
    try:
        yield from _content_differences(one, other)
    except (ValueError, KeyError) as error:
        yield f"one of the two is damaged ({type(error).__name__}: {error})"


def _content_differences(one: Path, other: Path) -> Iterator[str]:
    if one.suffix == ".safetensors":
        yield from _tensor_differences(one, other)
    elif one.suffix == ".jsonl":
        rows, others = _rows(one), _rows(other)
        if rows and rows[0].keys() >= _JOURNAL_KEYS:
            yield from _sample_differences(rows, others)
        else:
            yield from value_differences([timeless(row) for row in rows], [timeless(row) for row in others])
    elif one.suffix == ".json":
        yield from value_differences(*(timeless(_of_its_own(path)) for path in (one, other)))
    else:
        yield f"{one.stat().st_size:,} and {other.stat().st_size:,} bytes that differ"


def _of_its_own(path: Path) -> Any:
    """A JSON file's value; a stage's record without the digests that times are part of."""
    value = json.loads(path.read_text())
    return {k: v for k, v in value.items() if k not in _TIMED_DIGESTS} if path.name == STAGE else value


def _tensor_differences(one: Path, other: Path) -> Iterator[str]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors, others = load_file(one), load_file(other)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    for name in sorted(tensors.keys() | others.keys()):
        if name not in tensors or name not in others:
            yield f"tensor {name} is in one only"
        elif tensors[name].shape != others[name].shape or tensors[name].dtype != others[name].dtype:
            yield f"tensor {name} has another shape or type"
        elif not torch.equal(tensors[name], others[name]):
            most = (tensors[name].double() - others[name].double()).abs().max().item()
            yield f"tensor {name} differs by up to {most:.3g}"


def _sample_differences(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> Iterator[str]:
    known = {(row["prompt"], row["sample"]): row for row in rows}
    twins = {(row["prompt"], row["sample"]): row for row in others}
    if len(known) != len(rows) or len(twins) != len(others):
        yield "a sample stands in the journal twice"
    if known.keys() != twins.keys():
        yield f"other samples: {sorted(known.keys() ^ twins.keys())[:3]}"
        return
    for key, row in known.items():
        twin = twins[key]
        if row["token_ids"] != twin["token_ids"] or row["finish"] != twin["finish"]:
            yield f"sample {key} is another"
        pairs = zip(row["log_probs"], twin["log_probs"], strict=True)
        if any(abs(a - b) > LOG_PROB_TOLERANCE for a, b in pairs):
            yield f"sample {key} has other log-probabilities"


def timeless(value: Any) -> Any:
    """A JSON value without its times: keys, table columns and named figures that tell a duration or a moment."""
    if isinstance(value, list):
        return [timeless(item) for item in value if not _is_time_item(item)]
    if isinstance(value, str):
        return _DURATION.sub("…", value)
    if not isinstance(value, dict):
        return value
    kept = {key: timeless(item) for key, item in value.items() if not _is_time_key(key)}
    if isinstance(value.get("columns"), list) and isinstance(value.get("rows"), list):
        stay = [i for i, column in enumerate(value["columns"]) if not _TIME_WORDS.search(json.dumps(column))]
        kept["columns"] = [value["columns"][i] for i in stay]
        for name in {"rows", "shown"} & value.keys():
            kept[name] = [timeless([row[i] for i in stay]) for row in value[name]]
    if "schema" in value:
        kept.pop("id", None)  # a digest over the report with its times
    return kept


def _is_time_key(key: str) -> bool:
    return key in _TIME_KEYS or key.startswith("time_") or key.endswith("_per_second")


def _is_time_item(item: Any) -> bool:
    """A named figure of a report, or a curve, that tells a duration."""
    if not isinstance(item, dict):
        return False
    name = item.get("key", item.get("name", item.get("label", item.get("title", ""))))
    return isinstance(name, str) and bool(_TIME_WORDS.search(name))


def value_differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two JSON values differ; NaN equals NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if key not in one or key not in other:
                yield f"{where}.{key} is in one only"
            else:
                yield from value_differences(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{where} has {len(one)} and {len(other)} entries"
        for i, (left, right) in enumerate(zip(one, other, strict=False)):
            yield from value_differences(left, right, f"{where}[{i}]")
    elif one != other and not (isinstance(one, float) and isinstance(other, float) and math.isnan(one + other)):
        yield f"{where}: {str(one)[:80]!r} and {str(other)[:80]!r}"


def _rows(path: Path) -> list[dict[str, Any]]:
    # without their checksums, which are over the times too; a line whose checksum does not fit is damage
    return [unseal(line)[0] for line in path.read_bytes().removesuffix(b"\n").split(b"\n") if line]


if __name__ == "__main__":
    found = differences(Path(sys.argv[1]), Path(sys.argv[2]), limit=50)
    print("\n".join(found) or "Equal")
    sys.exit(bool(found))
