"""SnapStart: Lambda takes a snapshot of the function after its init, and starts environments from that
(https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html).

``GET .../restore/next`` says that the snapshot may be taken; it answers when an environment was restored from it, hours
later and on another machine. Before and after it the function may have something to do: close a database, open it
again, fetch what is not to be shared by all copies.
"""

from __future__ import annotations

from .errors import SnapshotFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .runtime_api import RuntimeApi

# Lambda's managed runtimes end with these.
BEFORE_STATUS = 64
AFTER_STATUS = 65


def pass_snapshot(api: RuntimeApi, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Have the snapshot taken, and come back in the restored environment.

    What the two raise as ``SnapshotFault`` is posted, to where the platform expects it, and raised again.
    """
    try:
        before()
    except SnapshotFault as fault:
        api.fail_init(fault)
        raise
    api.await_restore()
    try:
        after()
    except SnapshotFault as fault:
        api.fail_restore(fault)
        raise
