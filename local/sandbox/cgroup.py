"""Cgroups of our own, v1 or v2, below those that we are in: made, entered, and removed whatever ends this process."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

# REMOVE_AFTERWARDS gives up before that.
REMOVED_WITHIN_S = 60
# The shell puts itself into the cgroup and becomes the command: nothing of the command ever runs outside.
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
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
