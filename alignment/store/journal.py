"""An append-only journal of JSON lines whose torn last line is cut and reported.  No torch.

Rollouts, verdicts and metrics are appended as they arrive; after a crash the whole lines are the
truth and the torn rest of the last one is cut off before anything is appended.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from alignment.errors import CheckpointError
from alignment.store.atomic import space_explained


class Journal:
    """Opens (or makes) a journal, mends its tail, and appends records.

    Args:
        path: the file; its parent must exist.

    Attributes:
        records: what was there when it was opened, plus what was appended since.
        cut_bytes: how many bytes of a torn last line were cut off on opening (0: none).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records, whole = _read_whole_lines(path)
        size = path.stat().st_size if path.exists() else 0
        self.cut_bytes = size - whole
        self._file = path.open("ab")
        if self.cut_bytes:
            os.ftruncate(self._file.fileno(), whole)
            os.fsync(self._file.fileno())

    def append(self, record: Mapping[str, Any], *, flush: bool = True) -> None:
        """Append one record; `flush` puts it on the disk before returning."""
        self.append_all([record], flush=flush)

    def append_all(self, records: Iterable[Mapping[str, Any]], *, flush: bool = True) -> None:
        """Append several records with one flush to disk.

        Raises:
            DiskFull: no space left; a torn last line is cut when the journal is opened again.
            ValueError: a record holds NaN or an infinity; none of the records is appended.
        """
        new = [dict(record) for record in records]
        lines = [json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":")) for record in new]
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", errors="backslashreplace")
        with space_explained(self.path, len(data)):
            self._file.write(data)
            self._file.flush()
            if flush:
                os.fsync(self._file.fileno())
        self.records += new

    def rewind(self, keep: int) -> None:
        """Keep only the first `keep` records (what came after a checkpoint is done again)."""
        if keep >= len(self.records):
            return
        self._file.flush()
        with self.path.open("rb") as file:
            for _ in range(keep):
                file.readline()
            whole = file.tell()
        os.ftruncate(self._file.fileno(), whole)
        os.fsync(self._file.fileno())
        del self.records[keep:]

    def close(self) -> None:
        """Flush to disk and close."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The whole records of a journal that somebody else may be writing; a torn tail is left out."""
    return _read_whole_lines(path)[0]


def _read_whole_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    if not path.exists():
        return [], 0
    data = path.read_bytes()
    records: list[dict[str, Any]] = []
    whole = 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as error:
            if number == len(lines) - 1 and not lines[-1]:
                break  # a last line that was torn inside and closed by a later newline cannot be trusted
            raise CheckpointError(
                f"{path}:{number} is not a whole JSON object ({error}); the journal is damaged"
            ) from None
        records.append(record)
        whole += len(line) + 1
    return records, whole
