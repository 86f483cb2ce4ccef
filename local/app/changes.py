"""Notices changes in the app's folder, by names, sizes and times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

# What tools write beside the app without changing it. Folders that begin with a dot are left out too.
IGNORED_FOLDERS = {"__pycache__", "node_modules"}
Snapshot = dict[str, tuple[int, int]]


def snapshot(folder: Path) -> Snapshot:
    """Path below ``folder`` -> time of the last change (ns) and size, of each file."""
    return dict(_files(str(folder), ""))


def _files(folder: str, prefix: str) -> Iterator[tuple[str, tuple[int, int]]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # gone since its parent was read
        return
    for entry in entries:
        try:
            if not entry.is_dir(follow_symlinks=False):
                found = entry.stat()
                yield prefix + entry.name, (found.st_mtime_ns, found.st_size)
                continue
        except OSError:
            continue
        if entry.name not in IGNORED_FOLDERS and not entry.name.startswith("."):
            yield from _files(entry.path, f"{prefix}{entry.name}/")


class Changes:
    """``Changes(folder, on_change)()`` is a number that grows when a file has changed since the last call.

    Asked before each request, so that what was saved before it is what it meets; a thread that polls would be late.
    """

    def __init__(self, folder: Path, on_change: Callable[[str], object] = repr) -> None:
        self._folder = folder
        self._on_change = on_change
        self._known = snapshot(folder)
        self._number = 0

    def __call__(self) -> int:
        now = snapshot(self._folder)
        if now != self._known:
            changed = sorted(path for path, _ in now.items() ^ self._known.items())
            self._known = now
            self._number += 1
            self._on_change(changed[0])
        return self._number
