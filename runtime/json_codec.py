"""JSON for the hot path: the standard library's C scanner and encoder, without the ``json`` package around them.

``json`` costs 8 ms at start (it compiles regular expressions), ``_json`` 0.1 ms, and the private functions are what the
public ones call. Where ``_json`` is missing (another Python than CPython) the public package does the work.
"""

from __future__ import annotations

import posix

from .standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    _json: Any
    Scanner = Callable[[str, int], tuple[object, int]]
    Encoder = Callable[[object, int], Iterable[str]]
else:
    try:
        import _json
    except ImportError:  # another Python than CPython
        _json = None

_WORD = posix.urandom(16).hex()  # nobody can have written it
_TOO_DEEP = "it is nested too deeply for JSON"
_WHITE_SPACE = " \t\n\r"  # RFC 8259 section 2
# CPython refuses longer decimal integers, because reading them takes quadratic time.
_LONGEST_INTEGER = 4300

# For quote_large. The backslash comes first: the other escapes bring new ones.
_COMMON_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))
_UNESCAPED = bytes(octet for octet in range(0x20, 0x100) if octet not in b'"\\')
_NOT_RARE = bytes(octet for octet in range(0x100) if octet >= 0x20 or octet in b"\n\r\t")
_SAMPLE_SIZE = 64 * 1024
# Each escape costs a search: with more than one in ten the encoder is faster, which looks at every character once.
_DENSITY_LIMIT = 10


def loads(payload: bytes) -> object:
    """The value that ``payload`` spells (one JSON text in UTF-8, RFC 8259), else ``ValueError`` with a short reason.

    A number that neither int nor float can hold comes back as its text; no float that comes back is infinite.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    try:
        try:
            value, end = _scanner(text, 0)
        except (ValueError, SystemError, StopIteration):
            value, end = _scan_again(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if end != len(text) and text[end:].strip(_WHITE_SPACE):
        raise ValueError(f"there is more after the JSON value, at character {end}")
    return value


def loads_with_source(payload: bytes, key: str) -> tuple[object, str]:
    """Returns and raises as ``loads``; with it the text that spells ``key``, an object in the outermost one.

    The text is ``""`` where it is not that object alone in printable ASCII without white space, as Lambda writes it.

    The object is scanned first, which tells where it ends. Then all the rest is, with a random word in its place: where
    the word comes back as the member, the text was that member's, whatever else in the payload looks like it.
    """
    try:
        text = payload.decode()
        start = text.find(f'"{key}":{{') + len(key) + 3
        if start > len(key) + 2:
            member, end = _scanner(text, start)
            event, last = _scanner(f'{text[:start]}"{_WORD}"{text[end:]}', 0)
            source = text[start:end]
            is_whole = last == len(text) - len(source) + len(_WORD) + 2
            if is_whole and isinstance(event, dict) and event.get(key) == _WORD:
                event[key] = member
                # White space between tokens, and DEL, the one character of a string that a header cannot have. To ask
                # ``isprintable`` takes ten times as long.
                is_plain = source.isascii() and not ("\n" in source or "\r" in source or "\t" in source)
                is_plain = is_plain and not ("\x7f" in source or '": ' in source or ', "' in source)
                return event, source if is_plain else ""
    except (ValueError, SystemError, StopIteration, RecursionError):
        pass  # ``loads`` says what is wrong
    return loads(payload), ""


def dumps(value: object) -> bytes:
    """``value`` as compact JSON in UTF-8; a lone surrogate becomes U+FFFD.

    ``ValueError`` for what JSON cannot spell: NaN, infinities, other types than JSON's, and nesting without end.
    """
    try:
        text = "".join(_plain(value, 0))
        return text.encode()
    except UnicodeEncodeError:
        return utf8(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def dumps_ascii(value: object) -> str:
    """``value`` as compact JSON in printable ASCII, hence safe in an HTTP field. ``ValueError`` as ``dumps`` has it."""
    try:
        return "".join(_ascii(value, 0))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def quote(text: str) -> bytes:
    """``text`` as a JSON string in UTF-8, with its quotation marks; a lone surrogate becomes U+FFFD."""
    try:
        quoted: str = _quote(text)
        return quoted.encode()
    except UnicodeEncodeError:
        return utf8(quoted)


def quote_large(octets: bytes) -> bytes:
    """Valid UTF-8 as a JSON string, like ``quote`` of its text: faster where few of many characters need an escape.

    Half the time for prose, HTML and code, a quarter for text without any: docs/decisions/0008.
    """
    sample = octets[:_SAMPLE_SIZE]
    is_dense = len(sample.translate(None, _UNESCAPED)) * _DENSITY_LIMIT > len(sample)
    if is_dense or octets.translate(None, _NOT_RARE):
        return quote(octets.decode())
    for character, escape in _COMMON_ESCAPES:
        octets = octets.replace(character, escape)
    return b'"%b"' % octets


def utf8(text: str) -> bytes:
    """``text`` in UTF-8; a lone surrogate, which JSON can spell and UTF-8 cannot, becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        # "replace" would give a question mark; the way through UTF-16 also joins the two halves of a split pair.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _scan_again(text: str) -> tuple[object, int]:
    """Scan a text on which the usual way has failed: it has white space in front, a long number, or is not JSON."""
    start = len(text) - len(text.lstrip(_WHITE_SPACE))
    try:
        try:
            return _scanner(text, start)
        except (ValueError, SystemError):
            # Either it is not JSON, or a number has too many digits: the scanner that bounds them finds out.
            # CPython 3.11 raises SystemError for what is not JSON, until json.decoder has been imported once.
            with standard_library:
                import json.decoder  # noqa: F401

            return _scanner_of_long_numbers(text, start)
    except StopIteration as error:  # how the C scanner says that no value begins here
        raise ValueError(f"there is no JSON value at character {error.value}") from None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if number - number == 0 else digits  # 1e999 is legal JSON, infinity is not


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unknown(value: object) -> NoReturn:
    raise ValueError(f"{type(value).__name__} is no JSON type")


class _ScannerSettings:
    """The settings that ``make_scanner`` reads from the ``JSONDecoder`` that it is normally given."""

    strict = True  # no control characters inside strings
    object_hook = None
    object_pairs_hook = None
    parse_float = staticmethod(_float)
    parse_constant = staticmethod(_constant)

    def __init__(self, parse_int: Callable[[str], Any]) -> None:
        self.parse_int = parse_int


def _make_scanner(parse_int: Callable[[str], Any]) -> Scanner:
    if _json:
        scanner: Scanner = _json.make_scanner(_ScannerSettings(parse_int))
        return scanner
    with standard_library:
        import json  # only where there is no _json

    decoder: Any = json.JSONDecoder(parse_int=parse_int, parse_float=_float, parse_constant=_constant)
    return lambda text, start: decoder.scan_once(text, start)


def _make_encoder(quoting: Callable[[str], str], ensure_ascii: bool) -> Encoder:
    if _json:
        # markers, default, encoder, indent, key_separator, item_separator, sort_keys, skipkeys, allow_nan.
        # The first argument None: no bookkeeping against cycles, which JSON texts cannot have.
        encoder: Encoder = _json.make_encoder(None, _unknown, quoting, None, ":", ",", False, False, False)
        return encoder
    with standard_library:
        import json  # only where there is no _json

    encode = json.JSONEncoder(
        ensure_ascii=ensure_ascii, check_circular=False, allow_nan=False, separators=(",", ":"), default=_unknown
    ).encode
    return lambda value, _level: (encode(value),)


if _json:
    _quote, _quote_ascii = _json.encode_basestring, _json.encode_basestring_ascii
else:
    from json.encoder import encode_basestring as _quote
    from json.encoder import encode_basestring_ascii as _quote_ascii

quote_ascii: Callable[[str], str] = _quote_ascii
"""A text as a JSON string in printable ASCII, with its quotation marks."""
_scanner = _make_scanner(int)
_scanner_of_long_numbers = _make_scanner(_integer)
_plain = _make_encoder(_quote, ensure_ascii=False)
_ascii = _make_encoder(_quote_ascii, ensure_ascii=True)
