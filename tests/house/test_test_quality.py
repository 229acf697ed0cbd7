"""R20: tests that cannot fail.  A lint over every test, and small sources that show what it finds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("alignment", "reward", "rl", "gatt", "recipes")
LOOSEST = 1e-2
_TOLERANCES = {"rtol", "atol", "rel", "abs"}


def public_functions() -> set[str]:
    """Names of our packages' public module-level functions that are no common word."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and "_" in node.name:
                    found.add(node.name)
    return found


def faults(source: str, ours: set[str]) -> Iterator[str]:
    """What makes a test file's tests weaker than they look, as "line: what"."""
    tree = ast.parse(source)
    checking = _checking_functions(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _call_faults(node)
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{node.lineno}: a bare except"
        elif isinstance(node, ast.FunctionDef):
            fixture = any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
            if node.name in ours and not fixture:
                yield f"{node.lineno}: {node.name} is a function of ours, redefined"
            if node.name.startswith("test_") and not _checks(node, checking):
                yield f"{node.lineno}: {node.name} checks nothing"
            for decorator in node.decorator_list:
                if ast.unparse(decorator) in ("pytest.mark.skip", "pytest.mark.xfail"):
                    yield f"{decorator.lineno}: {ast.unparse(decorator)} without a reason"


def _call_faults(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    options = {keyword.arg: keyword.value for keyword in node.keywords}
    for option in _TOLERANCES & options.keys():
        value = options[str(option)]
        if isinstance(value, ast.Constant) and isinstance(value.value, int | float) and value.value > LOOSEST:
            yield f"{node.lineno}: {option}={value.value} is looser than {LOOSEST}"
    if name.endswith("mark.xfail") and ast.unparse(options.get("strict", ast.Constant(False))) != "True":
        yield f"{node.lineno}: xfail without strict=True"
    if name.endswith(("mark.skipif", "mark.skip")) and "reason" not in options:
        yield f"{node.lineno}: {name} without a reason"
    if name == "pytest.skip" and not (node.args or "reason" in options):
        yield f"{node.lineno}: pytest.skip without a reason"


def _checking_functions(tree: ast.Module) -> set[str]:
    """Functions of the file that hold a check themselves, so that calling them is one."""
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _checks(node, set())}


def _checks(function: ast.FunctionDef, checking: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            last = name.rsplit(".", 1)[-1]
            if name in ("pytest.raises", "pytest.warns", "pytest.fail") or last.startswith(("assert_", "_assert")):
                return True
            if name in checking and name != function.name:
                return True
    return False


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def test_x():\n    assert a == pytest.approx(b, rel=0.5)", "rel=0.5 is looser"),
        ("def test_x():\n    torch.testing.assert_close(a, b, rtol=1e6, atol=0)", "rtol=1000000.0 is looser"),
        ("@pytest.mark.xfail(strict=False)\ndef test_x():\n    assert 0", "xfail without strict"),
        ("@pytest.mark.xfail\ndef test_x():\n    assert 0", "xfail without a reason"),
        ("@pytest.mark.skip\ndef test_x():\n    assert 0", "skip without a reason"),
        ("@pytest.mark.skipif(True)\ndef test_x():\n    assert 0", "skipif without a reason"),
        ("def test_x():\n    pytest.skip()\n    assert 1", "pytest.skip without a reason"),
        ("def test_x():\n    print(1)", "checks nothing"),
        ("def test_x():\n    def ranking_loss(a):\n        return a\n    assert ranking_loss(1)", "redefined"),
        ("def test_x():\n    try:\n        assert f()\n    except:\n        print(1)", "a bare except"),
    ],
)
def test_the_lint_finds(source: str, told: str) -> None:
    (found,) = faults(source, {"ranking_loss"})
    assert told in found


def test_a_check_in_a_called_function_counts() -> None:
    source = "def check(x):\n    assert x\n\ndef test_x():\n    check(1)"
    assert list(faults(source, set())) == []


def test_no_test_is_weaker_than_it_looks() -> None:
    ours = public_functions()
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        found += [f"{path.relative_to(ROOT)}:{fault}" for fault in faults(path.read_text(encoding="utf-8"), ours)]
    assert found == []
