"""Compression of the app's answers (RFC 9110 section 8.4): whether, by which coding, and what the head says then.

Pure: no sockets, no environment; the levels and the order of preference are measured (docs/decisions/0009).

An answer is compressed when all of this holds:

====================================  ===============================================================================
the client accepts a coding we have   Accept-Encoding, its weights included (RFC 9110 12.5.3)
there is a whole body                 not for HEAD, not 204, 205, 206, 304, nothing with Content-Range
nobody has encoded it                 no Content-Encoding but "identity"
nobody forbids it                     no ``Cache-Control: no-transform`` in request or answer (RFC 9111 5.2)
its type is one that shrinks          an event stream only when it is streamed, gRPC never
it is worth it                        ``SMALLEST`` octets, and the payload gets smaller: buffered it is base64 then.
                                      Not asked where the client refuses a body without a coding ("identity;q=0")
====================================  ===============================================================================

All but the first and the last decide alone whether the answer gets ``Vary: Accept-Encoding``: a cache has to know that
another client would have been answered otherwise.
"""

from __future__ import annotations

from ..messages import TEXT_APPLICATION_TYPES, TEXT_SUFFIXES, HttpResponse, header, header_values, is_token
from ..standard import standard_library
from ..values import Memo, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from ..messages import Headers, HttpRequest
    from .handler import Exchange

    class Encoder(Protocol):
        """One body, encoded as it comes."""

        def feed(self, data: bytes) -> bytes:
            """Returns what to send now: with it the client can decode all that was fed so far. Nothing for nothing."""

        def finish(self) -> bytes:
            """The end of the coded body. Afterwards the encoder is of no more use."""


# With its head, less than this fits the one packet that is sent anyway. CloudFront's limit too, and about Express's.
SMALLEST = 1000
ZSTD_LEVEL = 3
BROTLI_QUALITY = 4
GZIP_LEVEL = 4
_GZIP_WINDOW = 16 + 15  # zlib's way to ask for gzip's framing (16) and the largest window (2 ** 15)

# Of the body with its coding, or of a part of it only (RFC 9110 15.3.7); 205 and those without content have none.
_STATUSES_LEFT_ALONE = frozenset((204, 205, 206, 304))
# True of other octets than those that are sent then (RFC 9110 14.3, RFC 9530, RFC 3230, RFC 1864).
_FIELDS_NO_LONGER_TRUE = frozenset(("accept-ranges", "content-digest", "repr-digest", "digest", "content-md5"))

# ---- what there is --------------------------------------------------------------------------------------------------


class Coding(NamedTuple):
    """A content coding. ``name`` is the token in Accept-Encoding and Content-Encoding."""

    name: str
    encode: Callable[[bytes], bytes]  # a whole body
    encoder: Callable[[], Encoder]


def available() -> tuple[Coding, ...]:
    """The codings that this interpreter can make, the one to prefer first. Loads what they need: call it once."""
    candidates = (_zstd(), _brotli(), _gzip())
    return tuple(coding for coding in candidates if coding)


def _zstd() -> Coding | None:
    try:
        with standard_library:
            from .libzstd import Encoder as ZstdEncoder  # not at start: it loads the library
    except (ImportError, OSError):
        return None

    # Making an encoder takes half of the time that a small body does. Several invocations may be under way at a time.
    idle: list[ZstdEncoder] = []

    def encode(body: bytes) -> bytes:
        try:
            encoder = idle.pop()
        except IndexError:
            encoder = ZstdEncoder(ZSTD_LEVEL)
        coded = encoder.finish(body)
        idle.append(encoder)
        return coded

    return Coding("zstd", encode, lambda: ZstdEncoder(ZSTD_LEVEL))


def _brotli() -> Coding | None:
    try:
        with standard_library:  # in a layer that was built --with brotli
            from brotli import Compressor, compress  # type: ignore[import-untyped]
    except ImportError:  # nor is a module of the user's that is called so the library
        return None

    def encode(body: bytes) -> bytes:
        encoded: bytes = compress(body, quality=BROTLI_QUALITY)
        return encoded

    return Coding("br", encode, lambda: _BrotliEncoder(Compressor(quality=BROTLI_QUALITY)))


def _gzip() -> Coding | None:
    try:
        with standard_library:
            import zlib  # not at start: most functions never compress
    except ImportError:  # an interpreter that was built without it
        return None

    def encode(body: bytes) -> bytes:
        return zlib.compress(body, GZIP_LEVEL, _GZIP_WINDOW)

    def encoder() -> Encoder:
        return _GzipEncoder(zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW), zlib.Z_SYNC_FLUSH)

    return Coding("gzip", encode, encoder)


class _GzipEncoder:
    def __init__(self, stream: Any, flush: int) -> None:
        self._stream = stream
        self._flush = flush

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        coded: bytes = self._stream.compress(data) + self._stream.flush(self._flush)
        return coded

    def finish(self) -> bytes:
        coded: bytes = self._stream.flush()
        return coded


class _BrotliEncoder:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        coded: bytes = self._stream.process(data) + self._stream.flush()
        return coded

    def finish(self) -> bytes:
        coded: bytes = self._stream.finish()
        return coded


# ---- what the client accepts ----------------------------------------------------------------------------------------


class Choice(NamedTuple):
    """A client's choice: the coding, or None for none of ours; and whether it takes a body without any."""

    coding: Coding | None
    takes_identity: bool


def choose(accept_encoding: str, codings: Sequence[Coding]) -> Choice:
    """The coding to which ``accept_encoding`` gives the most weight, the first of ``codings`` among equals.

    Without the field any coding would be acceptable (RFC 9110 12.5.3), but who does not ask may not be able to decode.
    """
    weights = _weights(accept_encoding)
    others = weights.get("*")
    if others is not None:
        # `*` is all that is not listed. It is taken as gzip alone: whoever says it knows at least that one.
        weights.setdefault("gzip", others)
    takes_identity = weights.get("identity", others) != 0
    best = max(codings, key=lambda coding: weights.get(coding.name, 0), default=None)
    weight = weights.get(best.name, 0) if best else 0
    return Choice(best if weight and weight >= weights.get("identity", 0) else None, takes_identity)


def _weights(accept_encoding: str) -> dict[str, int]:
    """Thousandths by coding in lower case. What is malformed is left out; of two weights for one the lower counts."""
    weights: dict[str, int] = {}
    for item in accept_encoding.lower().split(","):
        written, semicolon, parameter = item.partition(";")
        name = written.strip(" \t")
        weight = _weight(parameter.strip(" \t")) if semicolon else 1000
        if weight is not None and is_token(name):
            name = "gzip" if name == "x-gzip" else name  # the same coding (RFC 9110 8.4.1.3)
            weights[name] = min(weight, weights.get(name, weight))
    return weights


def _weight(parameter: str) -> int | None:
    """``q=0.5`` in thousandths; None if it is no weight (RFC 9110 12.4.2): 0 or 1, and up to three digits after it."""
    whole, _, digits = parameter.removeprefix("q=").partition(".")
    if not parameter.startswith("q=") or whole not in ("0", "1") or len(digits) > 3:
        return None
    if digits and not (digits.isascii() and digits.isdigit()):
        return None
    weight = int(whole + digits.ljust(3, "0"))
    return weight if weight <= 1000 else None


_UNCODED = Choice(None, True)


# ---- which types ----------------------------------------------------------------------------------------------------

# How many quarters of its body a coded one may have, for a body that travels as text and for one that is base64 anyway:
# the coded one always is, and base64 makes four octets of three.
_TEXT_QUARTERS, _BASE64_QUARTERS = 3, 4
# What travels as text, text/* and the suffixes aside.
_TEXT_TYPES = frozenset(f"application/{subtype}" for subtype in TEXT_APPLICATION_TYPES)
_OTHER_TYPES = frozenset(
    (
        "application/json-seq",
        "application/jsonl",
        "application/ndjson",
        "application/rtf",
        "application/sql",
        "application/vnd.apple.mpegurl",
        "application/x-mpegurl",
        "application/xml-dtd",
        "application/x-sh",
        "application/wasm",
        "application/protobuf",
        "application/x-protobuf",
        "application/vnd.google.protobuf",
        "application/vnd.mapbox-vector-tile",
        "application/vnd.ms-fontobject",
        "application/x-font-ttf",
        "application/x-font-otf",
        "application/x-font-opentype",
        "application/x-font-truetype",
        "font/ttf",
        "font/otf",
        "font/sfnt",
        "font/collection",
        "font/eot",
        "font/opentype",
        "image/bmp",
        "image/x-ms-bmp",
        "image/x-icon",
        "image/vnd.microsoft.icon",
    )
)
_GRPC = "application/grpc"  # with +proto, +json, -web, -web-text: its framing has a coding of its own
_EVENT_STREAM = "text/event-stream"


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip(" \t").lower()


def _quarters(content_type: str) -> int:
    """How many quarters of its size a body of this type may have once it is coded; 0: it is not to be coded at all."""
    media_type = _media_type(content_type)
    if media_type.startswith(_GRPC):
        return 0
    if media_type.startswith("text/") or media_type in _TEXT_TYPES or media_type.endswith(TEXT_SUFFIXES):
        return _TEXT_QUARTERS
    return _BASE64_QUARTERS if media_type in _OTHER_TYPES else 0


_QUARTERS = Memo(_quarters, count=256, length=128)

# ---- the answer -----------------------------------------------------------------------------------------------------


class Compressor:
    """Middleware: compresses answers with ``codings``, of which the first is preferred: those of ``available()``."""

    def __init__(self, codings: Sequence[Coding]) -> None:
        self._choices: Memo[str, Choice] = Memo(lambda value: choose(value, codings), count=256, length=128)

    def before(self, exchange: Exchange) -> None:
        """Let the request pass."""

    def after(self, exchange: Exchange) -> None:
        """Compress the answer, or have its body compressed as it comes, where the client accepts it and it pays."""
        assert exchange.response is not None
        if not exchange.is_streamed:
            exchange.response = self.buffered(exchange.request, exchange.response)
            return
        body = exchange.response.body
        head, encoder = self.streamed(exchange.request, exchange.response)
        if encoder and exchange.body is not None:
            exchange.filters = (*exchange.filters, encoder)
        elif encoder:
            head = head._replace(body=(encoder.feed(body) if body else b"") + encoder.finish())
        exchange.response = head

    def buffered(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """The answer to send for ``response``, the whole answer to ``request``: compressed where that pays."""
        body = response.body
        size = _announced_size(response) if request.method == "HEAD" else len(body)
        response, (coding, takes_identity) = self._begun(request, response, size, False)
        if not coding:
            return response
        coded = coding.encode(body)
        if takes_identity and 4 * len(coded) >= len(body) * _QUARTERS[_content_type(response)]:
            return response
        return HttpResponse(response.status, response.reason, _coded(response.headers, coding.name, len(coded)), coded)

    def streamed(self, request: HttpRequest, head: HttpResponse) -> tuple[HttpResponse, Encoder | None]:
        """The head to send for ``head``, whose body is still to come, and what that body has to go through, or None."""
        head, (coding, _) = self._begun(request, head, _announced_size(head), True)
        if not coding:
            return head, None
        return head._replace(headers=_coded(head.headers, coding.name, None)), coding.encoder()

    def _begun(
        self, request: HttpRequest, response: HttpResponse, size: int | None, is_streamed: bool
    ) -> tuple[HttpResponse, Choice]:
        """The answer as it is to be sent uncoded, and the client's choice, which is none when it has none."""
        if response.status == 304:
            return _not_modified(request, response), _UNCODED
        choice = self._choices[",".join(header_values(request.headers, "accept-encoding"))]
        smallest = SMALLEST if choice.takes_identity else 1
        if (size is not None and size < smallest) or not _may_be_coded(request, response, is_streamed):
            return response, _UNCODED
        varied = response._replace(headers=_varied(response.headers))
        return varied, _UNCODED if request.method == "HEAD" else choice


def _may_be_coded(request: HttpRequest, response: HttpResponse, is_streamed: bool) -> bool:
    """Whether the answer itself allows a coding, whatever the client accepts and however long the body is."""
    content_type = _content_type(response)
    if not _QUARTERS[content_type] or (_media_type(content_type) == _EVENT_STREAM and not is_streamed):
        return False
    if response.status in _STATUSES_LEFT_ALONE or header(response.headers, "content-range") is not None:
        return False
    codings = header_values(response.headers, "content-encoding")
    if any(coding.strip().lower() not in ("", "identity") for coding in codings):
        return False
    return not (_forbids_transforming(request.headers) or _forbids_transforming(response.headers))


def _forbids_transforming(headers: Headers) -> bool:
    lists = header_values(headers, "cache-control")
    return any(directive.strip().lower() == "no-transform" for value in lists for directive in value.split(","))


def _content_type(response: HttpResponse) -> str:
    return header(response.headers, "content-type") or ""


def _announced_size(response: HttpResponse) -> int | None:
    """Returns the number in Content-Length; None: there is none."""
    length = header(response.headers, "content-length") or ""
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None


def _not_modified(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A 304 has the validator and the Vary that its 200 would have (RFC 9110 15.4.5).

    Its type is not known. But a client that holds the weak form of the strong tag got that with a compressed body.
    """
    etag = header(response.headers, "etag") or ""
    held = header_values(request.headers, "if-none-match")
    if not etag.startswith('"') or not any(f"W/{etag}" in value for value in held):
        return response
    headers = [(name, _weak(value) if name == "etag" else value) for name, value in response.headers]
    return response._replace(headers=_varied(headers))


def _varied(headers: Headers) -> Headers:
    """``headers`` with Accept-Encoding in Vary: in its last line if there is one, and nothing new if it is there."""
    last = None
    for at, (name, value) in enumerate(headers):
        if name != "vary":
            continue
        members = [member.strip().lower() for member in value.split(",")]
        if "*" in members or "accept-encoding" in members:
            return headers
        last = at
    if last is None:
        return [*headers, ("vary", "Accept-Encoding")]
    members = [member for member in (headers[last][1].strip(), "Accept-Encoding") if member]
    return [*headers[:last], ("vary", ", ".join(members)), *headers[last + 1 :]]


def _coded(headers: Headers, coding: str, size: int | None) -> Headers:
    """The fields of an answer whose body was encoded, ``size`` octets then, None if that is not known yet."""
    lines = []
    for name, value in headers:
        if name in _FIELDS_NO_LONGER_TRUE or name == "content-encoding":  # that one was "identity"
            continue
        if name == "content-length":
            if size is None:
                continue
            value = str(size)
        elif name == "etag":
            value = _weak(value)
        lines.append((name, value))
    return [*lines, ("content-encoding", coding)]


def _weak(etag: str) -> str:
    """The tag of a body that is equivalent, but not the same octets (RFC 9110 8.8.1). What is no strong tag is kept."""
    return f"W/{etag}" if etag.startswith('"') else etag
