"""The event of a large payload: its body as the octets that the app gets, and as nothing else.

To read the base64 of an upload as JSON would be to make text of megabytes, and to copy the body out of that text: a
quarter of the time that an upload takes (docs/decisions/0008). So the one string that makes up nearly all of the
payload is cut out first, and a random word takes its place. Where that word comes back as the event's body, the string
was the body, whatever names a client has made up; and nothing else in the event can differ, since in both texts each
string begins and ends at the same place. Anything else is read as it stands, and its faults are told in those words.
"""

from __future__ import annotations

import posix

from ..json_codec import loads, utf8
from .binary import LARGE, LargeBody, decode_padded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What is around the string is read twice where it was not the body: so it may be at most a fifth of the payload.
_WHOLE, _PART = 5, 4
# Which of the two counts is the format's business. That one of them is there tells that decoding pays.
_FLAGS = ("isBase64Encoded", "is_base64_encoded")


def event_of(payload: bytes) -> object:
    """Returns and raises as ``json_codec.loads``, but a large body is a ``LargeBody``."""
    middle = len(payload) // 2  # a string that is most of the payload is there, and no other has to be looked at
    start, end = payload.rfind(b'"', 0, middle) + 1, payload.find(b'"', middle)
    size = end - start
    if size * _WHOLE >= len(payload) * _PART and size % 4 == 0:  # padding is rarely left out
        event = _event_around(payload, start, end)
        if event is not None:
            return event
    return _with_octets(loads(payload))


def _event_around(payload: bytes, start: int, end: int) -> dict[str, Any] | None:
    """The event, if what is between ``start`` and ``end`` is its body in base64, padding included."""
    word = posix.urandom(16).hex()  # a new one each time: nobody can have written it
    try:
        event = loads(b"%b%b%b" % (payload[:start], word.encode(), payload[end:]))
        if not isinstance(event, dict) or event.get("body") != word or not _is_in_base64(event):
            return None
        base64 = memoryview(payload)[start:end]
        # Neither a backslash nor a control character nor anything beyond ASCII is base64.
        event["body"] = LargeBody(decode_padded(base64), base64)
    except ValueError:
        return None
    return event


def _is_in_base64(event: dict[str, Any]) -> bool:
    return any(event.get(flag) in (True, "true") for flag in _FLAGS)


def _with_octets(event: object) -> object:
    """The event without its large text, which would be held beside the octets for as long as the app answers."""
    if not isinstance(event, dict) or _is_in_base64(event):
        return event
    body = event.get("body")
    if isinstance(body, str) and len(body) >= LARGE:
        octets = utf8(body)
        event["body"] = LargeBody(octets, octets)
    return event
