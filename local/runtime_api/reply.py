"""The end of an invocation."""

from __future__ import annotations

import json
from typing import NamedTuple

from .streamed_answer import StreamedAnswer

TIMED_OUT = b"Task timed out after "


class Reply(NamedTuple):
    """The emulator's answer. Status 200 says little: a function's errors and timeouts come with it too."""

    status: int
    body: bytes
    is_cold: bool = False  # the init phase was part of this invocation
    notice: str = ""  # what this machine saw and the emulator does not say: out of memory
    stream: StreamedAnswer | None = None  # to be read instead of ``body``, before the invocation is over


def init_error(reply: Reply) -> tuple[str, str]:
    """Type and message of the error with which the function's start failed; both empty when it did not."""
    if reply.status != 502 or reply.stream:
        return "", ""
    try:
        document = json.loads(reply.body)
        return str(document["errorType"]), str(document["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return "", ""
