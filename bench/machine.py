"""Reads the kernel's figures of processes and of this machine, and sets cores and the page cache."""

from __future__ import annotations

import os
import platform
import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .failures import BenchError

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


class Memory(NamedTuple):
    """In kB (proc(5)). ``pss`` counts a page that others map too by its share."""

    pss: int
    rss: int


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time of all living tasks of the processes, in nanoseconds: /proc/PID/stat has hundredths of a second only."""
    try:
        tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    except FileNotFoundError as error:
        raise BenchError(f"{error.filename} is missing: the process is gone, or the kernel has no schedstat") from error


def memory_of(pids: Iterable[int]) -> Memory:
    """The memory that the processes hold now, added up: of ``rss`` that counts what they share several times."""
    each = [_memory_of(pid) for pid in pids]
    return Memory(sum(memory.pss for memory in each), sum(memory.rss for memory in each))


def _memory_of(pid: int) -> Memory:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in text.splitlines()[1:])}
    return Memory(int(fields["Pss"][0]), int(fields["Rss"][0]))


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started and not yet reaped; none when it is gone itself."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def started_with(variable: str) -> list[int]:
    """The processes that were started with ``variable`` (NAME=value) in their environment, as far as we may look."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environment.read_bytes().split(b"\0")
        except OSError:  # gone, or another user's
            continue
        if variable.encode() in variables:
            found.append(int(environment.parent.name))
    return found


def job(pid: int) -> list[int]:
    """``pid`` and those of its children that are in its process group: what a shell would call one job."""
    group = os.getpgid(pid)
    return [pid, *(child for child in children(pid) if _group_of(child) == group)]


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens.

    Below those that the kernel gives away by itself: one of these may be somebody else's before it is used.
    """
    lowest_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        port = random.randrange(min(10_000, lowest_given - 1000), lowest_given)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise BenchError("no free port was found on 127.0.0.1 below those that the kernel gives away")


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
    """Empty the page cache, names of files included."""
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
