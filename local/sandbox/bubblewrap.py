"""bubblewrap (https://github.com/containers/bubblewrap) and its arguments for a function's sandbox."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence

from .. import tools
from ..failures import LocalFailure
from . import rootfs
from .mounts import EMULATOR, HOSTNAME, TASK_ROOT, TMP_BYTES, Bind, Files, Mount, mounts

__all__ = ["EMULATOR", "TASK_ROOT", "Bind", "Files", "arguments", "command"]

PRIVATE = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--uid", str(rootfs.UID), "--gid", str(rootfs.GID), "--cap-drop", "ALL", "--hostname", HOSTNAME),
    *("--die-with-parent", "--new-session"),
)
HOW_TO_ALLOW = (
    "allow them with `sudo sysctl -w user.max_user_namespaces=15000`, on Ubuntu also with `sudo sysctl -w "
    "kernel.apparmor_restrict_unprivileged_userns=0`; start a container with --security-opt "
    "seccomp=unconfined; in a chroot there are none"
)


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
            "the sandbox needs user namespaces, and this machine does not allow them "
            f"({result.stderr.strip()}): {HOW_TO_ALLOW}"
        )


def arguments(files: Files, environment: Mapping[str, str], binds: Iterable[Bind] = ()) -> list[str]:
    """The arguments that make the sandbox; the command to run in it comes after them."""
    return [
        *PRIVATE,
        *(argument for mount in mounts(files, binds) for argument in _arguments(mount)),
        "--clearenv",
        *(argument for name, value in environment.items() for argument in ("--setenv", name, value)),
        *("--chdir", TASK_ROOT, "--"),
    ]


def _arguments(mount: Mount) -> tuple[str, ...]:
    return {
        "bind": ("--ro-bind", mount.source, mount.target),
        "directory": ("--tmpfs", mount.target),
        "symlink": ("--symlink", mount.source, mount.target),
        "seal": ("--remount-ro", mount.target),
        "tmp": ("--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", mount.target),
        "proc": ("--proc", mount.target),
        # Lambda has no /dev/shm. bubblewrap cannot leave it out, but sealed it is useless: who needs it fails here too.
        "dev": ("--dev", mount.target),
    }[mount.kind]
