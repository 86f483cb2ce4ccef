"""Every module of the standard library imports in the layer of each architecture, but for a listed few."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from layer import build, elf, recipe

from .conftest import PYTHON, Run
from .test_interpreter import BARE, WORKS

pytestmark = pytest.mark.integration

LIBRARY = "/opt/fairlead/lib/"

# What is in the library and cannot be imported, with the reason.
NOT_IMPORTABLE = {
    "dbm.gnu": "needs _gdbm, which Debian ships in a package of its own",
    "dbm.ndbm": "needs _dbm and so libdb; dbm itself uses dbm.sqlite3",
}
# Of sys.stdlib_module_names and what is below them.
LEFT_OUT = {
    *("_curses", "_curses_panel", "curses", "readline"),  # terminals
    *("_tkinter", "idlelib", "tkinter", "turtle", "turtledemo"),  # screens
    *("ensurepip", "pydoc_data", "venv"),
    *("_dbm", "_gdbm"),
    *("_pydatetime", "_pydecimal", "_pyio"),  # Python twins of what is here in C
    *("_interpchannels", "_interpqueues", "_interpreters"),  # no public module before 3.14
    *("_aix_support", "_android_support", "_apple_support", "_ios_support", "_osx_support"),  # other systems
    *("_overlapped", "_scproxy", "_winapi", "_wmi", "msvcrt", "nt", "winreg", "winsound"),
}

IMPORT_ALL = """
import contextlib, encodings, importlib, io, json, os, pkgutil, sys
library, failed = "/opt/fairlead/lib/python3.13", {}
walk = os.walk(library)
found = {os.path.relpath(os.path.join(folder, file), library) for folder, _, files in walk for file in files}
extensions = {file.split("/")[1].split(".")[0] for file in found if file.startswith("lib-dynload/")}
modules = {file[:-4].replace("/", ".").removesuffix(".__init__") for file in found if file.endswith(".pyc")}
of_encodings = ["encodings." + module.name for module in pkgutil.iter_modules(encodings.__path__)]
modules.update(of_encodings)  # most are in a zip
for name in sorted(modules | extensions | sys.stdlib_module_names):
    # Left out: what opens a browser.
    if name.endswith("__main__") or name.partition(".")[0] == "fairlead" or name == "antigravity":
        continue
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # "this" prints a poem
            importlib.import_module(name)
    except BaseException as error:
        failed[name] = repr(error)
mapped = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print(json.dumps(
    {"failed": failed, "mapped": sorted(mapped), "loaded": len(sys.modules), "of_encodings": sorted(of_encodings)}
))
"""

# For each library and some of its pointers into itself: whether they point where the loader has to let them point.
POINTERS = """
import ctypes, json, sys
wrong = []
for library, pointers in json.loads(sys.argv[1]).items():
    ctypes.CDLL(library)
    start = min(int(line.split("-")[0], 16) for line in open("/proc/self/maps") if line.split()[-1] == library)
    for address, target in pointers:
        if int.from_bytes(ctypes.string_at(start + address, 8), "little") != start + target:
            wrong.append([library, address])
print(json.dumps(wrong))
"""

# In one process, because each start takes a second where the processor is emulated.
ALL_AT_ONCE = """
import json, sys, traceback
failed = {}
for name, program in json.loads(sys.argv[1]).items():
    try:
        exec(program, {"__name__": "__main__"})
    except BaseException:
        failed[name] = traceback.format_exc()
print(json.dumps(failed))
"""
# Their children are started anew, and would import this process's main program.
NOT_TOGETHER = {"multiprocessing-spawn", "no-locale-needed"}


@pytest.fixture(scope="module")
def everything_imported(run_each: Run) -> Any:
    result = run_each(PYTHON, BARE, "-c", IMPORT_ALL)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_every_module_imports_but_the_listed(everything_imported: Any) -> None:
    assert set(everything_imported["failed"]) == set(NOT_IMPORTABLE) | LEFT_OUT
    assert everything_imported["loaded"] > 500


def test_no_encoding_of_debians_is_missing(
    everything_imported: Any, each: tuple[recipe.Architecture, build.Layer]
) -> None:
    debians = build.PLACES.layers / f"parts/{each[0].name}/debian/usr/lib/python3.13/encodings"
    of_windows = {"mbcs", "oem"}
    names = {path.stem for path in debians.glob("*.py")} - {"__init__"} - of_windows
    assert set(everything_imported["of_encodings"]) == {f"encodings.{name}" for name in names}


def test_pointers_that_are_zeros_in_the_file_are_right_in_memory(
    run_each: Run, each: tuple[recipe.Architecture, build.Layer]
) -> None:
    tree = each[1].tree
    samples = {f"/opt/{path.relative_to(tree)}": some_pointers(path) for path, file in elf.files(tree) if file.needed}
    samples.pop(PYTHON)
    assert sum(map(len, samples.values())) > 500
    result = run_each(PYTHON, BARE, "-c", POINTERS, json.dumps(samples))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == []


def some_pointers(path: Path) -> list[tuple[int, int]]:
    """Of those that nobody can change once the loader has set them."""
    with path.open("rb") as file:
        parsed = ELFFile(file)
        constant = [(s["p_vaddr"], s["p_vaddr"] + s["p_memsz"]) for s in parsed.iter_segments("PT_GNU_RELRO")]
        pointers = sorted(elf.own_pointers(parsed).items())
    return [pointer for pointer in pointers if any(start <= pointer[0] < end for start, end in constant)][::40]


def test_no_library_from_outside_the_layer_is_loaded(everything_imported: Any) -> None:
    mapped = [path for path in everything_imported["mapped"] if "qemu" not in path]
    assert len(mapped) > 30
    assert [path for path in mapped if not path.startswith(LIBRARY)] == []


def test_what_works_here_works_in_the_layer_of_each_architecture(run_each: Run) -> None:
    programs = {name: textwrap.dedent(program) for name, program in WORKS.items() if name not in NOT_TOGETHER}
    result = run_each(PYTHON, BARE, "-c", ALL_AT_ONCE, json.dumps(programs))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {}
