"""Several invocations at once, for Lambda Managed Instances: pollers, in processes that were forked
(https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html).

A Python handler has a process for each: its code blocks, and has environment variables of its own, so that trace ids
stay apart. In front of an app a process has several, one process for each core. Threads would share one interpreter
lock (docs/decisions/0011). The parent owns what there is only one of, and never asks for invocations itself.
"""

from __future__ import annotations

import posix
import time

from .errors import EnvironmentLost, RuntimeApiFault
from .loop import ENDING, end_with_signals
from .runtime_api import RuntimeApi
from .standard import signal, standard_library
from .waiting import Blocking
from .web.app_process import POLL_S
from .web.processes import describe_status, is_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .config import Config
    from .invocation import Invocation
    from .logs import Log
    from .messages import HttpResponse
    from .runtime_api import RuntimeApi
    from .waiting import Waiting


BACK_OFF_S = (0.1, 0.2, 0.4, 0.8)
# A poller that is killed (out of memory, mostly) is replaced; more than so many in a minute are a fault of the whole.
DEATH_LIMIT = 8
DEATH_WINDOW_S = 60.0


def shares(count: int, processes: int) -> list[int]:
    """How many of ``count`` pollers each of at most so many processes has."""
    processes = min(count, processes)
    return [(count + number) // processes for number in range(processes)]


class PollingApi(RuntimeApi):
    """The Runtime API as one poller of several sees it: what fails for one is not the end of the others."""

    def __init__(self, address: str, log: Log, waiting: Waiting | None = None) -> None:
        self._waiting = waiting or Blocking()
        super().__init__(address, log, self._waiting)

    async def next(self) -> Invocation:
        """Wait for the next invocation, trying again for a while. Raises ``RuntimeApiFault``."""
        for pause in BACK_OFF_S:
            try:
                return await super().next()
            except RuntimeApiFault as fault:
                self._log("WARN", f"{fault}; trying again in {pause} s")
                await self._waiting.sleep(pause)
        return await super().next()

    def _is_fatal(self, _refusal: HttpResponse) -> bool:
        return False


class Pollers:
    """Child processes that run ``poll`` until they end, and are replaced when they are killed.

    ``shares`` says how many processes there are, and how many pollers each has, which ``poll`` is given. It returns the
    exit status.
    """

    def __init__(self, shares: Sequence[int], poll: Callable[[int], int], log: Log) -> None:
        self._shares = shares
        self._poll = poll
        self._log = log
        self._pids: dict[int, int] = {}  # and what share each process has
        self._deaths: list[float] = []
        self._is_ending = False
        self.was_terminated = False

    def start(self) -> None:
        """Fork them all."""
        for share in self._shares:
            self._fork(share)

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

    def _fork(self, share: int) -> None:
        pid = posix.fork()
        if pid:
            self._pids[pid] = share
            return
        status = 1
        try:
            status = self._poll(share)
        except (RuntimeApiFault, EnvironmentLost) as fault:
            self._log("ERROR", f"a poller ends: {fault}")
        except BaseException as error:
            with standard_library:
                from .report import trace_of  # only when something is broken

            self._log("ERROR", trace_of(error))
        finally:
            posix._exit(status)

    def _ended(self, pid: int) -> bool:
        """A poller is gone: replaced when it was killed, the end of all when it gave up by itself."""
        _, status = posix.waitpid(pid, 0)
        share = self._pids.pop(pid)
        if self._is_ending:
            return True
        who = "a poller" if share == 1 else f"a process of {share} pollers"
        how = f"{who} {describe_status(status)}"
        if posix.waitstatus_to_exitcode(status) >= 0:
            self._log("ERROR", f"{how}: this environment ends")
            return False
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < DEATH_WINDOW_S] + [now]
        if len(self._deaths) > DEATH_LIMIT:
            self._log("ERROR", f"{how}, one of {len(self._deaths)} within a minute: this environment ends")
            return False
        self._log("ERROR", f"{how}; another takes its place")
        self._fork(share)
        return True


def _signal(pid: int, number: int) -> None:
    try:
        posix.kill(pid, number)
    except OSError:  # gone
        pass


# ---- pollers of a Python handler -------------------------------------------------------------------------------------


def serve_handlers_together(
    count: int, config: Config, environ: Mapping[str, str], serve_here: Callable[[RuntimeApi], int], log: Log
) -> int:
    """Serve with ``count`` pollers, each a process. Returns the exit status, with none of them left.

    Each imports the handler after it was forked. What a module opens when it is imported (a connection to a database, a
    client) is then a poller's own; two processes that share one socket would mix up its answers.
    """
    address = config.runtime_api_proxy or environ["AWS_LAMBDA_RUNTIME_API"]

    def poll(_count: int) -> int:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        return serve_here(PollingApi(address, log))

    pollers = Pollers(shares(count, count), poll, log)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # they are for the thread that waits for them
    pollers.start()
    end_with_signals([lambda: pollers.terminate(config.lifecycle.shutdown_grace_ms / 1000)])
    pollers.supervise(_pass_over)
    return 0 if pollers.was_terminated else 1


def _pass_over(pid: int) -> bool:
    """A child that the wrapper around this process has left behind, perhaps: nobody's business here."""
    posix.waitpid(pid, 0)
    return True
