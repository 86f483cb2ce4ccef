"""Freezes a function's processes between invocations, as Lambda does, by a cgroup, v1 or v2."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..failures import LocalFailure
from .cgroup import Cgroup, Refused, counter, ours, texts

PATIENCE_S = 5.0
POLL_S = 0.001
ROUNDS = 100


class Switch(NamedTuple):
    """How a kind of cgroup is frozen and let go: a file and the words to write there, and how to see that it is so."""

    file: str
    freeze: str
    thaw: str
    is_frozen: Callable[[Path], bool]


V1 = Switch("freezer.state", "FROZEN", "THAWED", lambda cgroup: (cgroup / "freezer.state").read_text() == "FROZEN\n")
V2 = Switch("cgroup.freeze", "1", "0", lambda cgroup: counter(cgroup / "cgroup.events", "frozen") == 1)
# A cgroup that may get a child, and how that is frozen.
Place = tuple[Path, Switch]


class Freezer(Cgroup):
    """A cgroup that processes are put into to be frozen."""

    def __init__(self, parent: Path, switch: Switch) -> None:
        super().__init__(parent, {switch.file: switch.thaw}, last_words=(switch.file, switch.thaw))
        self._switch = switch

    @classmethod
    def of(cls, places: list[Place]) -> Freezer:
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
        end = time.monotonic() + PATIENCE_S
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


def places(limit: Path | None = None) -> list[Place]:
    """Where this process may try; ``limit`` is the cgroup that the function is in already, if it has one."""
    return list(applicable(*texts(), limit))


def applicable(membership: str, mounts: str, limit: Path | None = None) -> Iterator[Place]:
    """The cgroups below which a freezer can be, from the texts of ``/proc/self/cgroup`` and ``/proc/self/mounts``."""
    for is_v2, mount, here in ours(membership, mounts, "freezer"):
        if not is_v2:
            yield here, V1
        else:
            # v2 has one tree: what is frozen elsewhere than below its memory limit would leave the limit.
            yield (limit if limit and limit.is_relative_to(mount) else here), V2
