"""Where the real data lies: the folder that ALIGNMENT_DATA names, else `../shared/data` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

REAL_DATA = Path(os.environ.get("ALIGNMENT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
