"""What every start needs is in one file for each mode, and what is imported out of it is what would be by itself."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layer.bundle import STARTS, Package, Stripper, shared_out
from layer.recipe import REPOSITORY

from .conftest import PYTHON

RUNTIME = Package(REPOSITORY / "runtime", Path("/opt/fairlead"))

# Of each module what the import system would have set as well, in a checkout or out of the bundle; ``annotations`` is
# what is left of an import from ``__future__``.
LOADED = """
import importlib, json, sys
sys.path[:0] = sys.argv[3:]
package, start = sys.argv[1:3]
importlib.import_module(f"{package}.{start}")
modules = {
    name.removeprefix(package): [
        getattr(module, "__path__", [""])[0].rpartition("/")[2],
        module.__package__.removeprefix(package),
        module.__file__.rpartition("/")[2].partition(".")[0],
        sorted(key for key in vars(module) if not key.startswith("__") and key != "annotations"),
    ]
    for name, module in sys.modules.items()
    if name.partition(".")[0] == package
}
opened = [name for name, module in sys.modules.items() if name.startswith(package) and getattr(module, "__spec__", 0)]
print(json.dumps([modules, opened]))
"""


def loaded(command: list[str], *arguments: str) -> Any:
    done = subprocess.run(
        [*command, "-ISBc", LOADED, *arguments], capture_output=True, text=True, check=True, timeout=600
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("start", STARTS.values())
def test_what_a_start_imports_is_known_without_running_it(start: str) -> None:
    modules, _ = loaded([sys.executable], "runtime", start, str(REPOSITORY))
    expected = {f".{name}" for name in RUNTIME.order(start)}
    packages = {f".{start.partition('.')[0]}"} if "." in start else set()
    assert {name for name in modules if name} == expected | packages


@pytest.mark.parametrize("start", STARTS.values())
def test_a_module_comes_after_those_that_it_imports(start: str) -> None:
    order = RUNTIME.order(start)
    for at, module in enumerate(order):
        imported = set(RUNTIME.imports(module))
        # Its own package is there already: its code runs after that of its modules, which it imports.
        assert imported - {module, module.rpartition(".")[0]} <= set(order[:at])


def test_each_module_is_in_one_bundle() -> None:
    shares = shared_out(RUNTIME)
    every = [module for modules in shares.values() for module in modules]
    assert len(every) == len(set(every))
    assert {"http1", "runtime_api", "loop"} <= set(shares[""])
    assert {"events", "web.mode"} <= set(shares["web"])
    assert "python.mode" in shares["python"]


@pytest.mark.parametrize("start", STARTS.values())
def test_the_layer_imports_the_same_out_of_its_bundles(run_each: Callable[..., Any], start: str) -> None:
    """The same modules with the same contents, of which only the packages that hold a bundle were opened."""
    result = run_each(PYTHON, "-ISBc", LOADED, "fairlead", start)
    assert result.returncode == 0, result.stderr
    modules, opened = json.loads(result.stdout)
    expected, _ = loaded([sys.executable], "runtime", start, str(REPOSITORY))
    of_bundles = {"fairlead", *(f"fairlead.{bundle}" for bundle in STARTS if bundle and f".{bundle}" in expected)}
    assert set(opened) == of_bundles
    expected[""][0] = "fairlead"
    for name, facts in expected.items():
        assert modules[name][:3] == facts[:3], name
        assert set(modules[name][3]) >= set(facts[3]), name


def test_annotations_are_left_out_but_for_the_fields_of_value_types() -> None:
    source = """
from __future__ import annotations
TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing
else:
    other = 1
name: str = "x"
unset: int
class Value(NamedTuple):
    field: int
    second: int = 2
    def method(self, *many: int, key: str = "", **rest: int) -> int:
        inner: int
        return self.field
class Plain:
    kind: str = "k"
    bare: int
class OfTypes:
    if TYPE_CHECKING:
        x: int
def function(a: int, /, b: str = "b") -> str:
    if TYPE_CHECKING:
        import typing
async def wait(a: int) -> int: ...
"""
    expected = """
TYPE_CHECKING = False
other = 1
name = "x"
class Value(NamedTuple):
    field: int
    second: int = 2
    def method(self, *many, key="", **rest):
        return self.field
class Plain:
    kind = "k"
class OfTypes:
    pass
def function(a, /, b="b"):
    pass
async def wait(a): ...
"""
    assert ast.dump(Stripper().visit(ast.parse(source))) == ast.dump(ast.parse(expected))
