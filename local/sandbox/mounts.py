"""The files and directories that a function sees, as bubblewrap's arguments."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..failures import LocalFailure

TASK_ROOT = "/var/task"
# Directories in which a bind may have a name that the app or the stand-in does not have. Lambda mounts EFS in /mnt.
COMPOSED = (TASK_ROOT, "/mnt")
TMP_BYTES = 512 * 1024 * 1024  # Lambda's default for /tmp


class Bind(NamedTuple):
    """A file or directory of this machine that the function sees, read-only, as ``target``."""

    source: Path
    target: str


def arguments(root: Path, task: Path, binds: Iterable[Bind]) -> list[str]:
    """Mounts ``root`` as ``/``, ``task`` as ``/var/task``, and ``binds``, in the order in which they have to be made.

    Raises ``LocalFailure`` for a bind that has no place.
    """
    wanted = [*_name_resolution(), *binds]
    return [
        *_bound(root, "/"),
        *(word for parent in COMPOSED for word in _composed(parent, task, wanted)),
        *(word for bind in wanted if not _composing(bind) for word in _placed(bind, root)),
        *("--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp"),
        *("--proc", "/proc"),
        # Lambda has no /dev/shm. bubblewrap cannot leave it out, but sealed it is useless: who needs it fails here too.
        *("--dev", "/dev", "--remount-ro", "/dev"),
    ]


def _bound(source: Path, target: str) -> tuple[str, str, str]:
    return "--ro-bind", str(source), target


def _composing(bind: Bind) -> str:
    """The composed directory that ``bind`` lies in, or ``""``."""
    return next((parent for parent in COMPOSED if bind.target.startswith(parent + "/")), "")


def _composed(parent: str, task: Path, wanted: Sequence[Bind]) -> Iterator[str]:
    """The app's own files and what is bound among them. Nothing can be added to a directory that is bound read-only."""
    inside = [bind for bind in wanted if _composing(bind) == parent]
    if not inside:
        if parent == TASK_ROOT:
            yield from _bound(task, TASK_ROOT)
        return
    yield from ("--tmpfs", parent)
    hidden = {bind.target for bind in inside}
    for entry in sorted(task.iterdir()) if parent == TASK_ROOT else ():
        target = f"{parent}/{entry.name}"
        if target in hidden:
            continue
        if entry.is_symlink():  # as it is: bound, it would be what it points to here
            yield from ("--symlink", os.readlink(entry), target)
        else:
            yield from _bound(entry, target)
    for bind in inside:
        yield from _bound(bind.source, bind.target)
    yield from ("--remount-ro", parent)


def _placed(bind: Bind, root: Path) -> tuple[str, str, str]:
    if not (root / bind.target.lstrip("/")).exists():
        raise LocalFailure(f"nothing can be bound to {bind.target}: choose a path below {' or '.join(COMPOSED)}")
    return _bound(bind.source, bind.target)


def _name_resolution() -> list[Bind]:
    """The machine's own, as the network is the machine's too."""
    return [Bind(Path(path), path) for path in ("/etc/resolv.conf", "/etc/hosts") if Path(path).exists()]
