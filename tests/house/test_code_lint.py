"""S11, S1: our packages run no shell, evaluate no text and unpickle nothing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("alignment", "reward", "rl", "gatt", "recipes", "benchmarks")


def faults(source: str) -> list[str]:
    """What a module does that it must not, as "line: what"."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            wrong = _wrong_call(name, options)
            if wrong:
                found.append(f"{node.lineno}: {wrong}")
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in _MODULES]
    return found


_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
_CALLS = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load"}


def _wrong_call(name: str, options: dict[str | None, str]) -> str | None:
    if name in _CALLS:
        return name
    if options.get("shell") == "True":
        return f"{name}(shell=True)"
    if name == "torch.load" and options.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if options.get("allow_pickle") == "True":
        return f"{name}(allow_pickle=True)"
    if options.get("trust_remote_code") == "True":
        return f"{name}(trust_remote_code=True)"
    if name.endswith(".extractall") and "filter" not in options:
        return f"{name} without a filter"
    return None


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec('x = 1')",
        "import os\nos.system('ls')",
        "subprocess.run('ls', shell=True)",
        "import pickle",
        "from pickle import loads",
        "torch.load('x')",
        "torch.load('x', weights_only=False)",
        "np.load('x', allow_pickle=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "tarfile.open('x').extractall('y')",
        "yaml.load(text)",
    ],
)
def test_the_lint_finds(source: str) -> None:
    assert len(faults(source)) == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_runs_no_shell_evaluates_no_text_and_unpickles_nothing(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{fault}" for path in files for fault in faults(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_no_template_takes_data_as_markup() -> None:
    templates = [path for package in PACKAGES for path in (ROOT / package).rglob("*.html")]
    assert templates
    for path in templates:
        assert not re.search(r"\|\s*safe\b", path.read_text(encoding="utf-8")), path
