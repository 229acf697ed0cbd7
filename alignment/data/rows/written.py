"""Records as a stage writes them for other stages: `records.jsonl`, one record a line, nothing lost.

    {"record":"dialogue","id":…,"system":…,"turns":[{"role":…,"content":…}],"source":{…},"meta":{…},"sha256":…}
    {"record":"end","count":1,"sha256":…}

Each line carries its checksum and the last one says how many records there are, so that neither a changed bit nor a
file cut between two lines can pass for a smaller data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alignment.data.identity import Record
from alignment.errors import DataError
from alignment.records import GRADES, Dialogue, Document, LabelledAnswer, Preference, Source, Turn
from alignment.store.atomic import whole_file
from alignment.store.regular import open_regular
from alignment.store.sealed import sealed_line, unseal

RECORDS_FILE = "records.jsonl"


class _Unfit(ValueError):
    """A line is JSON, but no record."""


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as a whole file, as they come.

    Returns:
        How many.

    Raises:
        DiskFull: no space left; what was there before is untouched.
        ValueError: a record's `meta` holds what plain JSON cannot give back (a tuple, NaN, a key that is no text).
    """
    count = 0
    with whole_file(path) as file:
        for record in records:
            file.write(sealed_line(_as_json(record)))
            count += 1
        file.write(sealed_line({"record": "end", "count": count}))
    return count


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file that `write_records` wrote, in its order, equal to what was written.

    Raises:
        DataError: the file is missing or cannot be read, a line was altered (named), or the end is missing.
    """
    count, ended = 0, False
    try:
        with open_regular(path) as file:
            for number, line in enumerate(file, start=1):
                if ended:
                    raise DataError(f"{path}:{number} stands after the line that ends the records; {_AGAIN}")
                try:
                    value = _unsealed(line)
                    if value.get("record") == "end":
                        ended = True
                        if value.get("count") != count:
                            raise _Unfit(f"{value.get('count')!r} records were written, {count:,} stand before it")
                        continue
                    record = _record(value)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{path}:{number} is not as it was written ({error}); {_AGAIN}") from None
                count += 1
                yield record
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    if not ended:
        raise DataError(f"{path} is cut after {count:,} records: its last line is missing; {_AGAIN}")


_AGAIN = "let the stage that wrote it run again"


def _unsealed(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise _Unfit("the line is cut")
    value, sealed = unseal(line[:-1])
    if not sealed or not isinstance(value, dict):
        raise _Unfit("it has no checksum")
    return value


def _as_json(record: Record) -> dict[str, Any]:
    rest = {"source": {"file": record.source.file, "line": record.source.line}, "meta": _plain(record.meta)}
    if isinstance(record, Document):
        opening = {} if record.opening is None else {"opening": record.opening}
        return {"record": "document", "text": record.text, **opening, **rest}
    if isinstance(record, Dialogue):
        return {
            "record": "prompt" if record.is_prompt else "dialogue",
            "id": record.id,
            "system": record.system,
            "turns": [{"role": turn.role, "content": turn.content} for turn in record.turns],
            **rest,
        }
    if isinstance(record, LabelledAnswer):
        asked = _as_json(record.prompt)
        return {"record": "labelled_answer", "prompt": asked, "answer": record.answer, "safe": record.safe, **rest}
    return {
        "record": "preference",
        "prompt": _as_json(record.prompt),
        "chosen": record.chosen,
        "rejected": record.rejected,
        "grade": record.grade,
        "chosen_safe": record.chosen_safe,
        "rejected_safe": record.rejected_safe,
        **rest,
    }


def _record(value: Mapping[str, Any]) -> Record:
    name = value.get("record")
    rest: dict[str, Any] = {"source": _source(value), "meta": _typed(value, "meta", dict)}
    if name == "document":
        opening = _typed(value, "opening", str) if "opening" in value else None
        return Document(text=_typed(value, "text", str), opening=opening, **rest)
    if name in ("dialogue", "prompt"):
        return _dialogue(value, rest)
    if name not in ("preference", "labelled_answer"):
        raise _Unfit(f"record is {name!r}")
    asked = _typed(value, "prompt", dict)
    prompt = _dialogue(asked, {"source": _source(asked), "meta": _typed(asked, "meta", dict)})
    if name == "labelled_answer":
        return LabelledAnswer(
            prompt=prompt, answer=_typed(value, "answer", str), safe=_typed(value, "safe", bool), **rest
        )
    grade = _typed(value, "grade", str, type(None))
    if grade is not None and grade not in GRADES:
        raise _Unfit(f"grade is {grade!r}")
    return Preference(
        prompt=prompt,
        chosen=_typed(value, "chosen", str),
        rejected=_typed(value, "rejected", str),
        grade=grade,
        chosen_safe=_typed(value, "chosen_safe", bool, type(None)),
        rejected_safe=_typed(value, "rejected_safe", bool, type(None)),
        **rest,
    )


def _dialogue(value: Mapping[str, Any], rest: Mapping[str, Any]) -> Dialogue:
    turns = []
    for turn in _typed(value, "turns", list):
        if not isinstance(turn, dict) or turn.get("role") not in ("user", "assistant"):
            raise _Unfit(f"a turn is {turn!r:.80}")
        turns.append(Turn(role=turn["role"], content=_typed(turn, "content", str)))
    return Dialogue(
        turns=tuple(turns), id=_typed(value, "id", str), system=_typed(value, "system", str, type(None)), **rest
    )


def _source(value: Mapping[str, Any]) -> Source:
    found = _typed(value, "source", dict)
    return Source(file=_typed(found, "file", str), line=_typed(found, "line", int))


def _typed(value: Mapping[str, Any], key: str, *kinds: type) -> Any:
    found = value.get(key, _Unfit)
    if type(found) not in kinds:
        raise _Unfit(f"{key} is {'missing' if found is _Unfit else repr(found)[:80]}")
    return found


def _plain(meta: Mapping[str, Any]) -> dict[str, Any]:
    """`meta` as JSON gives it back, or an error: what would come back changed is not written."""
    plain = dict(meta)
    _check_plain(plain, "meta")
    return plain


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; keys of a record's meta are texts")
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_plain(item, f"{where}.{number}")
    elif type(value) not in (str, int, float, bool, type(None)):
        raise ValueError(f"{where} is of type {type(value).__name__}; a record's meta holds plain JSON values")
