"""Cgroups of our own, v1 or v2, below those that we are in: a memory limit, and a freezer as Lambda has one.

They are removed whatever ends this process.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..failures import LocalFailure

# REMOVE_AFTERWARDS gives up before that.
REMOVED_WITHIN_S = 60
# The shell puts itself into the cgroup and becomes the command: nothing of the command ever runs outside.
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
MIB = 1024 * 1024
EVENTS = ("memory.events", "memory.oom_control")  # v2, v1
FROZEN_WITHIN_S = 5.0
POLL_S = 0.001
ROUNDS = 100
# Reads until our end of the pipe is closed: by `release`, or by the kernel when we were killed. 10 s at most. What is
# frozen is let go first: with v1, even SIGKILL waits for that.
REMOVE_AFTERWARDS = """
read -r _
[ -z "$2" ] || echo "$2" > "$0/$1"
n=0; until rmdir "$0" || [ ! -d "$0" ] || [ $((n += 1)) -ge 200 ]; do sleep 0.05; done
"""


class Refused(Exception):
    """This user may not make a cgroup there, or not put processes into it."""


class Cgroup:
    """A new cgroup below ``parent`` that ends with this process, whatever ends it.

    Of ``settings``, files and what they are to hold, the first has to be there; not every kernel has the others.
    ``last_words`` are a file in it and what to write there before the end. Raises ``Refused``.
    """

    def __init__(self, parent: Path, settings: Mapping[str, str], last_words: tuple[str, str] = ("", "")) -> None:
        self.directory = parent / f"fairlead-{os.getpid()}-{secrets.token_hex(4)}"
        # After SIGKILL we could not remove the directory, so somebody else waits to do it, from before it is there; in
        # a session of its own, for Ctrl-C in the terminal is not meant for it.
        self._remover = subprocess.Popen(
            ["/bin/sh", "-c", REMOVE_AFTERWARDS, str(self.directory), *last_words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._make(settings)
        except (OSError, subprocess.SubprocessError) as error:
            self.release()
            raise Refused(str(error)) from error

    def _make(self, settings: Mapping[str, str]) -> None:
        self.directory.mkdir()
        for position, (name, value) in enumerate(settings.items()):
            if position == 0 or (self.directory / name).exists():
                (self.directory / name).write_text(value)
        # To be allowed to make a cgroup is not yet to be allowed to move into it.
        subprocess.run(self.applied_to(["true"]), check=True, capture_output=True, timeout=REMOVED_WITHIN_S)

    def applied_to(self, command: list[str]) -> list[str]:
        """``command`` as one that runs in it."""
        return ["/bin/sh", "-c", ENTER, str(self.directory), *command]

    def add(self, pid: int) -> None:
        """Move a process into it; no matter if it has just ended."""
        try:
            (self.directory / "cgroup.procs").write_text(str(pid))
        except ProcessLookupError:
            pass

    def members(self) -> set[int]:
        """The processes in it."""
        return {int(pid) for pid in (self.directory / "cgroup.procs").read_text().split()}

    def release(self) -> None:
        """Remove it; its processes must be gone or going."""
        self._remover.communicate(timeout=REMOVED_WITHIN_S)


class MemoryLimit(Cgroup):
    """The cgroup that has the limit."""

    @classmethod
    def of(cls, megabytes: int) -> MemoryLimit | None:
        """A limit of ``megabytes`` MiB, or None where this user may not set one."""
        for parent, settings in limit_places(*texts(), megabytes, _gives_memory_to_children):
            try:
                return cls(parent, settings)
            except Refused:
                continue
        return None

    @property
    def kills(self) -> int:
        """How many processes the kernel has ended so far because of the limit."""
        return sum(counter(self.directory / name, "oom_kill") for name in EVENTS if (self.directory / name).exists())


class Switch(NamedTuple):
    """How a kind of cgroup is frozen and let go: a file and the words to write there, and how to see that it is so."""

    file: str
    freeze: str
    thaw: str
    is_frozen: Callable[[Path], bool]


V1 = Switch("freezer.state", "FROZEN", "THAWED", lambda cgroup: (cgroup / "freezer.state").read_text() == "FROZEN\n")
V2 = Switch("cgroup.freeze", "1", "0", lambda cgroup: counter(cgroup / "cgroup.events", "frozen") == 1)


class Freezer(Cgroup):
    """A cgroup that processes are put into to be frozen."""

    def __init__(self, parent: Path, switch: Switch) -> None:
        super().__init__(parent, {switch.file: switch.thaw}, last_words=(switch.file, switch.thaw))
        self._switch = switch

    @classmethod
    def of(cls, places: list[tuple[Path, Switch]]) -> Freezer:
        """A freezer in the first place that takes one. Raises ``LocalFailure`` when none does."""
        for parent, switch in places:
            try:
                return cls(parent, switch)
            except Refused:
                continue
        raise LocalFailure(
            "the function cannot be frozen between invocations: that needs a cgroup (v2, or v1's freezer), and this "
            "user may not make one; run as root, or in a delegated cgroup: `systemd-run --user --scope -p Delegate=yes`"
        )

    @property
    def is_frozen(self) -> bool:
        """Whether every process in it stands still."""
        return self._switch.is_frozen(self.directory)

    def freeze(self, running: Callable[[], list[int]]) -> None:
        """Freeze what ``running()`` says; back when all of it stands still. Raises ``LocalFailure`` if it does not."""
        self._take_in(running)
        self._write(self._switch.freeze)
        end = time.monotonic() + FROZEN_WITHIN_S
        while not self.is_frozen:
            if time.monotonic() > end:
                self.thaw()
                raise LocalFailure("the function's processes do not freeze: one of them may be stuck in the kernel")
            time.sleep(POLL_S)

    def thaw(self) -> None:
        """Let its processes go on."""
        self._write(self._switch.thaw)

    def _take_in(self, running: Callable[[], list[int]]) -> None:
        # A child of a process inside is born inside, so it is again and again only what was born meanwhile.
        for _ in range(ROUNDS):
            outside = set(running()) - self.members()
            if not outside:
                return
            for pid in outside:
                self.add(pid)
        raise LocalFailure("the function starts processes faster than they can be frozen")

    def _write(self, word: str) -> None:
        (self.directory / self._switch.file).write_text(word)


def _gives_memory_to_children(cgroup: Path) -> bool:
    enabled = cgroup / "cgroup.subtree_control"
    return enabled.is_file() and "memory" in enabled.read_text().split()


def limit_places(
    membership: str, mounts: str, megabytes: int, gives_memory_to_children: Callable[[Path], bool]
) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """The cgroups below which a limit can be, the nearest first, and what to write into the child.

    From the texts of ``/proc/self/cgroup`` and ``/proc/self/mounts``.
    """
    size = str(megabytes * MIB)
    for is_v2, mount, here in ours(membership, mounts, "memory"):
        if not is_v2:
            # memsw has to be written after limit_in_bytes, below which it cannot be.
            yield here, {"memory.limit_in_bytes": size, "memory.memsw.limit_in_bytes": size}
            continue
        above = [parent for parent in (here, *here.parents) if parent.is_relative_to(mount)]
        # A cgroup of v2 with processes in it has no children with controllers: it is an ancestor, if any.
        for parent in filter(gives_memory_to_children, above):
            yield parent, {"memory.max": size, "memory.swap.max": "0"}


def freezer_places(limit: Path | None = None) -> list[tuple[Path, Switch]]:
    """Where this process may try; ``limit`` is the cgroup that the function is in already, if it has one."""
    return list(applicable_freezers(*texts(), limit))


def applicable_freezers(membership: str, mounts: str, limit: Path | None = None) -> Iterator[tuple[Path, Switch]]:
    """The cgroups below which a freezer can be, from the texts of ``/proc/self/cgroup`` and ``/proc/self/mounts``."""
    for is_v2, mount, here in ours(membership, mounts, "freezer"):
        if not is_v2:
            yield here, V1
        else:
            # v2 has one tree: what is frozen elsewhere than below its memory limit would leave the limit.
            yield (limit if limit and limit.is_relative_to(mount) else here), V2


def ours(membership: str, mounts: str, controller: str) -> Iterator[tuple[bool, Path, Path]]:
    """Where this process is: whether that is v2, where it is mounted, and the cgroup.

    From the texts of ``/proc/self/cgroup`` and ``/proc/self/mounts``; of v1 only the hierarchies of ``controller``.
    """
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        is_v2 = not controllers
        if is_v2 or controller in controllers.split(","):
            for mount in _mount_points(mounts, *(("cgroup2", "rw") if is_v2 else ("cgroup", controller))):
                yield is_v2, mount, mount / path.lstrip("/")


def texts() -> tuple[str, str]:
    """The two texts that ``ours`` reads."""
    return Path("/proc/self/cgroup").read_text(), Path("/proc/self/mounts").read_text()


def counter(file: Path, name: str) -> int:
    """The number after ``name`` in a file of ``name number`` lines; 0 where the kernel does not count it."""
    words = [line.split() for line in file.read_text().splitlines()]
    return next((int(number) for key, number in words if key == name), 0)


def _mount_points(mounts: str, kind: str, option: str) -> Iterator[Path]:
    for line in mounts.splitlines():
        _, where, filesystem, options, *_ = line.split(" ")
        if filesystem == kind and option in options.split(","):
            yield Path(where)
