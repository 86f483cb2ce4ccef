"""Base64 for bodies (RFC 4648): the standard library's, and for large ones pybase64's where the layer has it.

``./build-layer.sh --with pybase64`` puts it there. It uses the processor's vector instructions: 1 MB takes 0.05 ms and
not 1.3 (docs/decisions/0013). Where it is not, it is looked for once, with the first large body.
"""

from __future__ import annotations

import binascii

from ..standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LARGE = 64 * 1024  # below it, the way to the other module costs more than it saves

_fast: tuple[Callable[..., Any], Callable[..., Any]] | None = None
_is_known = False


def encode(octets: bytes) -> bytes:
    """The octets in base64, without line ends."""
    if len(octets) >= LARGE and (fast := _fast_pair()):
        encoded: bytes = fast[0](octets)
        return encoded
    return binascii.b2a_base64(octets, newline=False)


class LargeBody:
    """The body of an event that was read for its octets (large_body.py): neither text nor bytes by itself."""

    __slots__ = ("octets", "text")

    def __init__(self, octets: bytes, text: bytes | memoryview) -> None:
        self.octets = octets  # decoded, where the event says that it is base64
        self.text = text  # as the event spells it, in UTF-8


def decode(text: str) -> bytes:
    """Decodes ``text``, strictly: ``ValueError`` for any character too many. Padding may be missing."""
    return decode_padded(text + "=" * (-len(text) % 4))


def decode_padded(padded: str | memoryview) -> bytes:
    """Decodes text, or its bytes, in which padding may not be missing."""
    if len(padded) >= LARGE and (fast := _fast_pair()):
        decoded: bytes = fast[1](padded, None, True)
        return decoded
    return binascii.a2b_base64(padded, strict_mode=True)


def _fast_pair() -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    global _fast, _is_known
    if not _is_known:
        _is_known = True
        try:
            # Not the package around it, which brings version comparison and more.
            with standard_library:
                from pybase64._pybase64 import b64decode, b64encode  # type: ignore[import-not-found,unused-ignore]

            _fast = b64encode, b64decode
        except ImportError:
            pass
    return _fast
