"""What the kernel tells of processes and of this machine, and what it can be told: cores, page cache."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .failures import BenchError

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


class Memory(NamedTuple):
    """Of one process, in kB (proc(5)). ``pss`` counts a page that others map too by its share."""

    pss: int
    rss: int


def cpu_ns(pid: int) -> int:
    """CPU time of all living tasks of the process, in nanoseconds: /proc/PID/stat has hundredths of a second only."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    except FileNotFoundError as error:
        raise BenchError(f"{error.filename} is missing: the process is gone, or the kernel has no schedstat") from error


def memory_of(pid: int) -> Memory:
    """The memory that the process holds now."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in text.splitlines()[1:])}
    return Memory(int(fields["Pss"][0]), int(fields["Rss"][0]))


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started and not yet reaped; none when it is gone itself."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def on_one_core(pinned: bool) -> Iterator[None]:
    """Whatever is started inside, and all that it starts, stays on one core. This process itself goes on as before."""
    allowed = os.sched_getaffinity(0)
    if pinned:
        os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def can_drop_page_cache() -> bool:
    """Whether this user may: only root may, and not in every container."""
    try:
        DROP_CACHES.open("w").close()
    except OSError:
        return False
    return os.geteuid() == 0


def drop_page_cache() -> None:
    """What was read from disk is forgotten, names of files included."""
    os.sync()
    DROP_CACHES.write_text("3\n")


def load() -> str:
    """How busy the machine was in the last minute, as a sentence needs it."""
    return f"{os.getloadavg()[0]:.1f}"


def describe() -> str:
    """This machine in one line."""
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} core{'s' if cores > 1 else ''}, Linux {platform.release()}, {_distribution()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown distribution"
