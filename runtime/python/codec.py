"""JSON as a Python handler knows it from the managed runtime: ``{"a": 1}`` with its blank, Decimal, named tuples.

Two ways lead to the same text. What consists of exactly the built-in types is left to the standard library's C encoder;
anything else is spelled here, value by value. docs/handlers.md has the table of what becomes what.

``json_codec`` is for web mode and for Fairlead's own documents: compact, and of JSON's types only.
"""

from __future__ import annotations

import marshal
import sys

from ..json_codec import quote_large
from ..standard import standard_library
from ..values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    _json: Any
    Encoder = Callable[[object], str]
else:
    try:
        import _json
    except ImportError:  # another Python than CPython
        _json = None

_WHITE_SPACE = " \t\n\r"  # RFC 8259 section 2
# Below this the ordinary way is as fast.
LARGE = 64 * 1024
_ITEMS, _KEYS = ", ", ": "
# The serialisation that compares types exactly and remembers nothing: marshal's newer versions look each object up.
_PLAIN_VERSION = 2


class Codec(NamedTuple):
    """How events are read and results are written. Both raise whatever went wrong."""

    decode: Callable[[bytes], object]
    encode: Callable[[object], bytes]


def decode(payload: bytes) -> object:
    """The value that ``payload`` (UTF-8) spells, else ``ValueError``. NaN and Infinity are not JSON."""
    return decode_text(payload.decode())


def decode_text(text: str) -> object:
    """``decode`` for what is text already."""
    text = text.removeprefix("\ufeff")
    try:
        value, end = _scan(text, len(text) - len(text.lstrip(_WHITE_SPACE)))
        if end == len(text) or not text[end:].strip(_WHITE_SPACE):
            return value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (StopIteration, ValueError, SystemError):
        pass  # whatever it is, it is said better below; SystemError is CPython 3.11's until json.decoder was imported
    with standard_library:
        import json  # 6 ms, only for what is no JSON: its errors name line and column

    return json.loads(text, parse_constant=_constant)


def encode(value: Any) -> bytes:
    """``value`` as JSON in UTF-8, a lone surrogate as its escape. NaN and infinities become ``null``.

    ``TypeError`` and ``ValueError`` for what cannot be spelled, and whatever the value's own methods raise.
    """
    if type(value) is dict and any(type(member) is str and len(member) >= LARGE for member in value.values()):
        return _encode_members(value)
    try:
        # The C encoder would spell a named tuple as an array, without a word. marshal knows the exact built-in types
        # only, and finds out three times faster than a walk through the value in Python.
        marshal.dumps(value, _PLAIN_VERSION)
        text = _encode_plain(value)
    except (ValueError, TypeError):  # NaN, and keys that are bytes, are found by the encoder
        text = _spelled(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")  # \ud800, which is the escape that JSON has for it


def _encode_members(value: dict[Any, Any]) -> bytes:
    """Encodes a dict member by member: a large text, as an answer's body is, is quoted in a fifth of the time."""
    pieces = []
    for key, member in value.items():
        name = _quote(_key(key)).encode("utf-8", "backslashreplace")
        is_large = type(member) is str and len(member) >= LARGE
        pieces.append(b"%b: %b" % (name, _quote_large(member) if is_large else encode(member)))
    return b"{%b}" % b", ".join(pieces)


def _quote_large(text: str) -> bytes:
    try:
        return quote_large(text.encode())
    except UnicodeEncodeError:
        quoted: str = _quote(text)
        return quoted.encode("utf-8", "backslashreplace")


def orjson_codec() -> Codec:
    """orjson, as far as it goes: what it refuses takes the ordinary way. Raises ``ImportError``."""
    with standard_library:
        import orjson  # the user's choice: 14 ms

    def default(value: Any) -> object:
        if isinstance(value, bytes):
            return value.decode()
        if _is_named_tuple(value):
            return value._asdict()
        if _is_decimal(value):
            return orjson.Fragment(_number(value))
        raise TypeError

    def decode_fast(payload: bytes) -> object:
        try:
            return orjson.loads(payload)
        except ValueError:  # halves of surrogate pairs, for one
            return decode(payload)

    def encode_fast(value: object) -> bytes:
        try:
            octets: bytes = orjson.dumps(value, default, orjson.OPT_NON_STR_KEYS)
            return octets
        except TypeError:
            return encode(value)

    return Codec(decode_fast, encode_fast)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _spelled(value: object) -> str:
    pieces: list[str] = []
    try:
        _spell(value, pieces.append, [])
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return "".join(pieces)


def _spell(value: Any, write: Callable[[str], None], around: list[int]) -> None:
    """Write the pieces of ``value``'s JSON text. ``around`` are the containers that it is in."""
    if isinstance(value, str):
        write(_quote(value))
    elif value is None or value is True or value is False:
        write(_CONSTANTS[value])
    elif isinstance(value, int):
        write(int.__repr__(value))
    elif isinstance(value, float):
        write(_float(value))
    elif isinstance(value, bytes):
        write(_quote(value.decode()))
    elif _is_decimal(value):
        write(_number(value))
    elif id(value) in around:
        raise ValueError("Circular reference detected")
    else:
        around.append(id(value))
        _spell_container(value, write, around)
        around.pop()


def _spell_container(value: Any, write: Callable[[str], None], around: list[int]) -> None:
    if _is_named_tuple(value):
        value = value._asdict()
    if isinstance(value, dict):
        before = "{"
        for key, member in value.items():
            write(f"{before}{_quote(_key(key))}{_KEYS}")
            _spell(member, write, around)
            before = _ITEMS
        write("}" if before == _ITEMS else "{}")
    elif isinstance(value, list | tuple):
        before = "["
        for member in value:
            write(before)
            _spell(member, write, around)
            before = _ITEMS
        write("]" if before == _ITEMS else "[]")
    else:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _key(key: Any) -> str:
    """A key as text. As in the standard library's json, and bytes as in the managed runtime."""
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode()
    if key is None or key is True or key is False:
        return _CONSTANTS[key]
    if isinstance(key, int):
        return int.__repr__(key)
    if isinstance(key, float):
        return _float(key)
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")


_CONSTANTS = {None: "null", True: "true", False: "false"}


def _float(value: float) -> str:
    # As JavaScript and orjson have it. The managed runtime writes NaN, which is no JSON: most readers refuse all of it.
    return float.__repr__(value) if value - value == 0 else "null"


def _number(value: Any) -> str:
    """A finite Decimal as it is: 1.10 keeps its zero."""
    return str(value) if value.is_finite() else "null"


def _is_decimal(value: object) -> bool:
    decimal = sys.modules.get("decimal")  # where nobody has imported it there are none
    return decimal is not None and isinstance(value, decimal.Decimal)


def _is_named_tuple(value: object) -> bool:
    return callable(getattr(type(value), "_asdict", None))


class _ScannerSettings:
    """The settings that ``make_scanner`` reads from the ``JSONDecoder`` that it is normally given."""

    strict = True  # no control characters inside strings
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_constant)


def _refused(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError


def _make_encoder() -> Encoder:
    if _json:
        # markers, default, encoder, indent, key_separator, item_separator, sort_keys, skipkeys, allow_nan
        spell = _json.make_encoder(None, _refused, _quote, None, _KEYS, _ITEMS, False, False, False)
        return lambda value: "".join(spell(value, 0))
    with standard_library:
        import json  # only where there is no _json

    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_refused).encode


if _json:
    _quote = _json.encode_basestring
    _scan = _json.make_scanner(_ScannerSettings())
else:
    from json.decoder import JSONDecoder
    from json.encoder import encode_basestring as _quote

    _decoder: Any = JSONDecoder(parse_constant=_constant)
    _scan = _decoder.scan_once

_encode_plain = _make_encoder()
