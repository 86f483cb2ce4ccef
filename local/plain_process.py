"""``python -m local.plain_process --info-fd N PLAN COMMAND...``: no sandbox, but everything ends all the same.

Without namespaces the emulator and the function are ordinary processes of this machine, and the function is the
checkout's ``bootstrap`` with this machine's Python: the layer is not part of it. This program stays their parent, the
one of those that leave their group or session included, and ends them all when it is told to or its own parent ends.
Against SIGKILL of this very program nothing helps here; a process namespace would.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import linux
from .cache import CHECKOUT
from .namespaces import become, info_fd, tell
from .processes import below

BOOTSTRAP = CHECKOUT / "bootstrap"
NOTICE = (
    "the layer is NOT being tested: without a sandbox the app runs as an ordinary process, with the checkout's "
    "bootstrap and this machine's Python, files and user"
)


def command() -> list[str]:
    """The start of a command line that takes ``arguments``."""
    return [sys.executable, "-m", "local.plain_process"]


def arguments(task: Path, environment: Mapping[str, str]) -> list[str]:
    """What is told to this program; the command to run comes after it.

    Of Lambda's environment, what names directories names those of this machine.
    """
    # The Python that runs this is new enough for the runtime; the first on the developer's PATH need not be.
    path = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), environment.get("PATH", ""))
    variables = {name: value for name, value in environment.items() if name != "LD_LIBRARY_PATH"}
    variables |= {"LAMBDA_TASK_ROOT": str(task), "PATH": os.pathsep.join(filter(None, path))}
    return [json.dumps({"parent": os.getpid(), "environment": variables, "directory": str(task)})]


# Waited for instead of handled: nothing then happens between two lines of this program.
SIGNALS = (signal.SIGTERM, signal.SIGCHLD)


def main(arguments: Sequence[str]) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    info, (text, *command) = info_fd(arguments)
    plan = json.loads(text)
    linux.signal_at_death_of(plan["parent"], signal.SIGTERM)
    linux.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="fairlead-") as temporary:
        plan["environment"]["TMPDIR"] = temporary
        child = os.fork()
        if child == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            become(command, plan)
        tell(info, os.getpid())
        status = _ended(child)
        _end_all()
    return status


def _ended(child: int) -> int:
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
