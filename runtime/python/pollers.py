"""Several pollers for one Python handler, for Lambda Managed Instances: each imports it after it was forked.

What a module opens when it is imported (a connection to a database, a client) is then a poller's own. Two processes
that share one socket would mix up its answers.
"""

from __future__ import annotations

import _thread
import posix

from ..c_modules import signal
from ..errors import EnvironmentLost, RuntimeApiFault
from ..pollers import Pollers, PollingApi, poller_count, shares

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import Config
    from ..logs import Log
    from ..runtime_api import RuntimeApi

ENDING = (signal.SIGTERM, signal.SIGINT)


def serve_together(
    config: Config, environ: Mapping[str, str], serve_with: Callable[[RuntimeApi], None], log: Log
) -> None:
    """Serve with several pollers. Returns when this environment has to end, with none of them left."""
    address = config.runtime_api_proxy or environ["AWS_LAMBDA_RUNTIME_API"]

    def poll(_count: int) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        try:
            serve_with(PollingApi(address, log))
        except (RuntimeApiFault, EnvironmentLost) as fault:
            log("ERROR", f"a poller ends: {fault}")

    count = poller_count(environ)
    pollers = Pollers(shares(count, count), poll, log)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # they are for the thread that waits for them
    pollers.start()

    def wait() -> None:
        signal.sigwait(ENDING)
        pollers.terminate(config.shutdown_grace_ms / 1000)
        posix._exit(0)

    _thread.start_new_thread(wait, ())
    pollers.supervise(_pass_over)
    if pollers.was_terminated:
        posix._exit(0)


def _pass_over(pid: int) -> bool:
    """A child that the wrapper around this process has left behind, perhaps: nobody's business here."""
    posix.waitpid(pid, 0)
    return True
