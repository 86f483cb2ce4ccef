"""The variable in which AWS's SDKs look for the trace that an invocation belongs to."""

from __future__ import annotations

import posix

from ..standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = b"_X_AMZN_TRACE_ID"
# glibc keeps each value that setenv was ever given, because somebody may still hold a pointer to it: 140 bytes for each
# invocation, 140 MB for a million (measured with 2.36 and 2.41). An environment that lives so long gets a place of our
# own for the value, which is written over; that takes ctypes, hence 3 ms once.
CHANGES_BEFORE_PLACE = 1000
PLACE_SIZE = 4096


class TraceVariable:
    """Sets and removes it: in ``os.environ``, and for child processes and libraries that are not Python."""

    def __init__(self) -> None:
        self._value: str | None = None  # what it is at the start is not known
        self._changes = 0
        self._place: Any = None
        self._putenv: Any = None

    def set(self, value: str) -> None:
        """The variable has this value from now on; it is removed when that is empty."""
        if value == self._value:
            return
        self._value = value
        if not value:
            posix.environ.pop(NAME, None)
            posix.unsetenv(NAME)
            return
        octets = value.encode("utf-8", "surrogateescape")
        posix.environ[NAME] = octets  # the dictionary behind os.environ
        self._changes += 1
        if self._changes <= CHANGES_BEFORE_PLACE or not self._put(b"%b=%b" % (NAME, octets)):
            posix.putenv(NAME, octets)

    def _put(self, assignment: bytes) -> bool:
        """Write over the last value in place. False: it does not fit, or this Python has no ctypes."""
        if not self._place:
            try:
                with standard_library:
                    import ctypes  # 3 ms, long after the start

                self._putenv = ctypes.CDLL(None).putenv
                self._place = ctypes.create_string_buffer(PLACE_SIZE)
            except (ImportError, OSError, AttributeError):
                self._changes = 0
                return False
        if len(assignment) >= PLACE_SIZE:
            return False
        self._place.value = assignment
        self._putenv(self._place)  # again each time: the user's code may have set the variable too
        return True
