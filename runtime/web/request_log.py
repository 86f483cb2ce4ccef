"""The request log: one JSON object per request, on stdout (``FAIRLEAD_REQUEST_LOG``).

No header values, no query and no body: each of them may carry a secret.
"""

from __future__ import annotations

import time

from ..json_codec import dumps
from ..logs import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .observation import Record

STDOUT = 1
_ALWAYS = ("requestBytes", "responseBytes", "overheadMs", "coldStart")


def line(record: Record) -> bytes:
    """The record as a line of JSON. What does not apply is left out."""
    fields = {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.began))
        + f".{int(record.began * 1000) % 1000:03d}Z",
        "type": "request",
        "requestId": record.invocation.request_id,
        "tenantId": record.invocation.tenant_id,
        "method": record.method,
        "path": record.path,
        "status": record.status,
        "requestBytes": record.request_bytes,
        "responseBytes": record.response_bytes,
        "appMs": round(record.app_ms, 3),
        "overheadMs": round(record.overhead_ms, 3),
        "errorType": record.error_type,
        "coldStart": record.start is not None,
    }
    kept = {name: value for name, value in fields.items() if value or name in _ALWAYS}
    return dumps(kept) + b"\n"


def write(record: Record) -> None:
    """Write the record's line."""
    write_all(STDOUT, line(record))
