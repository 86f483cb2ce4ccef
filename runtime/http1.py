"""HTTP/1.1 as bytes, the client's side of it (RFC 9112): a request in, bytes out; bytes in, an answer out. No sockets.

Four rules of this file:

1. **One reading.** An answer whose end could be read in two ways is refused: what is body to one reader is the next
   answer to another.
2. **How the bytes were split changes nothing**, neither the answer nor the kind of error; no byte is searched twice, so
   that the work is linear even when they come one at a time.
3. **Nothing that is left over is used.** A byte after the answer ends the life of the connection (``keep_alive``), and
   so does an answer that has no body by its status or method while its head announces one: some peers send that body
   all the same, a moment later, and it would be read as the next answer.
4. **The usual answer is a straight line**: head and body come in one ``feed`` and are read there, with one search, one
   decoding and one split, and without an object for the body. Parsed heads are cached by their octets.

Where does a body end? The first that holds (RFC 9112 6.3):

==================================  =================================================================================
answer to HEAD; 204, 304            there is none, whatever the fields say
205 without both of the next        there is none (RFC 9110 15.3.6): hyper, and Deno with it, says nothing of a length
Transfer-Encoding and a length      refused: this is how answers are smuggled
``Transfer-Encoding: chunked``      after the last chunk and the trailers; any other coding, and HTTP/1.0, is refused
one Content-Length                  after so many octets; several are refused, even equal ones
else                                with the connection
==================================  =================================================================================

Where the RFC leaves a choice:

==================================  =================================================================================
LF without CR ends a line (2.2)     yes in the head: CGI scripts write it, and servers pass on what these write
                                    (``python -m http.server --cgi``); no in chunked framing, which servers make
CR without LF, NUL (9110 5.5)       in a value a space, each: a client may have chosen it, and the answer is good all
                                    the same; in a name, in the status line, or where the body's end is told: refused
folded line (5.2)                   unfolded: one space
blank between name and colon (5.1)  removed, "Content-Length : 5" is a length
name that is no token, no colon     the line is dropped: it cannot be passed on, and the rest of the answer is good
trailers (6.5.1)                    must be well-formed, then dropped: a payload has no place for them
101, tunnel through CONNECT         refused: nobody asked for another protocol
==================================  =================================================================================
"""

from __future__ import annotations

from .errors import BodyTooLarge, ConnectionLost, ProtocolError
from .messages import HttpRequest, HttpResponse, breaks_lines, is_token
from .values import Memo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    Framing = dict[str, list[str]]
    """The values of the fields that say where the answer ends. A field that is not there has no entry."""
    Head = tuple[int, str, list[tuple[str, str]], bool, int | None, str, Framing]
    """A parsed head, whatever it answers: status, reason and fields; whether the peer is willing to keep the
    connection; the body's length if a Content-Length alone tells it; and for when it does not, version and framing.
    A plain tuple, since one is made for each answer to next, where it costs a quarter of what a named one does.
    """

    class Body(Protocol):
        """One way to find the end of a body."""

        missing: int
        surplus: bool

        def feed(self, data: bytes) -> bytes | None:
            """The body, less what was taken, once it is complete; ``surplus`` tells whether bytes were left over."""

        def take(self) -> bytes:
            """Returns the octets of the body that have come and were not taken yet."""

        def end(self) -> bytes:
            """The body, now that no more bytes come. Raises ``ConnectionLost`` when it is not complete."""


# Apache, nginx and Node take 8 to 16 KiB of a request: what is larger than this is no head any more.
HEAD_LIMIT = 1024 * 1024
CHUNK_LINE_LIMIT = 4 * 1024
# 100 and 103 come once or twice; an app that sends nothing else must not hold us for ever.
INFORMATIONAL_LIMIT = 100
LENGTH_DIGITS = 18
CHUNK_SIZE_DIGITS = 16
# The Runtime API accepts each result with the same head, and in an app's often nothing changes but the Date, once a
# second. So heads are remembered: 64 of them take 60 KB, and 250 at most. Those of next have an id and a deadline of
# their own; they are longer than this, and are spared the look-up.
LONGEST_REMEMBERED = 320
# A slice of what was received is an object of 200 bytes: for less than this a copy is the smaller evil.
SMALL_PART = 512
_HEX = b"0123456789abcdefABCDEF"
_FRAMING_NAMES = frozenset(("transfer-encoding", "content-length", "connection"))


def _field_name(written: str) -> str:
    """The name in lower case, or "" if it is none."""
    name = written.rstrip(" \t")
    return name.lower() if is_token(name) else ""


_FIELD_NAMES = Memo(_field_name, count=500, length=99)


# ---- requests -------------------------------------------------------------------------------------------------------
#
# Every head that leaves this process, to the app or to the Runtime API, is rendered by a function of this section, and
# so is every trailer: no other module writes one (tests/unit/test_heads.py). Here each part is looked at, whoever it
# comes from, so that a request stays one request.


def render_head(request: HttpRequest, prepared: str = "") -> bytes:
    """The request line, the field lines and the empty line: all but the body. Values are UTF-8.

    ``prepared`` are field lines of ``render_lines``, which come first: what a peer is sent every time is looked at
    once. The caller has put in Host, Content-Length and the like. Raises ``ProtocolError`` when a part would be read as
    something else than that part.
    """
    method, target, headers, _ = request
    if not (target and target.isascii() and target.isprintable() and " " not in target):
        raise _bad_target(target)
    lines = [f"{_LINE_STARTS[name]}{value}" for name, value in headers]
    together = "".join(lines)
    if "\n" in together or "\r" in together or "\0" in together:  # ``breaks_lines``, written out for each request
        raise ProtocolError("a field value of the request contains CR, LF or NUL")
    lines.append("\r\n")
    try:
        return (f"{_METHODS[method]} {target} HTTP/1.1\r\n{prepared}" + "\r\n".join(lines)).encode()
    except UnicodeEncodeError:
        raise _not_unicode() from None


def render_post(target: str, prepared: str, fields: Sequence[tuple[str, str]], size: int) -> bytes:
    """Render the head of a POST with a body of ``size`` bytes, which has few fields that are not ``prepared``.

    Raises ``ProtocolError`` as ``render_head``.
    """
    if not (target and target.isascii() and target.isprintable() and " " not in target):
        raise _bad_target(target)
    lines = render_lines(fields) if fields else ""
    try:
        return f"POST {target} HTTP/1.1\r\n{prepared}{lines}Content-Length: {size}\r\n\r\n".encode()
    except UnicodeEncodeError:
        raise _not_unicode() from None


def render_lines(fields: Iterable[tuple[str, str]]) -> str:
    """Field lines, each with its line end. Raises ``ProtocolError`` as ``render_head``."""
    lines = [f"{_LINE_STARTS[name]}{value}" for name, value in fields]
    if breaks_lines("".join(lines)):
        raise ProtocolError("a field value contains CR, LF or NUL")
    return "".join([f"{line}\r\n" for line in lines])


def render_trailers(fields: Iterable[tuple[str, str]]) -> bytes:
    """Render trailers, which follow the last chunk (RFC 9112 7.1.2). Raises ``ProtocolError`` as ``render_head``."""
    try:
        return (render_lines(fields) + "\r\n").encode()
    except UnicodeEncodeError:
        raise _not_unicode() from None


def _bad_target(target: str) -> ProtocolError:
    without_query = target.partition("?")[0]  # which may carry secrets, and this is logged
    return ProtocolError(f"a request target must be visible ASCII characters: {without_query[:200]!a}")


def _not_unicode() -> ProtocolError:
    """The error of a text with half a surrogate pair, which JSON can spell."""
    return ProtocolError("a field value of the request is not Unicode text")


def _method(name: str) -> str:
    """The method itself."""
    if not is_token(name):
        raise ProtocolError(f"a request method must be a token (RFC 9110 section 9.1): {name[:200]!a}")
    return name


def _line_start(name: str) -> str:
    """The beginning of a field line of a request: the name, the colon and a blank."""
    if not name or len(_field_name(name)) != len(name):
        raise ProtocolError(f"the request has a field name that is not allowed: {name[:200]!a}")
    return f"{name}: "


_LINE_STARTS = Memo(_line_start, count=500, length=99)
_METHODS = Memo(_method, count=50, length=20)
_response = HttpResponse._make  # three are made per invocation


# ---- responses ------------------------------------------------------------------------------------------------------


class ResponseReader:
    """Reads the answer to one request with ``method``.

    Feeding may raise ``ProtocolError``, or ``BodyTooLarge`` as soon as it is known that the body has more than
    ``max_body`` octets. After an error, and after the answer, a reader is of no more use.
    """

    started = False
    """At least one byte of an answer has come."""
    keep_alive = False
    """The answer is complete, and the connection may be used again."""
    response: HttpResponse | None = None
    """The answer, once it is complete."""
    missing = 0
    """How many bytes are missing for certain, so that exactly so many may be waited for; 0: that is unknown."""

    # On the class, like those four: a reader is made for each exchange, and most never set these.
    _informational = 0
    _has_promised = False  # an interim answer has announced a body, which it cannot have
    _held: bytes | bytearray = b""  # a head without its end
    _searched = 0  # no head ends before this index of it
    _head: tuple[int, str, list[tuple[str, str]]] | None = None  # of the final answer, once it has come
    _body: Body | None = None  # not for an answer that came whole

    def __init__(self, method: str, max_body: int | None = None) -> None:
        self.method = method
        self._max_body = max_body

    @property
    def has_head(self) -> bool:
        """The head of the final answer has come."""
        return self._head is not None

    @property
    def head(self) -> HttpResponse:
        """The final answer without its body; only when it ``has_head``."""
        assert self._head is not None
        return HttpResponse(*self._head)

    def take(self) -> bytes:
        """Returns the octets of the body that have come and were not taken yet: for who does not wait for all.

        The complete ``response`` then has only the rest.
        """
        if self.response:
            octets, self.response = self.response.body, self.response._replace(body=b"")
            return octets
        return self._body.take() if self._body else b""

    @property
    def has_surplus(self) -> bool:
        """Bytes came with the complete answer that are no part of it, although its end was plain to both sides."""
        return bool(self._body and self._body.surplus and self._persistent)

    def feed(self, data: bytes) -> HttpResponse | None:
        """The answer, or None while more bytes are needed. Interim answers (1xx) are passed over."""
        if data:
            self.started = True
        if self._body is None:
            buffer: bytes | bytearray = data
            if self._held:
                self._held += data
                buffer = self._held
            while split := _split_head(buffer, self._searched):
                head, buffer = split
                self._searched = 0
                status, reason, fields, is_persistent, length, _, _ = head
                if (
                    length == len(buffer)
                    and status >= 200
                    and status not in (204, 304)
                    and self.method not in ("HEAD", "CONNECT")
                    and (self._max_body is None or length <= self._max_body)
                ):  # the usual answer: all of it has come, and nothing else
                    # A list of its own: a hook may change it, and the head is remembered.
                    fields = [*fields]
                    self._head = status, reason, fields
                    self.keep_alive = is_persistent and not self._has_promised
                    self.response = _response((status, reason, fields, buffer))
                    return self.response
                if self._is_final(head):
                    break
            else:
                self._hold(buffer)
                return None
            data = buffer
        assert self._body
        octets = self._body.feed(data)
        self.missing = self._body.missing
        if octets is None:
            return None
        assert self._head
        self.keep_alive = self._persistent and not self._body.surplus
        self.response = HttpResponse(*self._head, octets)
        return self.response

    def feed_eof(self) -> HttpResponse:
        """The answer, if its end is the connection's. Raises ``ConnectionLost`` when it is not complete."""
        if self._body and self._head:
            self.response = HttpResponse(*self._head, self._body.end())
            return self.response
        where = "in the middle of a head" if self._held else "before its answer"
        raise ConnectionLost(f"the peer closed the connection {where}")

    def _hold(self, buffer: bytes | bytearray) -> None:
        """Keep the beginning of a head, unless it is known by now that it is none."""
        if buffer[:7] != b"HTTP/1."[: len(buffer)]:
            raise ProtocolError(f"the answer is not HTTP/1.1, it begins with {bytes(buffer[:50])!r}")
        _check_head_size(len(buffer) - 2)
        self._searched = max(0, len(buffer) - 3)
        if buffer is not self._held:
            self._held = bytearray(buffer)

    def _is_final(self, head: Head) -> bool:
        """Whether this is the head of the final answer. If so, there is a ``_body`` then, which knows where it ends."""
        status, reason, fields, self._persistent, length, version, framing = head
        if status == 101 or (self.method == "CONNECT" and 200 <= status < 300):
            raise ProtocolError(f"the answer (status {status}) changes to another protocol, which nobody asked for")
        if status < 200:
            self._informational += 1
            if self._informational > INFORMATIONAL_LIMIT:
                raise ProtocolError(f"more than {INFORMATIONAL_LIMIT} interim answers (1xx) came before the final one")
            if length != 0 and ("content-length" in framing or "transfer-encoding" in framing):
                self._has_promised = True
            return False
        self._head = status, reason, [*fields]
        is_bodiless = self.method == "HEAD" or status in (204, 304)
        if status == 205 and self._persistent and framing.keys().isdisjoint(("content-length", "transfer-encoding")):
            is_bodiless = True  # up to the end of a connection that the app does not end would be for ever
        if is_bodiless:
            # The fields may announce a body to HEAD and 304 and lawfully none comes; but one that comes all the same,
            # a moment later, cannot be told from the next answer. Under 204 without any field gunicorn's threads, for
            # one, send what a WSGI app gives. A new connection costs 0.1 ms.
            self._persistent = self._persistent and length == 0
            length = 0
        if self._has_promised:
            self._persistent = False
        if length is None:
            self._body = _body_without_length(version, framing, self._max_body)
        else:
            self._body = _LengthBody(length, self._max_body)
        return True


def _split_head(buffer: bytes | bytearray, searched: int) -> tuple[Head, bytes] | None:
    """The head that ``buffer`` begins with and what follows it, or None: its end has not come."""
    end = buffer.find(b"\r\n\r\n", searched)
    if 0 <= end < HEAD_LIMIT:
        octets = buffer[:end]
        head = _USUAL_HEADS[bytes(octets)] if end <= LONGEST_REMEMBERED else _usual_head(octets)
        if head is not None:
            return head, bytes(buffer[end + 4 :])
    return _split_unusual_head(buffer, searched)


def _usual_head(octets: bytes | bytearray) -> Head | None:
    """Parse ``octets``, a head without its empty line. None: it is one for ``_split_unusual_head``."""
    try:
        lines = octets.decode().split("\r\n")
    except UnicodeDecodeError:
        return None
    together = "".join(lines)
    if "\n" in together or "\r" in together or "\0" in together:  # ``breaks_lines``, written out for each answer
        return None
    return _head_of(lines)


_USUAL_HEADS: Memo[bytes, Head | None] = Memo(_usual_head, count=64, length=LONGEST_REMEMBERED)


def _split_unusual_head(buffer: bytes | bytearray, searched: int) -> tuple[Head, bytes] | None:
    """Split as ``_split_head``, by all the rules: a head ends with the first line end that an empty line follows."""
    end = buffer.find(b"\n\r\n", searched)
    bare = buffer.find(b"\n\n", searched, end + 1 if end >= 0 else len(buffer))
    if end < 0 and bare < 0:
        return None
    end, after = (bare, bare + 2) if bare >= 0 else (end, end + 3)
    _check_head_size(end)
    # Each by itself: octets of ISO 8859-1 in one field leave the others UTF-8.
    lines = [field_text(line.removesuffix(b"\r")) for line in buffer[:end].split(b"\n")]
    if any("\r" in line or "\0" in line for line in lines):
        if breaks_lines(lines[0]):
            raise ProtocolError("the status line of the answer contains NUL, or CR without LF")
        lines = [lines[0], *map(_with_spaces, lines[1:])]
    return _head_of(lines), bytes(buffer[after:])


def _with_spaces(line: str) -> str:
    """The field line with spaces for CR and NUL in its value. Raises ``ProtocolError`` where they may mean more."""
    name, colon, value = line.partition(":")
    if line[0] in " \t":  # a folded line
        name, colon, value = "", "", line
    if breaks_lines(name) or (breaks_lines(value) and _FIELD_NAMES[name] in _FRAMING_NAMES):
        raise ProtocolError("a field name of the answer, or its length, contains NUL, or CR without LF")
    spaced = value.replace("\r", " ").replace("\0", " ")
    return f"{name}{colon}{spaced}"


def _check_head_size(size: int) -> None:
    if size > HEAD_LIMIT:
        raise ProtocolError(f"the head of the answer has more than {HEAD_LIMIT} bytes")


def field_text(line: bytes | bytearray) -> str:
    """Octets of a head as text: UTF-8, or else ISO 8859-1."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _status_line(line: str) -> tuple[str, int, str]:
    """Version, status, reason phrase. Without a phrase many also leave out the blank before it."""
    version, _, rest = line.partition(" ")
    digits, _, reason = rest.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or len(digits) != 3 or not (digits.isascii() and digits.isdigit()):
        raise ProtocolError(f"the answer has no HTTP/1.1 status line, but {line[:100]!r}")
    status = int(digits)
    if not 100 <= status < 600:
        raise ProtocolError(f"the answer has status {status}, which is not from 100 to 599")
    return version, status, reason


_STATUS_LINES = Memo(_status_line, count=500, length=99)


def _head_of(lines: list[str]) -> Head:
    """Parse the lines of a head. Raises ``ProtocolError``, but not for how the body ends."""
    version, status, reason = _STATUS_LINES[lines[0]]
    fields: list[tuple[str, str]] = []
    framing: Framing = {}
    for line in lines[1:]:
        written, colon, value = line.partition(":")
        name = _FIELD_NAMES[written]
        if name and colon:
            value = value.strip(" \t")
            fields.append((name, value))
            if name in _FRAMING_NAMES:
                framing.setdefault(name, []).append(value)
        elif line[0] in " \t":
            return _head_of([lines[0], *_unfolded(lines[1:])])
    is_persistent = _is_persistent(version, framing["connection"]) if "connection" in framing else version == "HTTP/1.1"
    return status, reason, fields, is_persistent, _length(framing), version, framing


def _unfolded(lines: list[str]) -> list[str]:
    """Put each line that begins with a blank at the end of the one before; all blanks between them become one."""
    if lines[0][0] in " \t":
        raise ProtocolError("the first field line of the answer begins with a blank")
    parts = "\n".join(lines).replace("\n\t", "\n ").split("\n ")
    return " ".join([part.strip(" \t") for part in parts]).split("\n")


def _is_persistent(version: str, connection: list[str]) -> bool:
    """Whether the peer is willing to keep the connection, by its Connection fields (RFC 9112 9.3)."""
    options = [option.strip(" \t").lower() for value in connection for option in value.split(",")]
    return "close" not in options and (version == "HTTP/1.1" or "keep-alive" in options)


def _length(framing: Framing) -> int | None:
    """The length of the body, if a Content-Length alone tells it: one, and a number."""
    lengths = framing.get("content-length")
    if not lengths or len(lengths) != 1 or "transfer-encoding" in framing:
        return None
    digits = lengths[0]
    return int(digits) if len(digits) <= LENGTH_DIGITS and digits.isascii() and digits.isdigit() else None


def _body_without_length(version: str, framing: Framing, limit: int | None) -> Body:
    """The body that a head announces in another way than by its length. Raises ``ProtocolError``."""
    codings, lengths = framing.get("transfer-encoding"), framing.get("content-length")
    if not codings:
        if lengths:
            raise ProtocolError(f"the answer has Content-Length {', '.join(lengths)[:100]!r}; it must be one number")
        return _UntilCloseBody(limit)
    if lengths:
        raise ProtocolError("the answer has both Transfer-Encoding and Content-Length: where it ends is ambiguous")
    if version == "HTTP/1.0":
        raise ProtocolError("the answer has Transfer-Encoding, which HTTP/1.0 does not know")
    if len(codings) > 1 or codings[0].lower() != "chunked" or not codings[0].isascii():
        raise ProtocolError(
            f"the answer has Transfer-Encoding {', '.join(codings)[:100]!r}; only 'chunked' can be read"
        )
    return _ChunkedBody(limit)


def _check_size(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise BodyTooLarge(size, limit)


# ---- bodies ---------------------------------------------------------------------------------------------------------


class _LengthBody:
    """So many octets."""

    surplus = False

    def __init__(self, length: int, limit: int | None) -> None:
        if limit is not None and length > limit:
            raise BodyTooLarge(length, limit)
        self.missing = length
        self._parts: list[bytes] = []  # joined once: half the copying of a growing bytearray

    def feed(self, data: bytes) -> bytes | None:
        more = self.missing - len(data)
        if more < 0:
            data = data[:more]
            self.surplus = True
        self._parts.append(data)
        if more > 0:
            self.missing = more
            return None
        self.missing = 0
        return b"".join(self._parts)  # of a single part: the part itself

    def take(self) -> bytes:
        octets = b"".join(self._parts)
        self._parts.clear()
        return octets

    def end(self) -> bytes:
        raise ConnectionLost(f"the peer closed the connection, {self.missing} bytes of the body are missing")


class _UntilCloseBody:
    """All octets that come."""

    missing = 0
    surplus = False

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._size = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        _check_size(self._size, self._limit)
        self._parts.append(data)

    def take(self) -> bytes:
        octets = b"".join(self._parts)
        self._parts.clear()
        return octets

    def end(self) -> bytes:
        return self.take()


class _ChunkedBody:
    """Chunks, each after a line with its size; the one of size 0 is followed by the trailers (RFC 9112 7.1).

    All but the octets themselves is lines: a size, the empty line that ends a chunk, a trailer.
    """

    missing = 0  # the rest of a chunk is known, but what follows it is better read in the same go
    surplus = False

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._parts: list[bytearray | memoryview] = []  # joined once; those of a chunk that is small, in one object
        self._count = 0  # octets so far
        self._in_chunk = 0  # octets of the current chunk still to come
        self._line = bytearray()  # a line without its end
        self._expect(_ChunkedBody._size, CHUNK_LINE_LIMIT)

    def feed(self, data: bytes) -> bytes | None:
        at = 0
        while at < len(data):
            if self._in_chunk:
                octets = memoryview(data)[at : at + self._in_chunk]
                self._add(octets)
                self._in_chunk -= len(octets)
                at += len(octets)
                continue
            after = data.find(b"\n", at) + 1
            if not after:
                self._hold(data[at:])
                return None
            line = data[at:after]
            at = after
            if self._line:
                line = bytes(self._line) + line
                self._line.clear()
            if self._read_line(self, self._checked(line)):
                self.surplus = at < len(data)
                return self.take()
        return None

    def take(self) -> bytes:
        octets = b"".join(self._parts)
        self._parts.clear()
        return octets

    def _add(self, octets: memoryview) -> None:
        self._count += len(octets)
        if len(octets) >= SMALL_PART:
            self._parts.append(octets)
        elif self._parts and isinstance(self._parts[-1], bytearray):
            self._parts[-1] += octets
        else:
            self._parts.append(bytearray(octets))

    def end(self) -> bytes:
        raise ConnectionLost(f"the peer closed the connection after {self._count} bytes of a chunked body")

    def _expect(self, read_line: Callable[[_ChunkedBody, bytes], bool], limit: int) -> None:
        """How the next line is read (True: it was the last), and how long it may be. Unbound: no reference cycle."""
        self._read_line = read_line
        self._line_limit = limit

    def _hold(self, data: bytes) -> None:
        self._line += data
        if len(self._line) > self._line_limit:
            raise self._malformed("a line is too long")

    def _checked(self, line: bytes) -> bytes:
        """The line without its CRLF, which must be there, and the only CR."""
        if len(line) > self._line_limit or not line.endswith(b"\r\n") or line.count(b"\r") > 1:
            raise self._malformed("a line is too long, or does not end with CRLF")
        return line[:-2]

    def _size(self, line: bytes) -> bool:
        digits = line.partition(b";")[0]  # extensions: nobody uses them, and RFC 9112 7.1.1 has us ignore them
        if not 0 < len(digits) <= CHUNK_SIZE_DIGITS or digits.translate(None, _HEX):
            raise self._malformed(f"{digits[:50]!r} is not the size of a chunk")
        self._in_chunk = int(digits, 16)
        if self._in_chunk:
            _check_size(self._count + self._in_chunk, self._limit)
            self._expect(_ChunkedBody._end_of_chunk, len(b"\r\n"))
        else:
            self._expect(_ChunkedBody._trailer, HEAD_LIMIT)
        return False

    def _end_of_chunk(self, line: bytes) -> bool:
        """An empty line: the limit allows no other."""
        self._expect(_ChunkedBody._size, CHUNK_LINE_LIMIT)
        return False

    def _trailer(self, line: bytes) -> bool:
        # Stricter than in the head, where a bad line costs a field only: here it may be the next answer's status line.
        name, colon, _ = line.partition(b":")
        if line and not (colon and is_token(name.decode("latin-1"))):
            raise self._malformed(f"{line[:50]!r} is no trailer")
        self._line_limit -= len(line)
        return not line

    def _malformed(self, what: str) -> ProtocolError:
        return ProtocolError(f"the chunked body is malformed after {self._count} octets: {what}")
