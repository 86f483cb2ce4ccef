"""The trace id in the environment: in ``os.environ``, for child processes, and without keeping every value for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

LOOK = """
import json, os, subprocess, sys
from runtime.python import lambda_context as trace_variable
from runtime.python.lambda_context import TraceVariable

def seen():
    child = subprocess.run(["/bin/sh", "-c", 'printf %s "$_X_AMZN_TRACE_ID"'], stdout=subprocess.PIPE, text=True)
    return [os.environ.get("_X_AMZN_TRACE_ID"), child.stdout]

def resident_kb():
    return int(open("/proc/self/statm").read().split()[1]) * 4
"""


def run(code: str) -> object:
    """What the code prints, decoded, in a process of its own: the environment is changed."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK + code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_it_is_set_changed_and_removed_at_any_time() -> None:
    """Before and after the value has got a place of its own; a value that is too long for that has none."""
    code = """
trace_variable.CHANGES_BEFORE_PLACE = 2
variable = TraceVariable()
values = ["a", "b", "c", "c", "", "d", "x" * 5000, "e", "ü", ""]
looks = []
for value in values:
    variable.set(value)
    looks.append(seen())
print(json.dumps(looks))
"""
    values = ["a", "b", "c", "c", "", "d", "x" * 5000, "e", "ü", ""]
    assert run(code) == [[value or None, value] for value in values]


def test_one_that_was_there_at_the_start_is_removed() -> None:
    code = """
os.environ["_X_AMZN_TRACE_ID"] = "old"
TraceVariable().set("")
print(json.dumps(seen()))
"""
    assert run(code) == [None, ""]


def test_what_the_user_sets_lasts_until_the_next_invocation() -> None:
    code = """
trace_variable.CHANGES_BEFORE_PLACE = 0
variable = TraceVariable()
variable.set("ours")
os.environ["_X_AMZN_TRACE_ID"] = "theirs"
between = seen()
variable.set("ours again")
print(json.dumps([between, seen()]))
"""
    assert run(code) == [["theirs", "theirs"], ["ours again", "ours again"]]


def test_memory_does_not_grow_with_the_number_of_invocations() -> None:
    """200,000 values would be 28 MB."""
    code = """
variable = TraceVariable()
for number in range(2000):
    variable.set(f"Root=1-5759e988-{number:024d};Parent=53995c3f42cd8ad8;Sampled=1")
before = resident_kb()
for number in range(200_000):
    variable.set(f"Root=1-5759e988-{number:024d};Parent=53995c3f42cd8ad8;Sampled=0")
print(resident_kb() - before)
"""
    grown = run(code)
    assert isinstance(grown, int)
    assert grown < 2000
