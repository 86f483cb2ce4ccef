"""What a field of an event means when its type is not the documented one.

An event that is plainly HTTP is never treated as anything else because some field is odd: hand-written test events,
emulators and authorizer contexts hold nulls, numbers and lists where AWS documents strings.
"""

from __future__ import annotations

from ..json_codec import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def text(value: object) -> str:
    """A string as it is, null as "", anything else as JSON spells it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return dumps(value).decode()
    except ValueError:  # nested deeper than the encoder can go
        return ""


def items(value: object) -> list[object]:
    """A list as it is, anything else as the only item of one."""
    return value if isinstance(value, list) else [value]


def mapping(value: object) -> dict[str, Any]:
    """A JSON object as it is, anything else as an empty one."""
    return value if isinstance(value, dict) else {}
