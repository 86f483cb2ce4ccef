"""Several invocations at once, for Lambda Managed Instances: N processes that each ask for invocations
(https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html).

Processes and not threads (docs/decisions/0011): each has its own connections, its own environment, so that trace ids
stay apart, and its own interpreter lock; what was loaded before the fork is shared by all. The parent owns what there
is only one of, and never asks for invocations itself.
"""

from __future__ import annotations

import posix
import time

from .c_modules import signal
from .errors import RuntimeApiFault
from .runtime_api import RuntimeApi
from .web.app_process import POLL_S, describe_status, is_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .invocation import Invocation
    from .logs import Log
    from .messages import HttpResponse

MOST_POLLERS = 1600
BACK_OFF_S = (0.1, 0.2, 0.4, 0.8)
# A poller that is killed (out of memory, mostly) is replaced; more than so many in a minute are a fault of the whole.
DEATH_LIMIT = 8
DEATH_WINDOW_S = 60.0


def poller_count(environ: Mapping[str, str]) -> int:
    """How many invocations the platform sends at once."""
    text = environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "")
    return int(text) if text.isascii() and text.isdigit() and 1 < int(text) <= MOST_POLLERS else 1


class PollingApi(RuntimeApi):
    """The Runtime API as one poller of several sees it: what fails for one is not the end of the others."""

    def next(self) -> Invocation:
        """Wait for the next invocation, trying again for a while. Raises ``RuntimeApiFault``."""
        for pause in BACK_OFF_S:
            try:
                return super().next()
            except RuntimeApiFault as fault:
                self._log("WARN", f"{fault}; trying again in {pause} s")
                time.sleep(pause)
        return super().next()

    def _is_fatal(self, _refusal: HttpResponse) -> bool:
        return False


class Pollers:
    """``count`` child processes that run ``poll`` until they end, and are replaced when they are killed."""

    def __init__(self, count: int, poll: Callable[[], None], log: Log) -> None:
        self._count = count
        self._poll = poll
        self._log = log
        self._pids: set[int] = set()
        self._deaths: list[float] = []
        self._is_ending = False
        self.was_terminated = False

    def start(self) -> None:
        """Fork them all."""
        for _ in range(self._count):
            self._fork()

    def supervise(self, on_other: Callable[[int], bool]) -> None:
        """Watch all children until the whole has to end. Returns then, with every poller gone.

        ``on_other`` is called for a child that is no poller and has ended, before its status is taken; it returns
        whether to go on.
        """
        try:
            while True:
                ended = posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOWAIT)
                if ended is None:
                    return
                goes_on = self._ended(ended.si_pid) if ended.si_pid in self._pids else on_other(ended.si_pid)
                if not goes_on:
                    return
        except ChildProcessError:
            if not self._is_ending:
                self._log("ERROR", "every process of this environment has ended")
        finally:
            self.kill()

    def terminate(self, grace_s: float) -> None:
        """Send SIGTERM to all, so that they can finish; end those that are still there after ``grace_s``."""
        self._is_ending = self.was_terminated = True
        for pid in tuple(self._pids):
            _signal(pid, signal.SIGTERM)
        limit = time.monotonic() + grace_s
        while any(map(is_running, tuple(self._pids))) and time.monotonic() < limit:
            time.sleep(POLL_S)
        self.kill()

    def kill(self) -> None:
        """End all pollers at once."""
        self._is_ending = True
        for pid in tuple(self._pids):
            _signal(pid, signal.SIGKILL)

    def _fork(self) -> None:
        pid = posix.fork()
        if pid:
            self._pids.add(pid)
            return
        try:
            self._poll()
        finally:
            posix._exit(1)

    def _ended(self, pid: int) -> bool:
        """A poller is gone: replaced when it was killed, the end of all when it gave up by itself."""
        _, status = posix.waitpid(pid, 0)
        self._pids.discard(pid)
        if self._is_ending:
            return True
        how = describe_status(status)
        if posix.waitstatus_to_exitcode(status) >= 0:
            self._log("ERROR", f"a poller {how}: this environment ends")
            return False
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < DEATH_WINDOW_S] + [now]
        if len(self._deaths) > DEATH_LIMIT:
            self._log("ERROR", f"a poller {how}, one of {len(self._deaths)} within a minute: this environment ends")
            return False
        self._log("ERROR", f"a poller {how}; another takes its place")
        self._fork()
        return True


def _signal(pid: int, number: int) -> None:
    try:
        posix.kill(pid, number)
    except OSError:  # gone
        pass
