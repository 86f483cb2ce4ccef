"""Processes of this machine, as ``/proc`` has them."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """The children of all of the process's threads, the oldest first; none when it is gone."""
    lists = [_text(path).split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return sorted({int(child) for children in lists for child in children}, key=_started)


def below(pid: int) -> list[int]:
    """Every process that descends from ``pid`` now."""
    return [found for child in children(pid) for found in (child, *below(child))]


def _started(pid: int) -> int:
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(fields[19]) if fields else 0


def _text(path: Path) -> str:
    """The file's text; empty when its process or thread has just ended, which says nothing of the others."""
    try:
        return path.read_text()
    except OSError:
        return ""
