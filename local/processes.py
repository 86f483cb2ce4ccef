"""Processes of this machine, as ``/proc`` has them."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """The children of all of the process's threads, the oldest first; none when it is gone."""
    try:
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return sorted({int(child) for children in lists for child in children}, key=_started)


def below(pid: int) -> list[int]:
    """Every process that descends from ``pid`` now."""
    return [found for child in children(pid) for found in (child, *below(child))]


def _started(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0
