"""SnapStart for an app that is a process: it is asked at paths of its own."""

from __future__ import annotations

import time

from ..errors import ExchangeError, InvocationFault, SnapshotFault
from ..invocation import Invocation
from ..snapstart import AFTER_STATUS, BEFORE_STATUS
from ..waiting import now
from .internal_requests import internal_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .app_client import AppClient

HOOK_LIMIT_S = 60.0


def app_hooks(
    app: AppClient, host: str, before_path: str, after_path: str
) -> tuple[Callable[[], None], Callable[[], None]]:
    """The two for an app that is asked at its own paths. No connection to it outlives the snapshot."""

    def before() -> None:
        if before_path:
            _ask(app, host, before_path, "Runtime.BeforeSnapshotError", BEFORE_STATUS)
        app.drop()

    def after() -> None:
        if after_path:
            _ask(app, host, after_path, "Runtime.AfterRestoreError", AFTER_STATUS)

    return before, after


def _ask(app: AppClient, host: str, path: str, error_type: str, exit_code: int) -> None:
    limit = int((time.time() + HOOK_LIMIT_S) * 1000)
    try:
        response = now(app.ask(internal_request(path, host), Invocation("", b"", limit)))
    except (InvocationFault, ExchangeError) as fault:
        raise SnapshotFault(error_type, f"the app failed at {path}: {fault}", exit_code) from fault
    if not 200 <= response.status <= 299:
        words = response.body[:1000].decode("utf-8", "replace")
        raise SnapshotFault(error_type, f"the app answered {path} with status {response.status}: {words}", exit_code)
