"""SnapStart: Lambda takes a snapshot of the function after its init, and starts environments from that
(https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html).

``GET .../restore/next`` says that the snapshot may be taken; it answers when an environment was restored from it, hours
later and on another machine. Before and after it the function may have something to do: close a database, open it
again, fetch what is not to be shared by all copies. An app that is a process is asked at paths of its own. A Python
handler has the hooks of ``snapshot_restore_py``, as Lambda's managed runtime runs them
(https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html): before the snapshot the last one
that was registered comes first; after the restore, the first.
"""

from __future__ import annotations

import sys
import time

from .errors import ExchangeError, InvocationFault, SnapshotFault
from .invocation import Invocation
from .report import text_of, trace_of
from .standard import standard_library
from .waiting import run_blocking
from .web.reserved import internal_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .logs import Log
    from .runtime_api import RuntimeApi
    from .web.app_client import AppClient

# Which hooks have failed, as ``SnapshotFault`` is told.
BEFORE, AFTER = False, True
HOOK_LIMIT_S = 60.0
LIBRARY = "snapshot_restore_py"


def pass_snapshot(api: RuntimeApi, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Have the snapshot taken, and come back in the restored environment. Raises ``SnapshotFault`` as the two do."""
    before()
    api.await_restore()
    after()


# ---- an app that is a process ---------------------------------------------------------------------------------------


def app_hooks(
    app: AppClient, host: str, before_path: str, after_path: str
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Returns what to do before the snapshot and after the restore. No connection to the app outlives the snapshot."""

    def before() -> None:
        if before_path:
            _ask(app, host, before_path, "Runtime.BeforeSnapshotError", BEFORE)
        app.drop()

    def after() -> None:
        if after_path:
            _ask(app, host, after_path, "Runtime.AfterRestoreError", AFTER)

    return before, after


def _ask(app: AppClient, host: str, path: str, error_type: str, was_restored: bool) -> None:
    limit = int((time.time() + HOOK_LIMIT_S) * 1000)
    try:
        response = run_blocking(app.ask(internal_request(path, host), Invocation("", b"", limit)))
    except (InvocationFault, ExchangeError) as fault:
        raise SnapshotFault(error_type, f"the app failed at {path}: {fault}", was_restored) from fault
    if not 200 <= response.status <= 299:
        words = response.body[:1000].decode("utf-8", "replace")
        raise SnapshotFault(error_type, f"the app answered {path} with status {response.status}: {words}", was_restored)


# ---- a Python handler -----------------------------------------------------------------------------------------------


def handler_hooks(log: Log) -> tuple[Callable[[], None], Callable[[], None]]:
    """Returns what to do before the snapshot and after the restore. A function without the library has no hooks."""
    library = sys.modules.get(LIBRARY)

    def before() -> None:
        registered: list[Any] = library.get_before_snapshot() if library else []
        _run(registered[::-1], "Runtime.BeforeSnapshotError", BEFORE, log)

    def after() -> None:
        _reseed()
        registered: list[Any] = library.get_after_restore() if library else []
        _run(registered, "Runtime.AfterRestoreError", AFTER, log)

    return before, after


def _run(registered: list[Any], error_type: str, was_restored: bool, log: Log) -> None:
    for function, arguments, keywords in registered:
        try:
            function(*arguments, **keywords)
        except BaseException as error:  # sys.exit included
            log("ERROR", trace_of(error))
            name = getattr(function, "__name__", repr(function))
            message = f"{name} raised {type(error).__name__}: {text_of(error)}"
            raise SnapshotFault(error_type, message, was_restored) from error


def _reseed() -> None:
    """Every copy of the snapshot has the same state of ``random``, and would draw the same numbers."""
    with standard_library:  # and no module of the user's that is called so
        random = sys.modules.get("random")
    if random:
        random.seed()
