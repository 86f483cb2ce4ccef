"""The one app of this process: started, and started again when it was lost.

A lost app is killed with everything it forked; the invocation is answered; then the app is started again without
waiting (``settle``), and the next invocation waits for it.
"""

from __future__ import annotations

import time

from ..errors import EnvironmentLost, InitFault
from ..waiting import NEVER, now
from .app_client import AppClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config import Config
    from ..logs import Log
    from .app_process import AppProcess


class AppServer(AppClient):
    """The app and its process."""

    def __init__(self, config: Config, process: AppProcess, log: Log) -> None:
        super().__init__(config, process, log)
        self._owned = process

    @property
    def is_ready(self) -> bool:
        """Whether it was found ready, and has not been lost since."""
        return self._ready

    def start(self) -> None:
        """Start the app for the first time. Raises ``InitFault``."""
        self._owned.clean_leftover()
        self._readiness.clear_address()
        self._owned.start()
        self.started(time.time())

    def await_init(self, until: float = NEVER) -> None:
        """Wait until the app is ready, or until ``until`` (epoch seconds). Raises ``InitFault`` when it failed."""
        limit = min(until, self._start_limit)
        unready = now(self._readiness.wait(self._process, limit))
        if unready is None:
            self._ready = True
        elif unready.app_ended or limit == self._start_limit:
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
        self._readiness.clear_address()
        self._owned.start()
        self.started(time.time())
