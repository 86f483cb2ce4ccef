"""What a function sees of this machine, as a list of mounts, the same whatever makes the sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..failures import LocalFailure

TASK_ROOT = "/var/task"
# Directories in which a bind may have a name that the app or the stand-in does not have. Lambda mounts EFS in /mnt.
COMPOSED = (TASK_ROOT, "/mnt")
EMULATOR = "/usr/local/bin/aws-lambda-rie"
TMP_BYTES = 512 * 1024 * 1024  # Lambda's default for /tmp
HOSTNAME = "169-254-10-1"


class Bind(NamedTuple):
    """A file or directory of this machine that the function sees, read-only, as ``target``."""

    source: Path
    target: str


class Files(NamedTuple):
    """What the sandbox is made of, as paths of this machine."""

    root: Path
    layer: Path
    task: Path
    emulator: Path


class Mount(NamedTuple):
    """One step, to be taken in order.

    ``bind``: ``source``, read-only; ``directory``: an empty one to be filled and then ``seal``ed, read-only;
    ``symlink`` to ``source``; ``tmp``, ``proc`` and ``dev`` are what they are called.
    """

    kind: str
    target: str
    source: str = ""


def mounts(files: Files, binds: Iterable[Bind] = ()) -> list[Mount]:
    """Every mount, ``/`` first. Raises ``LocalFailure`` for a bind that has no place."""
    wanted = [Bind(files.layer, "/opt"), Bind(files.emulator, EMULATOR), *_name_resolution(), *binds]
    return [
        _bound(files.root, "/"),
        *(mount for parent in COMPOSED for mount in _composed(parent, files, wanted)),
        *(_placed(bind, files.root) for bind in wanted if not _composing(bind)),
        *(Mount("tmp", "/tmp"), Mount("proc", "/proc"), Mount("dev", "/dev"), Mount("seal", "/dev")),
    ]


def _bound(source: Path, target: str) -> Mount:
    return Mount("bind", target, str(source))


def _composing(bind: Bind) -> str:
    """The composed directory that ``bind`` lies in, or ``""``."""
    return next((parent for parent in COMPOSED if bind.target.startswith(parent + "/")), "")


def _composed(parent: str, files: Files, wanted: Sequence[Bind]) -> Iterator[Mount]:
    """The app's own files and what is bound among them. Nothing can be added to a directory that is bound read-only."""
    inside = [bind for bind in wanted if _composing(bind) == parent]
    if not inside:
        if parent == TASK_ROOT:
            yield _bound(files.task, TASK_ROOT)
        return
    yield Mount("directory", parent)
    hidden = {bind.target for bind in inside}
    for entry in sorted(files.task.iterdir()) if parent == TASK_ROOT else ():
        target = f"{parent}/{entry.name}"
        if target in hidden:
            continue
        if entry.is_symlink():  # as it is: bound, it would be what it points to here
            yield Mount("symlink", target, os.readlink(entry))
        else:
            yield _bound(entry, target)
    for bind in inside:
        yield _bound(bind.source, bind.target)
    yield Mount("seal", parent)


def _placed(bind: Bind, root: Path) -> Mount:
    if not (root / bind.target.lstrip("/")).exists():
        raise LocalFailure(f"nothing can be bound to {bind.target}: choose a path below {' or '.join(COMPOSED)}")
    return _bound(bind.source, bind.target)


def _name_resolution() -> list[Bind]:
    """The machine's own, as the network is the machine's too."""
    return [Bind(Path(path), path) for path in ("/etc/resolv.conf", "/etc/hosts") if Path(path).exists()]
