"""Imports of ours beside imports of the user's, in one process and in several threads of it.

What a whole function makes of it is in tests/conformance/test_standard_names.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGIN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from runtime.standard import standard_library

def whose(module):
    return "user's" if hasattr(module, "OF_THE_USER") else "Python's"

def guard():
    standard_library.guard()
    sys.path.insert(0, sys.argv[1])
    standard_library.give_way()
"""
CASES = {
    "without a guard nothing is changed": """
before = sys.meta_path[:]
with standard_library:
    import calendar
print(whose(calendar), sys.meta_path == before)
# Python's True
""",
    "in the block and after it": """
guard()
with standard_library:
    import calendar
ours = calendar
import calendar
print(whose(ours), whose(calendar))
with standard_library:
    import calendar
print(calendar is ours)
# Python's user's
# True
""",
    "the user's was there first, and is the same one afterwards": """
guard()
import calendar
users = calendar
with standard_library:
    import calendar
print(whose(users), whose(calendar), sys.modules["calendar"] is users)
# user's Python's True
""",
    "blocks in blocks": """
guard()
import calendar
with standard_library:
    with standard_library:
        import calendar as inner
    import calendar as outer
print(whose(inner), inner is outer, whose(sys.modules["calendar"]))
# Python's True user's
""",
    "an exception in the block": """
guard()
import calendar
try:
    with standard_library:
        import no_such_module
except ImportError as error:
    print(error, "|", whose(sys.modules["calendar"]))
import colorsys
print(whose(colorsys))
# No module named 'no_such_module' | user's
# user's
""",
    "a module for another system is none of the user's": """
guard()
with standard_library:
    try:
        import winreg
    except ModuleNotFoundError as error:
        print(error.name)
import winreg
print(whose(winreg))
# winreg
# user's
""",
    "a thread of the user's, while another one is in the block": """
import _thread
guard()
said, done = [], _thread.allocate_lock()
done.acquire()

def imports():
    import calendar, colorsys, types
    said.append((whose(calendar), whose(colorsys), whose(types)))
    done.release()

with standard_library:
    _thread.start_new_thread(imports, ())
    done.acquire()
    import sched
print(said, whose(sched))
# [("user's", "user's", "Python's")] Python's
""",
    "what is loaded before the guard gives way": """
import calendar
ours = calendar
guard()
import calendar
print(whose(calendar))
with standard_library:
    import calendar
print(calendar is ours)
# user's
# True
""",
    "asyncio is the one that runs": """
guard()
import asyncio
users = asyncio
with standard_library:
    import asyncio
import asyncio as later
print(whose(users), whose(asyncio), later is asyncio)
# user's Python's True
""",
    "what the managed runtime has loaded is Python's, with all that it imports": """
guard()
import types, traceback, json, logging
print(*map(whose, (types, traceback, json, logging)), type(types.__spec__.loader).__name__)
import importlib
print(whose(importlib.reload(json)))
# Python's Python's Python's Python's SourceFileLoader
# Python's
""",
    "a folder that comes after the library's is not in its way": """
standard_library.guard()
sys.path.append(sys.argv[1])
standard_library.give_way()
import calendar
print(whose(calendar))
# Python's
""",
    "a folder that is added later": """
guard()
users = sys.path.pop(0)
import colorsys
sys.path.insert(0, users)
import calendar
with standard_library:
    import calendar as ours
print(whose(colorsys), whose(calendar), whose(ours))
# Python's user's Python's
""",
}


@pytest.mark.parametrize("name", CASES)
def test_ours_and_the_users(name: str, tmp_path: Path) -> None:
    for module in sys.stdlib_module_names:
        (tmp_path / f"{module}.py").write_text("OF_THE_USER = True\n")
    code, *said = CASES[name].split("\n# ")
    command = [os.path.realpath(sys.executable), "-ISB", "-c", BEGIN + code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.splitlines(), done.stderr) == ([line.strip() for line in said], "")
