"""Faults as Lambda's error documents (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html)."""

from __future__ import annotations

from .errors import Fault, InvocationFault
from .json_codec import dumps

# Error documents go through the same 6 MB gate as answers, and a log reader has to find the reason in them.
MESSAGE_LIMIT = 16 * 1024


def error_document(fault: Fault, request_id: str = "") -> bytes:
    """The JSON that is posted for ``fault``: the managed Python runtime's four keys, in its order."""
    message = f"{fault.message}\n{fault.detail}" if fault.detail else fault.message
    return dumps(
        {
            "errorMessage": message[:MESSAGE_LIMIT],
            "errorType": fault.error_type,
            "requestId": request_id,
            "stackTrace": [],
        }
    )


def internal_fault(error: BaseException) -> InvocationFault:
    """What an exception of our own making is reported as."""
    return InvocationFault("Runtime.Internal", f"{type(error).__name__}: {_text_of(error)} (a fault in Fairlead)")


def trace_of(error: BaseException) -> str:
    """The traceback as text."""
    import traceback  # 2-9 ms, needed only when something is broken

    return "".join(traceback.format_exception(error))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"
