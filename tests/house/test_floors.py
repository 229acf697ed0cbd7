"""Imports go down the floors only, and no files import each other in a circle."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("house_imports", Path(__file__).with_name("imports.py"))
assert _SPEC
assert _SPEC.loader
house = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(house)


@pytest.mark.parametrize("path", house.source_files(), ids=lambda path: str(path.relative_to(house.ROOT)))
def test_a_file_imports_only_from_its_own_floor_or_from_below(path: Path) -> None:
    own = house.floor_of(house.module_name(path))
    upward = [
        f"{path.name}:{line} imports {module}"
        for line, module in house.imports_of(path)
        if own is not None and (there := house.floor_of(module)) is not None and there > own
    ]
    assert upward == []


def test_rl_and_gatt_do_not_know_each_other() -> None:
    crossing = [
        (house.module_name(path), module)
        for path in house.source_files()
        for _, module in house.imports_of(path)
        if {house.module_name(path).split(".")[0], module.split(".")[0]} == {"rl", "gatt"}
    ]
    assert crossing == []


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {
        house.module_name(path): {module for _, module in house.imports_of(path, top_level_only=True)}
        for path in house.source_files()
    }
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done:
            return
        for target in graph.get(module, ()):
            if target != module:
                walk(target, (*trail, module))
        done.add(module)

    for module in graph:
        walk(module, ())


def test_the_command_line_starts_without_torch() -> None:
    heavy = ("torch", "transformers", "datasets", "matplotlib", "trl", "accelerate")
    code = f"import sys, recipes.cli; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", house.PACKAGES)
def test_importing_a_package_loads_no_torch(package: str) -> None:
    code = f"import sys, {package}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_settings_and_results_load_no_torch() -> None:
    files = [path for path in house.source_files() if path.stem in ("settings", "result")]
    assert {path.stem for path in files} == {"settings", "result"}
    names = ", ".join(house.module_name(path) for path in files)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {names}; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_package_files_only_name_things() -> None:
    long = [
        str(path.relative_to(house.ROOT))
        for path in house.source_files()
        if path.name == "__init__.py" and path.read_text(encoding="utf-8").count("\n") > 60
    ]
    assert long == []


def test_no_room_is_called_utils_helpers_or_common() -> None:
    vague = [path.name for path in house.source_files() if path.stem in ("utils", "helpers", "common", "misc")]
    assert vague == []


def test_files_are_of_a_size_that_one_reads() -> None:
    """A file holds one concept and is split at two, not at a line: the bounds are far from where judgement decides."""
    lengths = {house.module_name(path): path.read_text(encoding="utf-8").count("\n") for path in house.source_files()}
    assert sorted(lengths.values())[len(lengths) // 2] < 260
    assert {module: length for module, length in lengths.items() if length > 600} == {}
