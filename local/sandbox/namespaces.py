"""``python -m local.sandbox.namespaces --info-fd N PLAN COMMAND...``: the sandbox by Python alone, without bubblewrap.

The same promises by the same means: user, mount, pid, IPC, UTS and cgroup namespaces of its own, ``/`` put together
from bind mounts and made read-only, no capabilities, and everything ends with the process that asked for it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..cache import CHECKOUT
from ..failures import LocalFailure
from . import linux, rootfs
from .mounts import HOSTNAME, TASK_ROOT, TMP_BYTES, Bind, Files, Mount, mounts

DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
DEVICE_LINKS = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
OWN = (
    *(linux.CLONE_NEWUSER, linux.CLONE_NEWNS, linux.CLONE_NEWPID),
    *(linux.CLONE_NEWIPC, linux.CLONE_NEWUTS, linux.CLONE_NEWCGROUP),
)
TIDY = linux.MS_NOSUID | linux.MS_NODEV


def command(root: Path) -> list[str]:
    """The start of a command line that takes ``arguments``.

    Raises ``LocalFailure`` where the kernel or its policy does not let this user do it; found out by doing it.
    """
    program = [sys.executable, "-m", "local.sandbox.namespaces"]
    around_nothing = [Mount("bind", "/", str(root)), *(Mount(kind, f"/{kind}") for kind in ("tmp", "proc", "dev"))]
    trial = subprocess.run(
        [*program, _plan(around_nothing, {}, "/")], cwd=CHECKOUT, capture_output=True, text=True, timeout=30
    )
    if trial.returncode:
        reason = (trial.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise LocalFailure(f"this machine does not let Python make a sandbox by namespaces ({reason})")
    return program


def arguments(files: Files, environment: Mapping[str, str], binds: Iterable[Bind] = ()) -> list[str]:
    """What makes the sandbox; the command to run in it comes after it."""
    return [_plan(mounts(files, binds), environment, TASK_ROOT)]


def _plan(steps: Sequence[Mount], environment: Mapping[str, str], directory: str) -> str:
    plan = {"parent": os.getpid(), "mounts": steps, "environment": dict(environment), "directory": directory}
    return json.dumps(plan)


def main(arguments: Sequence[str]) -> int:
    """The outermost process: the one that is started and killed."""
    info, (text, *command) = info_fd(arguments)
    plan = json.loads(text)
    user, group = os.geteuid(), os.getegid()
    linux.unshare(sum(OWN))
    linux.signal_at_death_of(plan["parent"], signal.SIGKILL)  # new credentials would have cleared it
    _map_ids(user, group)
    we_live, we_end = os.pipe()
    init = os.fork()
    if init == 0:
        os.close(we_end)
        _init(plan, command, info, we_live)
    tell(info, init)
    return os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])


def info_fd(arguments: Sequence[str]) -> tuple[int, list[str]]:
    """``--info-fd N`` from the beginning of a command line, -1 without it; and the rest."""
    if arguments and arguments[0] == "--info-fd":
        os.set_inheritable(int(arguments[1]), False)  # it ends with what is told, not with the command
        return int(arguments[1]), list(arguments[2:])
    return -1, list(arguments)


def tell(info: int, init: int) -> None:
    """Who is the first process in the sandbox, as bubblewrap tells it."""
    if info >= 0:
        os.write(info, json.dumps({"child-pid": init}).encode())
        os.close(info)


def become(command: list[str], plan: Mapping[str, Any]) -> NoReturn:
    """This process is ``command`` from here on, where and with the environment that ``plan`` says; 127 if it cannot be,
    as a shell has it."""
    try:
        os.chdir(plan["directory"])
        os.execve(command[0], command, plan["environment"])
    except OSError as error:
        print(f"{command[0]}: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def _map_ids(user: int, group: int) -> None:
    Path("/proc/self/setgroups").write_text("deny")  # without it an ordinary user may not map a group
    Path("/proc/self/uid_map").write_text(f"{rootfs.UID} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{rootfs.GID} {group} 1")


def _init(plan: dict[str, Any], command: list[str], info: int, we_live: int) -> NoReturn:
    """Process 1 in the sandbox: makes it, starts the command, and reaps until that has ended. The rest ends with it."""
    status = 1
    try:
        linux.signal_at_death_of(os.getppid(), signal.SIGKILL)  # 0 in a namespace of its own, so the pipe is asked too
        if select.select([we_live], [], [], 0)[0]:
            os._exit(1)
        os.close(we_live)
        if info >= 0:
            os.close(info)
        linux.set_hostname(HOSTNAME)
        _mount_all([Mount(*step) for step in plan["mounts"]])
        linux.drop_capabilities()
        status = _reaped(_start(plan, command)) if command else 0
    except OSError as error:
        print(error, file=sys.stderr, flush=True)
    os._exit(status)


def _mount_all(steps: Sequence[Mount]) -> None:
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    root = steps[0].source
    for step in steps:
        MAKE[step.kind](step, root + step.target.rstrip("/"))
    linux.become_root(root)


def _bind(step: Mount, target: str) -> None:
    if not os.path.lexists(target):  # in a directory that is being filled
        if os.path.isdir(step.source):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC))
    linux.mount(step.source, target, flags=linux.MS_BIND | linux.MS_REC)
    linux.make_read_only(target)


def _devices(step: Mount, target: str) -> None:
    linux.mount("tmpfs", target, "tmpfs", linux.MS_NOSUID, "mode=755")
    for name in DEVICES:
        os.close(os.open(f"{target}/{name}", os.O_CREAT | os.O_CLOEXEC))
        linux.mount(f"/dev/{name}", f"{target}/{name}", flags=linux.MS_BIND)
    for name, points_to in DEVICE_LINKS.items():
        os.symlink(f"/proc/self/{points_to}", f"{target}/{name}")


MAKE: dict[str, Callable[[Mount, str], None]] = {
    "bind": _bind,
    "directory": lambda step, target: linux.mount("tmpfs", target, "tmpfs", TIDY, "mode=755"),
    "symlink": lambda step, target: os.symlink(step.source, target),
    "seal": lambda step, target: linux.make_read_only(target, recursive=False),
    "tmp": lambda step, target: linux.mount("tmpfs", target, "tmpfs", TIDY, f"mode=1777,size={TMP_BYTES}"),
    "proc": lambda step, target: linux.mount("proc", target, "proc", TIDY | linux.MS_NOEXEC),
    "dev": _devices,
}


def _start(plan: dict[str, Any], command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    os.setsid()
    become(command, plan)


def _reaped(child: int) -> int:
    """The exit status of ``child``, which is waited for together with every process whose parent has ended."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
