"""``socket`` and ``signal`` without their Python halves: what those wrap, which is all that is used here.

The wrappers bring enums and selectors, 6 and 4 ms of a start that takes 7 ms in all (docs/decisions/0003). The names
have not changed in twenty years of CPython; if one ever does, the wrapper is loaded instead, and only time is lost.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signal
    import socket as socket
else:
    try:
        import _signal as signal  # noqa: F401 (for others to import)
        import _socket as socket  # noqa: F401
    except ImportError:
        pass
