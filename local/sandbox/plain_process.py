"""``python -m local.sandbox.plain_process --info-fd N PLAN COMMAND...``: no sandbox, but everything ends all the same.

Without namespaces the emulator and the function are ordinary processes of this machine. Nothing is at ``/opt`` and
``/var/task``: the layer is used from where it lies, and where the app's scripts and variables name these paths, they
get those of this machine. This program stays the parent of all, of those that leave their group or session too, and
ends them when it is told to or its own parent ends. Against SIGKILL of this very program nothing helps here; a process
namespace would.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..cache import CACHE
from ..processes import below
from .mounts import TASK_ROOT, Bind
from .relocate import BOOTSTRAP, compose, relocate, replace_paths

NOTICE = (
    "there is no sandbox: the app runs as an ordinary process, with this machine's files, libraries and user, and the "
    "layer is not at /opt but where it lies"
)


def command() -> list[str]:
    """The start of a command line that takes ``arguments``."""
    return [sys.executable, "-m", "local.sandbox.plain_process"]


def bootstrap(layer: Path) -> Path:
    """The layer's, of a copy that runs from where it lies."""
    return relocate(layer) / BOOTSTRAP


def arguments(layer: Path, task: Path, environment: Mapping[str, str], binds: Sequence[Bind] = ()) -> list[str]:
    """The arguments of this program; the command to run comes after them.

    Of ``binds`` those below ``/var/task`` are seen.
    """
    plan = {
        "parent": os.getpid(),
        # The system's directories of Lambda are not those of this machine.
        "environment": {name: value for name, value in environment.items() if name != "LD_LIBRARY_PATH"},
        "opt": str(relocate(layer)),
        "task": str(task),
        "inside": {name: str(bind.source) for bind in binds if (name := place(bind))},
    }
    return [json.dumps(plan)]


def place(bind: Bind) -> str:
    """Where ``bind`` is seen, relative to the app's folder; "" when it is nowhere: that would take a mount."""
    return bind.target.removeprefix(f"{TASK_ROOT}/") if bind.target.startswith(f"{TASK_ROOT}/") else ""


def _where_programs_run() -> str | None:
    """A directory for a copy of the app's folder, whose scripts are executed; None: the usual one."""
    if not os.statvfs(tempfile.gettempdir()).f_flag & os.ST_NOEXEC:
        return None
    (CACHE / "tmp").mkdir(parents=True, exist_ok=True)
    return str(CACHE / "tmp")


def _settle(plan: dict[str, Any], paths: Path) -> None:
    """Give the function its folder and its variables, with what stands for ``/opt`` and ``/var/task`` in ``paths``."""
    # By a name without blanks, which unquoted words of scripts may be replaced by.
    opt, task = paths / "opt", paths / "task"
    opt.symlink_to(plan["opt"])
    inside = {name: Path(source) for name, source in plan["inside"].items()}
    plan["directory"] = str(compose(Path(plan["task"]), task, str(opt), inside))
    variables = {
        name: os.fsdecode(replace_paths(os.fsencode(value), str(opt), plan["directory"]))
        for name, value in plan["environment"].items()
    }
    # The layer's programs before the machine's. A layer without a Python needs one that is new enough for the runtime:
    # that of this program is, and the first on the developer's PATH need not be.
    own = (str(opt / "bin"), str(Path(sys.executable).parent))
    path = (*own, variables.get("PATH", ""), os.environ.get("PATH", os.defpath))
    plan["environment"] = {**variables, "PATH": os.pathsep.join(filter(None, path))}


# prctl(2)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# Waited for instead of handled: nothing then happens between two lines of this program.
SIGNALS = (signal.SIGTERM, signal.SIGCHLD)


def main(arguments: Sequence[str]) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    _, info, text, *command = arguments
    os.set_inheritable(int(info), False)  # it ends with what is written there, not with the command
    plan = json.loads(text)
    _set(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != plan["parent"]:  # it has ended before that
        os.kill(os.getpid(), signal.SIGTERM)
    _set(PR_SET_CHILD_SUBREAPER, 1)  # what loses its parent becomes a child of this process
    with (
        tempfile.TemporaryDirectory(prefix="fairlead-") as temporary,
        tempfile.TemporaryDirectory(prefix="fairlead-paths-", dir=_where_programs_run()) as paths,
    ):
        plan["environment"]["TMPDIR"] = temporary
        _settle(plan, Path(paths))
        child = os.fork()
        if child == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            _become(command, plan)
        os.write(int(info), json.dumps({"child-pid": os.getpid()}).encode())  # as bubblewrap does it
        os.close(int(info))
        status = _wait_for(child)
        _end_all()
    return status


def _set(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3) < 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _become(command: list[str], plan: Mapping[str, Any]) -> NoReturn:
    """Replace this process by ``command``, where and with the environment that ``plan`` says; or end with 127, as a
    shell does."""
    try:
        os.chdir(plan["directory"])
        os.execve(command[0], command, plan["environment"])
    except OSError as error:
        print(f"{command[0]}: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def _wait_for(child: int) -> int:
    """The exit status of ``child`` when it has ended, or what a shell would say when this program was told to end."""
    while signal.sigwait(SIGNALS) != signal.SIGTERM:
        while (reaped := _reap_one())[0]:
            if reaped[0] == child:
                return abs(os.waitstatus_to_exitcode(reaped[1]))
    return 128 + signal.SIGTERM


def _reap_one() -> tuple[int, int]:
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0, 0


def _end_all() -> None:
    """Kill, and wait, until nothing is left: what a killed process leaves behind becomes ours."""
    while True:
        for pid in below(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
