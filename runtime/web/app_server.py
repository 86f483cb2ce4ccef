"""The one app of this process: started, and started again when it was lost.

A lost app is killed with everything it forked; the invocation is answered; then the app is started again without
waiting (``settle``), and the next invocation waits for it. Three starts in a row that fail, and the environment is
given up: the platform then provides a fresh one.
"""

from __future__ import annotations

from ..errors import AppNotReady, EnvironmentLost, InitFault
from ..standard import standard_library
from ..waiting import NEVER
from .app_client import AppClient
from .readiness import Readiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config import Config
    from ..logs import Log
    from .app_process import AppProcess
    from .readiness import Unready

START_LIMIT = 3


class AppServer(AppClient):
    """The app and its process."""

    def __init__(self, config: Config, process: AppProcess, log: Log) -> None:
        super().__init__(config, process, log)
        self._owned = process
        self._readiness = Readiness(config, self._connection, log)
        self._failed_starts = 0

    def _failed_start(self, unready: Unready) -> InitFault:
        words = self._owned.last_words()
        if self._config.javascript and unready.app_ended:
            with standard_library:
                from ..javascript.init_error import init_fault_of  # only when a start has failed

            fault = init_fault_of(words)
            if fault:
                return fault
        detail = f"Its stderr:\n{words}" if words else "It wrote nothing to stderr."
        if unready.app_ended:
            return InitFault("Runtime.AppExited", unready.reason + self._owned.what_is_run(), detail)
        limit_s = self._config.readiness_timeout_s
        return InitFault("Runtime.AppNotReady", f"the app was not ready within {limit_s} s: {unready.reason}", detail)

    @property
    def is_ready(self) -> bool:
        """Whether it was found ready, and has not been lost since."""
        return self._ready

    def start(self) -> None:
        """Start the app for the first time. Raises ``InitFault``."""
        self._owned.clean_leftover()
        self._start()

    def await_init(self, until: float = NEVER) -> None:
        """Wait until the app is ready, or until ``until`` (epoch seconds). Raises ``InitFault`` when it failed."""
        unready = self._readiness.wait(self._owned, until)
        if unready is None:
            self._ready = True
        elif unready.is_final:
            raise self._failed_start(unready)

    async def settle(self) -> None:
        """Start the app again if it was lost; do not wait for it. Raises ``EnvironmentLost`` when it cannot be."""
        if not self._is_lost:
            return
        self._is_lost = False
        try:
            self.restart()
        except InitFault as fault:
            raise EnvironmentLost(fault.error_type, fault.message) from fault

    def restart(self) -> None:
        """End what is left of the app and start it again. Raises ``InitFault`` when that cannot be done."""
        self._owned.kill()
        self._start()

    def _start(self) -> None:
        self._readiness.clear_address()
        self._readiness.begin()
        self._owned.start()

    async def _become_ready(self, deadline: float | None) -> None:
        unready = self._readiness.wait(self._owned, NEVER if deadline is None else deadline)
        if unready is None:
            self._ready = True
            self._failed_starts = 0
            return
        if not unready.is_final:
            raise AppNotReady(f"the app is still starting: {unready.reason}")
        self._failed_starts += 1
        fault = self._failed_start(unready)
        if self._failed_starts >= START_LIMIT:
            raise EnvironmentLost(fault.error_type, f"{fault.message}; {START_LIMIT} starts in a row have failed")
        raise self._lost(fault.error_type, fault.message)

    @property
    def _start_s(self) -> float:
        return self._readiness.waited_s
