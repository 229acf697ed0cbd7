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
            if isinstance(node, ast.ImportFrom):  # a bare name would hide the call
                calls = [f"{node.module}.{alias.name}" for alias in node.names]
                found += [f"{node.lineno}: from {call}" for call in calls if call in _CALLS]
    return found


_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
_CALLS = {
    *("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "builtins.compile"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "torch.hub.load"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "joblib.load", "pd.read_pickle"),
}


def _wrong_call(name: str, options: dict[str | None, str]) -> str | None:
    if name in _CALLS:
        return name
    if options.get("shell", "False") != "False":
        return f"{name}(shell={options['shell']})"
    if name == "torch.load" and options.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if options.get("allow_pickle", "False") != "False":
        return f"{name}(allow_pickle={options['allow_pickle']})"
    if options.get("trust_remote_code", "False") != "False":
        return f"{name}(trust_remote_code={options['trust_remote_code']})"
    if re.search(r"\bAuto\w+\.from_pretrained$", name) and "trust_remote_code" not in options:
        return f"{name} without trust_remote_code=False: it would ask on standard input"
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
        "np.load('x', allow_pickle=asked)",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=asked)",
        "AutoConfig.from_pretrained('x')",
        "subprocess.run('ls', shell=asked)",
        "from os import system",
        "compile(text, 'x', 'exec')",
        "__import__(name)",
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


@pytest.mark.parametrize(
    "source",
    [
        "re.compile('x')",
        "torch.load('x', weights_only=True)",
        "subprocess.run(['ls'], shell=False)",
        "np.load('x', allow_pickle=False)",
        "model.eval()",
        "yaml.safe_load(text)",
        "AutoConfig.from_pretrained('x', trust_remote_code=False)",
        "LlamaConfig.from_pretrained('x')",
        "tarfile.open('x').extractall('y', filter='data')",
    ],
)
def test_the_lint_lets_pass(source: str) -> None:
    assert faults(source) == []


def test_a_module_is_imported_by_a_name_that_the_code_says() -> None:
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                    found.append((path.name, ast.unparse(node.args[0]).strip("f'\"")))
    # a reward function that the recipe names, where whoever runs allows it
    assert {(name, argument) for name, argument in found if name != "__init__.py"} == {("function.py", "module")}
    # the packages' lazy names: looked up in a table of literals
    assert {argument for name, argument in found if name == "__init__.py"} <= {
        "_HOMES[name]",
        "{__name__}.{_HOMES[name]}",
    }


def test_no_template_takes_data_as_markup() -> None:
    templates = [path for package in PACKAGES for path in (ROOT / package).rglob("*.html")]
    assert templates
    for path in templates:
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", path.read_text(encoding="utf-8")), path
