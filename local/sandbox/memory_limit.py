"""A memory limit for the sandbox: a cgroup of its own, v1 or v2, below the one that we are in already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .cgroup import Cgroup, Refused, counter, ours, texts

MIB = 1024 * 1024
# A cgroup that may get a child, and what to write into the child: the limit first, then what not every kernel has.
Place = tuple[Path, Mapping[str, str]]
EVENTS = ("memory.events", "memory.oom_control")  # v2, v1


class MemoryLimit(Cgroup):
    """The cgroup that has the limit."""

    @classmethod
    def of(cls, megabytes: int) -> MemoryLimit | None:
        """A limit of ``megabytes`` MiB, or None where this user may not set one."""
        for parent, settings in _places(megabytes):
            try:
                return cls(parent, settings)
            except Refused:
                continue
        return None

    @property
    def kills(self) -> int:
        """How many processes the kernel has ended so far because of the limit."""
        return sum(counter(self.directory / name, "oom_kill") for name in EVENTS if (self.directory / name).exists())


def _places(megabytes: int) -> list[Place]:
    """Where this process may try, the nearest first."""
    return list(applicable(*texts(), megabytes, _gives_memory_to_children))


def _gives_memory_to_children(cgroup: Path) -> bool:
    enabled = cgroup / "cgroup.subtree_control"
    return enabled.is_file() and "memory" in enabled.read_text().split()


def applicable(
    membership: str, mounts: str, megabytes: int, gives_memory_to_children: Callable[[Path], bool]
) -> Iterator[Place]:
    """The cgroups below which a limit can be, from the texts of ``/proc/self/cgroup`` and ``/proc/self/mounts``."""
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
