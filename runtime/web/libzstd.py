"""zstd (RFC 8878) by the C library ``libzstd``, which the layer has anyway, for its libcrypto (docs/decisions/0009).

What ``ctypes`` wraps is used without the wrapper, which costs 3.5 ms at start instead of 0.5. Importing this module
loads the library, and raises ``ImportError`` or ``OSError`` where that cannot be done. The numbers are those of zstd.h.
"""

from __future__ import annotations

import _ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Found beside the layer's other libraries: its loader looks nowhere else.
_LIBRARY = _ctypes.dlopen("libzstd.so.1", 0)
_COMPRESSION_LEVEL = 100  # ZSTD_cParameter
_FLUSH, _END = 1, 2  # ZSTD_EndDirective
_PIECE = 128 * 1024  # the size of a block: what ZSTD_CStreamOutSize gives, less its few octets of framing
_NO_MEMORY = "libzstd has no memory for an encoder"


class _Char(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Size(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "L"


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Bytes(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Piece(_ctypes.Array):  # type: ignore[type-arg]
    _type_ = _Char
    _length_ = _PIECE


class _Input(_ctypes.Structure):
    """``ZSTD_inBuffer``. The field keeps the bytes object alive that it points into."""

    _fields_ = (("src", _Bytes), ("size", _Size), ("pos", _Size))


class _Output(_ctypes.Structure):
    """``ZSTD_outBuffer``."""

    _fields_ = (("dst", _Pointer), ("size", _Size), ("pos", _Size))


def _function(name: str, result: type[Any], *arguments: type[Any]) -> Callable[..., Any]:
    class Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL
        _restype_ = result

    function = Function(_ctypes.dlsym(_LIBRARY, name))
    function.argtypes = arguments
    return function


_create = _function("ZSTD_createCCtx", _Pointer)
_free = _function("ZSTD_freeCCtx", _Size, _Pointer)
_set_parameter = _function("ZSTD_CCtx_setParameter", _Size, _Pointer, _Int, _Int)
_compress_stream = _function("ZSTD_compressStream2", _Size, _Pointer, _Pointer, _Pointer, _Int)
_is_error = _function("ZSTD_isError", _Int, _Size)


class Encoder:
    """One zstd frame, encoded as its content comes. ``MemoryError`` where the library has none."""

    _context: int | None = None

    def __init__(self, level: int) -> None:
        self._context = _create()
        if not self._context:
            raise MemoryError(_NO_MEMORY)
        self._piece = _Piece()
        self._output = _Output(_ctypes.addressof(self._piece), _PIECE, 0)
        self._checked(_set_parameter(self._context, _COMPRESSION_LEVEL, level))

    def __del__(self) -> None:
        _free(self._context)  # of None too, as free does

    def feed(self, data: bytes) -> bytes:
        """Returns octets with which a decoder gives all that was fed so far."""
        return self._run(data, _FLUSH) if data else b""

    def finish(self, data: bytes = b"") -> bytes:
        """The end of the frame, after ``data``; the next call begins another one.

        A frame that is given whole here also says how long its content is.
        """
        return self._run(data, _END)

    def _run(self, data: bytes, directive: int) -> bytes:
        source = _Input(bytes(data), len(data), 0)
        output = self._output
        pieces: list[bytes] = []
        left = 1
        while left:
            output.pos = 0
            left = self._checked(
                _compress_stream(self._context, _ctypes.addressof(output), _ctypes.addressof(source), directive)
            )
            pieces.append(bytes(self._piece[: output.pos]))
        return b"".join(pieces)

    def _checked(self, result: int) -> int:
        # With a level that exists and calls in order, only memory can be missing.
        if _is_error(result):
            raise MemoryError(_NO_MEMORY)
        return result
