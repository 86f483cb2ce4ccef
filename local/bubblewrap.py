"""bubblewrap (https://github.com/containers/bubblewrap) and its arguments for a function's sandbox."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from . import rootfs, tools
from .failures import LocalFailure

TASK_ROOT = "/var/task"
# Directories in which a bind may have a name that the app or the stand-in does not have. Lambda mounts EFS in /mnt.
COMPOSED = (TASK_ROOT, "/mnt")
EMULATOR = "/usr/local/bin/aws-lambda-rie"
TMP_BYTES = 512 * 1024 * 1024  # Lambda's default for /tmp

PRIVATE = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--uid", str(rootfs.UID), "--gid", str(rootfs.GID), "--cap-drop", "ALL", "--hostname", "169-254-10-1"),
    *("--die-with-parent", "--new-session"),
)


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


def command(architecture: str) -> list[str]:
    """The start of a bubblewrap command line: the machine's own, else one unpacked into ``.cache/tools``.

    Raises ``LocalFailure`` where the kernel or its policy lets this user make no user namespace.
    """
    bubblewrap = tools.command("bwrap", architecture)
    _require_namespaces(bubblewrap)
    return bubblewrap


def _require_namespaces(bubblewrap: Sequence[str]) -> None:
    probe = [*bubblewrap, "--unshare-user", "--unshare-pid", "--uid", str(rootfs.UID), "--ro-bind", "/", "/"]
    result = subprocess.run([*probe, "--proc", "/proc", "/bin/true"], capture_output=True, text=True, timeout=30)
    if result.returncode:
        raise LocalFailure(
            f"the sandbox needs user namespaces, and this machine does not allow them ({result.stderr.strip()}): allow "
            "them with `sudo sysctl -w user.max_user_namespaces=15000`, on Ubuntu also with `sudo sysctl -w "
            "kernel.apparmor_restrict_unprivileged_userns=0`; start a container with --security-opt seccomp=unconfined"
        )


def arguments(files: Files, environment: Mapping[str, str], binds: Iterable[Bind] = ()) -> list[str]:
    """The arguments that make the sandbox; the command to run in it comes after them."""
    mounts = [Bind(files.layer, "/opt"), Bind(files.emulator, EMULATOR), *_name_resolution(), *binds]
    return [
        *PRIVATE,
        *_read_only(files.root, "/"),
        *(argument for parent in COMPOSED for argument in _composed(parent, files, mounts)),
        *(argument for bind in mounts if not _composing(bind) for argument in _mounted(bind, files.root)),
        *("--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp"),
        # Lambda has no /dev/shm. It cannot be left out here, but made useless: what needs it fails here as well.
        *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        "--clearenv",
        *(argument for name, value in environment.items() for argument in ("--setenv", name, value)),
        *("--chdir", TASK_ROOT, "--"),
    ]


def _read_only(source: Path, target: str) -> list[str]:
    return ["--ro-bind", str(source), target]


def _composing(bind: Bind) -> str:
    """The composed directory that ``bind`` lies in, or ``""``."""
    return next((parent for parent in COMPOSED if bind.target.startswith(parent + "/")), "")


def _composed(parent: str, files: Files, mounts: Sequence[Bind]) -> Iterator[str]:
    """The app's own files and what is bound among them. Nothing can be added to a directory that is bound read-only."""
    inside = [bind for bind in mounts if _composing(bind) == parent]
    if not inside:
        if parent == TASK_ROOT:
            yield from _read_only(files.task, TASK_ROOT)
        return
    yield from ("--tmpfs", parent)
    hidden = {bind.target for bind in inside}
    for entry in sorted(files.task.iterdir()) if parent == TASK_ROOT else ():
        target = f"{parent}/{entry.name}"
        if target in hidden:
            continue
        if entry.is_symlink():  # as it is: bound, it would be what it points to here
            yield from ("--symlink", os.readlink(entry), target)
        else:
            yield from _read_only(entry, target)
    for bind in inside:
        yield from _read_only(bind.source, bind.target)
    yield from ("--remount-ro", parent)


def _mounted(bind: Bind, root: Path) -> list[str]:
    if not (root / bind.target.lstrip("/")).exists():
        raise LocalFailure(f"nothing can be bound to {bind.target}: choose a path below {' or '.join(COMPOSED)}")
    return _read_only(bind.source, bind.target)


def _name_resolution() -> list[Bind]:
    """The machine's own, as the network is the machine's too."""
    return [Bind(Path(path), path) for path in ("/etc/resolv.conf", "/etc/hosts") if Path(path).exists()]
