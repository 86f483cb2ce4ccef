"""SnapStart for Python handlers: the hooks of ``snapshot_restore_py``, as Lambda's managed runtime runs them
(https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html).

Before the snapshot the last one that was registered comes first; after the restore, the first.
"""

from __future__ import annotations

import sys

from ..errors import SnapshotFault
from ..report import text_of, trace_of
from ..snapstart import AFTER_STATUS, BEFORE_STATUS
from ..standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..logs import Log

LIBRARY = "snapshot_restore_py"


def hooks(log: Log) -> tuple[Callable[[], None], Callable[[], None]]:
    """What to run before the snapshot and after the restore. A function without the library has no hooks."""
    library = sys.modules.get(LIBRARY)

    def before() -> None:
        registered: list[Any] = library.get_before_snapshot() if library else []
        _run(registered[::-1], "Runtime.BeforeSnapshotError", BEFORE_STATUS, log)

    def after() -> None:
        _reseed()
        registered: list[Any] = library.get_after_restore() if library else []
        _run(registered, "Runtime.AfterRestoreError", AFTER_STATUS, log)

    return before, after


def _run(registered: list[Any], error_type: str, exit_code: int, log: Log) -> None:
    for function, arguments, keywords in registered:
        try:
            function(*arguments, **keywords)
        except BaseException as error:  # sys.exit included
            log("ERROR", trace_of(error))
            name = getattr(function, "__name__", repr(function))
            message = f"{name} raised {type(error).__name__}: {text_of(error)}"
            raise SnapshotFault(error_type, message, exit_code) from error


def _reseed() -> None:
    """Every copy of the snapshot has the same state of ``random``, and would draw the same numbers."""
    with standard_library:  # and no module of the user's that is called so
        random = sys.modules.get("random")
    if random:
        random.seed()
