"""What a host of ours says when it cannot serve: the last line of stderr of the form that host.mjs gives it."""

from __future__ import annotations

from ..errors import InitFault
from ..json_codec import loads
from ..report import error_type_of

_MARK = "Init Error\t{"


def init_fault_of(words: str) -> InitFault | None:
    """The fault that the last words of a host tell of, if they do: the error has its own name."""
    line = words.rpartition(_MARK)[2].partition("\n")[0]
    if _MARK not in words:
        return None
    try:
        document = loads(("{" + line).encode())
    except ValueError:  # cut short
        return None
    if not isinstance(document, dict):
        return None
    name, message, trace = (document.get(key) for key in ("errorType", "errorMessage", "trace"))
    if not (isinstance(name, str) and isinstance(message, str) and isinstance(trace, list)):
        return None
    fault = InitFault(error_type_of(name), message)
    fault.name = name
    fault.document = ("{" + line).encode()
    return fault
