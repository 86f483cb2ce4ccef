"""How the tests see that something has ended, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from local.cache import CHECKOUT
from local.processes import below
from tests.fakes.children import child

PATIENCE_S = 30.0


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether ``condition()`` comes true; asked again and again until it does or patience ends."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def with_descendants(pid: int) -> list[int]:
    """``pid`` and everything below it, as this machine counts."""
    return [pid, *below(pid)]


def all_gone(processes: Iterable[int]) -> bool:
    """Whether they end: the kernel has killed them all, and takes them down one by one."""
    return eventually(lambda: all(map(is_gone, processes)))


def kill_driver(program: str, *arguments: str, **variables: str) -> None:
    """Kill the Python ``program`` when it has started a sandbox and said ``[pid, *folders]`` as JSON: no process of the
    sandbox may be left, and none of the folders (an empty name is none)."""
    with child(
        [sys.executable, "-c", program, *arguments],
        cwd=CHECKOUT,
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdout is not None
        pid, *folders = json.loads(driver.stdout.readline())
        processes = with_descendants(pid)
        driver.kill()
        assert len(processes) >= 5
        assert all_gone(processes)
        assert eventually(lambda: not any(folder and Path(folder).exists() for folder in folders))
