"""A really full disk: a tiny tmpfs in a user namespace, where the machine allows one.

`python -m tests.faults.disk` runs the tiny recipe's SFT on file systems of growing size until one is large enough,
each try going on where the full disk stopped the one before.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.tiny_recipe import BRITTLE

ROOT = Path(__file__).resolve().parents[2]
# in a namespace of its own: mount, fill what there is beyond `$2` KiB, work, free the space, work again
_SCRIPT = """
set -e
mount -t tmpfs -o size=64m none "$1"
head -c $((64 * 1024 * 1024 - $2 * 1024)) /dev/zero > "$1/filler"
shift 2
echo "--- full"
if "$@"; then echo "--- finished"; else echo "--- ended with $?"; fi
find "$RUN" -name '.aside-*' | sed 's/^/left /'
rm "$FILLER"
echo "--- space again"
"$@"
cp -r "$RUN" "$COPY"
"""


def why_not() -> str | None:
    """Why no file system of our own can be mounted here; None if one can."""
    if shutil.which("unshare") is None:
        return "there is no unshare on this machine"
    tried = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"], capture_output=True, text=True
    )
    return None if tried.returncode == 0 else f"no file system can be mounted here: {tried.stderr.strip()[:100]}"


def run_on_full_disk(free_kib: int, until: str, copy: Path) -> str:
    """Run the tiny recipe on a file system with `free_kib` free, free the rest, run again.

    Args:
        copy: where the finished run is copied to.

    Returns:
        All that was printed; "--- full" and "--- space again" part it.

    Raises:
        RuntimeError: the second run failed too.
    """
    with tempfile.TemporaryDirectory() as mounted:
        out = f"{mounted}/run"
        command = [sys.executable, "-m", "recipes.cli", "run", "quickstart", *BRITTLE, "--out", out, "--until", until]
        environment = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": tempfile.gettempdir(),
            "OMP_NUM_THREADS": "1",
            "RUN": out,
            "COPY": str(copy),
            "FILLER": f"{mounted}/filler",
        }
        ended = subprocess.run(
            ["unshare", "-Urm", "sh", "-c", _SCRIPT, "sh", mounted, str(free_kib), *command],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if ended.returncode:
        raise RuntimeError(ended.stdout)
    return ended.stdout


def main() -> int:
    """Try several sizes and print what was said."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.disk", description=__doc__)
    parser.add_argument("--free", type=int, nargs="+", default=[64, 256, 1024], metavar="KIB")
    parser.add_argument("--until", default="sft")
    asked = parser.parse_args()
    if reason := why_not():
        print(f"skipped: {reason}")
        return 0
    for free in asked.free:
        with tempfile.TemporaryDirectory() as folder:
            print(f"=== {free} KiB free\n{run_on_full_disk(free, asked.until, Path(folder) / 'run')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
