"""Processes that outlive their test are found by what they descend from, and end."""

from __future__ import annotations

import os
import subprocess
import time

from tests.fakes.leftovers import Leftovers
from tests.fakes.process import GONE_WITHIN_S, is_running

# Prints its number, and has neither a parent, nor the session, nor the environment of the test.
STRAY = "env -i setsid sleep 60 >/dev/null 2>&1 & echo $!; read -r _"


def test_a_process_that_was_left_behind_is_named_and_killed() -> None:
    leftovers = Leftovers(gone_within_s=0.1)
    shell = subprocess.Popen(["/bin/sh", "-c", STRAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert shell.stdout
    stray = int(shell.stdout.readline())
    leftovers.note("function")
    shell.communicate("", timeout=60)
    (line,) = leftovers.take({"function"})
    assert line == f"{stray}: sleep 60"
    limit = time.monotonic() + GONE_WITHIN_S
    while is_running(stray):
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert leftovers.take({"function"}) == []


def test_what_a_fixture_of_a_longer_life_has_started_may_live_and_start_more() -> None:
    leftovers = Leftovers(gone_within_s=0.1)
    leftovers.note("function")
    command = ["/bin/sh", "-c", "read -r _; sleep 60 & echo; wait"]
    shell = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    leftovers.note("module")
    assert shell.stdin
    assert shell.stdout
    shell.stdin.write("\n")
    shell.stdin.flush()
    shell.stdout.readline()
    assert leftovers.take({"function"}) == []
    assert len(leftovers.take({"module"})) == 2
    shell.communicate(timeout=60)
    assert shell.returncode == -9


def test_the_processes_of_others_are_left_alone() -> None:
    leftovers = Leftovers(gone_within_s=0.1)
    assert leftovers.take({"function", "module", "session"}) == []
    assert is_running(os.getppid())
