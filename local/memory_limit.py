"""A memory limit for the sandbox: a cgroup of its own, v1 or v2, below the one that we are in already."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

MIB = 1024 * 1024
# A cgroup that may get a child, and what to write into the child: the limit first, then what not every kernel has.
Place = tuple[Path, Mapping[str, str]]
# The shell puts itself into the cgroup and becomes the command: nothing of the command ever runs outside.
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
# Reads until our end of the pipe is closed: by `release`, or by the kernel when we were killed. 10 s at most.
REMOVE_AFTERWARDS = 'read -r _; n=0; until rmdir "$0" || [ ! -d "$0" ] || [ $((n += 1)) -ge 200 ]; do sleep 0.05; done'


class MemoryLimit:
    """A cgroup that ends with this process, whatever ends it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # After SIGKILL we could not remove the directory, so somebody else waits to do it; in a session of its own, for
        # Ctrl-C in the terminal is not meant for it.
        self._remover = subprocess.Popen(
            ["/bin/sh", "-c", REMOVE_AFTERWARDS, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @classmethod
    def of(cls, megabytes: int) -> MemoryLimit | None:
        """A limit of ``megabytes`` MiB, or None where this user may not set one."""
        for parent, settings in _places(megabytes):
            directory = _made(parent, settings)
            if directory:
                return cls(directory)
        return None

    def applied_to(self, command: list[str]) -> list[str]:
        """``command`` as one that runs under the limit."""
        return ["/bin/sh", "-c", ENTER, str(self.directory), *command]

    def release(self) -> None:
        """Remove the cgroup; its processes must be gone or going."""
        self._remover.communicate()


def _places(megabytes: int) -> list[Place]:
    """Where this process may try, the nearest first."""
    membership, mounts = Path("/proc/self/cgroup").read_text(), Path("/proc/self/mounts").read_text()
    return list(applicable(membership, mounts, megabytes, _gives_memory_to_children))


def _gives_memory_to_children(cgroup: Path) -> bool:
    enabled = cgroup / "cgroup.subtree_control"
    return enabled.is_file() and "memory" in enabled.read_text().split()


def applicable(
    membership: str, mounts: str, megabytes: int, gives_memory_to_children: Callable[[Path], bool]
) -> Iterator[Place]:
    """The cgroups below which a limit can be, from the texts of ``/proc/self/cgroup`` and ``/proc/self/mounts``."""
    size = str(megabytes * MIB)
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            for mount in _mount_points(mounts, "cgroup", "memory"):
                # memsw has to be written after limit_in_bytes, below which it cannot be.
                yield mount / path.lstrip("/"), {"memory.limit_in_bytes": size, "memory.memsw.limit_in_bytes": size}
        elif not controllers:
            for mount in _mount_points(mounts, "cgroup2", "rw"):
                here = mount / path.lstrip("/")
                above = [parent for parent in (here, *here.parents) if parent.is_relative_to(mount)]
                # A cgroup of v2 with processes in it has no children with controllers: it is an ancestor, if any.
                for parent in filter(gives_memory_to_children, above):
                    yield parent, {"memory.max": size, "memory.swap.max": "0"}


def _mount_points(mounts: str, kind: str, option: str) -> Iterator[Path]:
    for line in mounts.splitlines():
        _, where, filesystem, options, *_ = line.split(" ")
        if filesystem == kind and option in options.split(","):
            yield Path(where)


def _made(parent: Path, settings: Mapping[str, str]) -> Path | None:
    directory = parent / f"fairlead-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        directory.mkdir()
    except OSError:
        return None
    try:
        for position, (name, value) in enumerate(settings.items()):
            if position == 0 or (directory / name).exists():
                (directory / name).write_text(value)
        # To be allowed to make a cgroup is not yet to be allowed to move into it.
        subprocess.run(["/bin/sh", "-c", ENTER, str(directory), "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        directory.rmdir()
        return None
    return directory
