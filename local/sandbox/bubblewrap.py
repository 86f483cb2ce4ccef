"""bubblewrap (https://github.com/containers/bubblewrap) and its arguments for a function's sandbox."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from .. import tools
from ..failures import LocalFailure
from . import mounts, rootfs
from .mounts import TASK_ROOT, Bind

HOSTNAME = "169-254-10-1"
PRIVATE = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--uid", str(rootfs.UID), "--gid", str(rootfs.GID), "--cap-drop", "ALL", "--hostname", HOSTNAME),
    *("--die-with-parent", "--new-session"),
)
PROBE = (
    *("--unshare-user", "--unshare-pid", "--uid", str(rootfs.UID)),
    *("--ro-bind", "/", "/", "--proc", "/proc", "/bin/true"),
)
HOW_TO_ALLOW = (
    "allow them with `sudo sysctl -w user.max_user_namespaces=15000`, on Ubuntu also with `sudo sysctl -w "
    "kernel.apparmor_restrict_unprivileged_userns=0`; start a container with --security-opt "
    "seccomp=unconfined; in a chroot there are none"
)


def command(architecture: str) -> list[str]:
    """The start of a bubblewrap command line: the machine's own, else one unpacked into ``.cache/tools``.

    The second is tried too where the first is refused: a security policy may be about that one program. Raises
    ``LocalFailure`` where the kernel or its policy lets this user make no user namespace; found out by trying.
    """
    reason = ""
    for bubblewrap in tools.commands("bwrap", architecture):
        trial = subprocess.run([*bubblewrap, *PROBE], capture_output=True, text=True, timeout=30)
        if trial.returncode == 0:
            return bubblewrap
        reason = reason or trial.stderr.strip()
    raise LocalFailure(
        f"the sandbox needs user namespaces, and this machine does not allow them ({reason}): {HOW_TO_ALLOW}"
    )


def arguments(root: Path, task: Path, environment: Mapping[str, str], binds: Iterable[Bind]) -> list[str]:
    """The arguments that make the sandbox; the command to run in it comes after them."""
    return [
        *PRIVATE,
        *mounts.arguments(root, task, binds),
        "--clearenv",
        *(argument for name, value in environment.items() for argument in ("--setenv", name, value)),
        *("--chdir", TASK_ROOT, "--"),
    ]
