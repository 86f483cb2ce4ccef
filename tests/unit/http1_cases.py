"""Answers as they come from the wire, and what has to become of them. The name of a case is the rule it stands for."""

# ruff: noqa: E501 (a table: each case is one line)

from __future__ import annotations

from typing import NamedTuple

from runtime.errors import BodyTooLarge, ConnectionLost, ExchangeError, ProtocolError
from runtime.http1 import CHUNK_LINE_LIMIT, HEAD_LIMIT, INFORMATIONAL_LIMIT
from runtime.messages import HttpResponse


class Case(NamedTuple):
    """``expected`` is the answer, or the error. The stream ends after ``wire``."""

    name: str
    wire: bytes
    expected: HttpResponse | type[ExchangeError]
    keep_alive: bool = False
    method: str = "GET"
    max_body: int | None = None
    until_close: bool = False  # only the end of the stream ends the body


def ok(*headers: tuple[str, str], body: bytes = b"", status: int = 200, reason: str = "OK") -> HttpResponse:
    return HttpResponse(status, reason, list(headers), body)


def head(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([start, *lines, b"", b""])


def chunked(*pieces: bytes) -> bytes:
    """An answer with ``pieces`` as its chunked body, sizes and line ends included."""
    return head(b"Transfer-Encoding: chunked") + b"".join(pieces)


LENGTH_0 = ("content-length", "0")
LENGTH_5 = ("content-length", "5")
CHUNKED = ("transfer-encoding", "chunked")
EMPTY = head(b"Content-Length: 0")
FIVE = head(b"Content-Length: 5") + b"hello"


def field(line: bytes, *expected: tuple[str, str]) -> tuple[bytes, HttpResponse]:
    """An answer with this field line, and the fields that have to become of it."""
    return head(line, b"Content-Length: 0"), ok(*expected, LENGTH_0)


COMPLETE = (
    Case("body of known length", FIVE, ok(LENGTH_5, body=b"hello"), True),
    Case("empty body", EMPTY, ok(LENGTH_0), True),
    Case("body that looks like an answer", head(b"Content-Length: 38") + EMPTY, ok(("content-length", "38"), body=EMPTY), True),
    Case("length with leading zeros", head(b"Content-Length: 0005") + b"hello", ok(("content-length", "0005"), body=b"hello"), True),
    Case("body until the connection closes", head(b"A: b") + b"hel\r\n\r\nlo", ok(("a", "b"), body=b"hel\r\n\r\nlo"), until_close=True),
    Case("empty body until the connection closes", head(), ok(), until_close=True),
    Case("body as large as allowed", FIVE, ok(LENGTH_5, body=b"hello"), True, max_body=5),
    Case("body until close as large as allowed", head() + b"hello", ok(body=b"hello"), max_body=5, until_close=True),
    Case("chunked body as large as allowed", chunked(b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), ok(CHUNKED, body=b"hello"), True, max_body=5),
)  # fmt: skip

# RFC 9112 4
STATUS_LINES = (
    Case("reason empty", head(b"Content-Length: 0", start=b"HTTP/1.1 200 "), ok(LENGTH_0, reason=""), True),
    Case("reason and its blank absent", head(b"Content-Length: 0", start=b"HTTP/1.1 200"), ok(LENGTH_0, reason=""), True),
    Case("reason of several words", head(b"Content-Length: 0", start=b"HTTP/1.1 404 Not Found"), ok(LENGTH_0, status=404, reason="Not Found"), True),
    Case("reason in Latin-1", head(b"Content-Length: 0", start=b"HTTP/1.1 200 Tr\xe8s bien"), ok(LENGTH_0, reason="Très bien"), True),
    Case("reason in UTF-8", head(b"Content-Length: 0", start="HTTP/1.1 200 Très bien".encode()), ok(LENGTH_0, reason="Très bien"), True),
    Case("highest status", head(b"Content-Length: 0", start=b"HTTP/1.1 599 x"), ok(LENGTH_0, status=599, reason="x"), True),
    *(
        Case(f"status line refused: {start!r}", head(b"Content-Length: 0", start=start), ProtocolError)
        for start in (
            b"HTTP/1.1 099 x", b"HTTP/1.1 000 x", b"HTTP/1.1 600 x", b"HTTP/1.1 999 x", b"HTTP/1.1 99 x", b"HTTP/1.1 1000 x",
            b"HTTP/1.1 2x0 x", b"HTTP/1.1 -20 x", b"HTTP/1.1 +20 x", b"HTTP/1.1 2_0 x", b"HTTP/1.1 0x1 x", b"HTTP/1.1 2.0 x",
            "HTTP/1.1 2²0 x".encode(), "HTTP/1.1 ٢٠٠ x".encode(), b"HTTP/1.1  200 x", b"HTTP/1.1\t200\tx", b"HTTP/1.1 200\tx",
            b"HTTP/1.1200 x", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 OK", b"HTTP/1. 200 x", b"HTTP/1.2 200 x", b"HTTP/1.10 200 x",
            b"HTTP/2 200 x", b"HTTP/2.0 200 x", b"HTTP/0.9 200 x", b"http/1.1 200 x", b"HTTPS/1.1 200 x", b"ICY 200 OK",
            b" HTTP/1.1 200 x", b"\tHTTP/1.1 200 x", b"\xef\xbb\xbfHTTP/1.1 200 x", b"200 OK", b"Status: 200 OK", b"", b"\0",
        )
    ),
    Case("empty line before the status line", b"\r\n" + EMPTY, ProtocolError),
    Case("bare LF before the status line", b"\n" + EMPTY, ProtocolError),
    Case("no HTTP at all", b"<html>Hello</html>", ProtocolError),
    Case("another protocol's greeting", b"SSH-2.0-OpenSSH_9.6\r\n", ProtocolError),
    Case("a TLS record", b"\x16\x03\x03\x00\x7a\x02", ProtocolError),
)  # fmt: skip

# RFC 9112 5, RFC 9110 5
FIELDS = (
    *(
        Case(name, wire, expected, True)
        for name, (wire, expected) in {
            "names come out in lower case": field(b"X-FoO-Bar: BaZ", ("x-foo-bar", "BaZ")),
            "every character of a token": field(b"!#$%&'*+-.^_`|~09azAZ: x", ("!#$%&'*+-.^_`|~09azaz", "x")),
            "blanks around a value are stripped": field(b"A: \t b c \t ", ("a", "b c")),
            "no blank before the value": field(b"A:b", ("a", "b")),
            "empty value": field(b"A:", ("a", "")),
            "value of blanks": field(b"A: \t ", ("a", "")),
            "colons in a value": field(b"A: b:c: d", ("a", "b:c: d")),
            "only SP and HTAB are blanks": field(b"A: \x0b\x0cb\x1c\x1f", ("a", "\x0b\x0cb\x1c\x1f")),
            "no-break space is no blank": field("A: \u00a0b\u00a0".encode(), ("a", "\u00a0b\u00a0")),
            "control characters in a value are kept": field(b"A: b\x01\x7fc", ("a", "b\x01\x7fc")),
            "Unicode line separators end no line": field("A: b\u2028c\u0085d".encode(), ("a", "b\u2028c\u0085d")),
            "value in UTF-8": field("A: čaj 茶 🍵".encode(), ("a", "čaj 茶 🍵")),
            "value in Latin-1": field(b"A: caf\xe9", ("a", "café")),
            "a value in Latin-1 leaves the others UTF-8": field("A: čaj\r\nB: ".encode() + b"caf\xe9", ("a", "čaj"), ("b", "café")),
            "truncated UTF-8 is Latin-1": field(b"A: \xe8\x8c", ("a", "è\x8c")),
            "repeated names stay apart, in order": field(b"A: 1\r\nB: 2\r\na: 3", ("a", "1"), ("b", "2"), ("a", "3")),
            "cookies stay apart": field(b"Set-Cookie: a=1; Expires=Sat, 21 Nov 2026\r\nSet-Cookie: b=2",
                                        ("set-cookie", "a=1; Expires=Sat, 21 Nov 2026"), ("set-cookie", "b=2")),
            "value of 100 KB": field(b"A: " + b"v" * 100_000, ("a", "v" * 100_000)),
            "name of 100 KB": field(b"A" * 100_000 + b": v", ("a" * 100_000, "v")),
            "200 fields": field(b"\r\n".join(b"X-%d: %d" % (n, n) for n in range(200)), *((f"x-{n}", str(n)) for n in range(200))),
            # What is no field cannot be passed on, so the line is dropped; the rest of the answer is good.
            "line without colon is dropped": field(b"nonsense\r\nServer\r\nA: b", ("a", "b")),
            "empty name is dropped": field(b": b\r\nC: d", ("c", "d")),
            "blank as name is dropped": field(b"A: b\r\nC D: e\r\nF: g", ("a", "b"), ("f", "g")),
            "name with a separator is dropped": field(b"A(b): c\r\nA/b: c\r\nA@b: c\r\n\"A\": c\r\nA;b: c\r\nA=b: c"),
            "name with a control character is dropped": field(b"A\x01: b\r\n\x0bA: b\r\nA\x7f: b\r\nA\x0b: b"),
            "name that is not ASCII is dropped": field("Ä: b\r\nContent-Length\u00a0: 3\r\nLin\u212a: x".encode()),
            "name that is not UTF-8 is dropped": field(b"\xc4: b\r\nA: \xe9", ("a", "é")),
            # RFC 9112 5.1: it MUST be removed from a response
            "blank before the colon is removed": field(b"A : b\r\nC \t: d", ("a", "b"), ("c", "d")),
            # RFC 9112 5.2
            "folded line": field(b"A: b\r\n c", ("a", "b c")),
            "folded line: all its blanks are one": field(b"A: b \t\r\n \t c", ("a", "b c")),
            "folded line: tab": field(b"A: b\r\n\tc\r\nD: e", ("a", "b c"), ("d", "e")),
            "folded line: several": field(b"A: b\r\n c\r\n\td\r\n e: f", ("a", "b c d e: f")),
            "folded line: value begins on the second": field(b"A:\r\n b", ("a", "b")),
            "folded line: blanks only": field(b"A: b\r\n  \r\nC: d", ("a", "b"), ("c", "d")),
            "folded line of a dropped one goes with it": field(b"A B: c\r\n d: e\r\nF: g", ("f", "g")),
            "folded line in Latin-1": field(b"A: caf\xe9\r\n b", ("a", "café b")),
            "very many folded lines": field(b"A: b" + b"\r\n c" * 20_000, ("a", "b" + " c" * 20_000)),
        }.items()
    ),
    # RFC 9112 2.2: "a recipient MAY recognize a single LF as a line terminator"
    Case("LF alone ends lines", b"HTTP/1.1 200 OK\nA: b\nContent-Length: 5\n\nhello", ok(("a", "b"), LENGTH_5, body=b"hello"), True),
    Case("LF alone, a body with CRLF CRLF", b"HTTP/1.1 200 OK\nContent-Length: 8\n\na\r\n\r\nb: ", ok(("content-length", "8"), body=b"a\r\n\r\nb: "), True),
    Case("LF alone at the end of a head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\nhello", ok(LENGTH_5, body=b"hello"), True),
    Case("LF and CRLF, empty line LF", b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\nhello", ok(LENGTH_5, body=b"hello"), True),
    Case("LF and CRLF, empty line CRLF", b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\nhello", ok(LENGTH_5, body=b"hello"), True),
    Case("LF alone, no fields", b"HTTP/1.1 200 OK\n\nhello", ok(body=b"hello"), until_close=True),
    Case("LF alone, folded line", b"HTTP/1.1 200 OK\nA: b\n c\nContent-Length: 0\n\n", ok(("a", "b c"), LENGTH_0), True),
    Case("folded line right after the status line", head(b" A: b", b"Content-Length: 0"), ProtocolError),
    *(
        Case(f"CR without LF: {wire!r}", wire, ProtocolError)
        for wire in (
            head(b"A\r: b", b"Content-Length: 0"), head(b"\rA: b", b"Content-Length: 0"),
            head(b"Content-Length\r: 0"), head(b"Content-Length: 0\r"), head(b"Content-Length: 0\r5"),
            head(b"Transfer-Encoding: \rchunked") + b"0\r\n\r\n", head(b"Connection: \rclose", b"Content-Length: 0"),
            head(b"Content-Length: 0", start=b"HTTP/1.1 200 O\rK"), b"HTTP/1.1 200 OK\rContent-Length: 0\r\r\n\r\n",
            b"HTTP/1.1 200 OK\r\r\n\r\n",
        )
    ),
    *(
        Case(f"NUL: {wire!r}", wire, ProtocolError)
        for wire in (
            head(b"A\0: b", b"Content-Length: 0"), head(b"\0", b"Content-Length: 0"), head(b"Content-Length: 0\0"),
            head(b"Transfer-Encoding: chunked\0") + b"0\r\n\r\n", head(b"Content-Length: 0", start=b"HTTP/1.1 200 \0"),
        )
    ),
    *(
        Case(f"CR and NUL in a value are spaces: {wire!r}", head(wire, b"Content-Length: 0"), ok(*expected, LENGTH_0), True)
        for wire, expected in (
            (b"A: b\rc", [("a", "b c")]), (b"A: b\r\r", [("a", "b")]), (b"A: \xe9\r\xe9", [("a", "é é")]), (b"A: b\0c", [("a", "b c")]),
            (b"A: \xe9\0", [("a", "é")]), (b"A: b\rContent-Length: 5", [("a", "b Content-Length: 5")]), (b"A: \0\r\0", [("a", "")]),
            (b"A: b\r\n c\rd\0e", [("a", "b c d e")]), (b"nonsense\r\nA: b\rHTTP/1.1 200 OK", [("a", "b HTTP/1.1 200 OK")]),
        )
    ),
    Case("CR in a value, LF alone ends lines", b"HTTP/1.1 200 OK\nA: b\rc\n\nhello", ok(("a", "b c"), body=b"hello"), until_close=True),
    Case("head as large as allowed", head(b"A: " + b"v" * (HEAD_LIMIT - 40), b"Content-Length: 0"), ok(("a", "v" * (HEAD_LIMIT - 40)), LENGTH_0), True),
    Case("head too large", head(b"A: " + b"v" * (HEAD_LIMIT - 39), b"Content-Length: 0"), ProtocolError),
    Case("empty line LF, then CRLF", b"HTTP/1.1 204 x\n\n\r\n", ok(status=204, reason="x")),
    Case("head too large, by line ends LF", head(b"A: " + b"v" * HEAD_LIMIT, b"B: c").replace(b"\r", b""), ProtocolError),
    Case("head that never ends", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (HEAD_LIMIT // 6 + 1), ProtocolError),
)  # fmt: skip

# RFC 9112 6.3. Where two readers could see two ends, there is no answer.
FRAMING = (
    *(
        Case(f"end of the body is ambiguous: {lines!r}", head(*lines) + b"5\r\nhello\r\n0\r\n\r\n", ProtocolError)
        for lines in (
            # both
            (b"Transfer-Encoding: chunked", b"Content-Length: 5"), (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length : 5"), (b"Transfer-Encoding : chunked", b"Content-Length: 5"),
            (b"Transfer-Encoding: identity", b"Content-Length: 5"), (b"Transfer-Encoding:", b"Content-Length: 5"),
            (b"transfer-encoding: chunked", b"A: b", b"CONTENT-LENGTH: 15"), (b"Transfer-Encoding:\r\n chunked", b"Content-Length: 5"),
            # several lengths
            (b"Content-Length: 5", b"Content-Length: 5"), (b"Content-Length: 5", b"Content-Length: 15"), (b"Content-Length: 5, 5",),
            (b"Content-Length: 5,15",), (b"Content-Length: 5,",), (b"Content-Length: 5", b"Content-Length:"),
            (b"Content-Length: 5", b"content-length : 5"), (b"Content-Length: 1\r\n 5",),
            # no number
            (b"Content-Length:",), (b"Content-Length: +5",), (b"Content-Length: -5",), (b"Content-Length: 0x5",), (b"Content-Length: 5.0",),
            (b"Content-Length: 1_5",), (b"Content-Length: 5 5",), (b"Content-Length: five",), (b"Content-Length: 5;a",),
            (b"Content-Length: \x0b5",), ("Content-Length: ٥".encode(),), ("Content-Length: ²".encode(),), ("Content-Length: 5\u00a0".encode(),),
            (b"Content-Length: \xb2",), (b"Content-Length: " + b"0" * 18 + b"5",), (b"Content-Length: " + b"9" * 5000,),
            # codings other than chunked, and several
            (b"Transfer-Encoding: gzip, chunked",), (b"Transfer-Encoding: chunked, gzip",), (b"Transfer-Encoding: chunked, chunked",),
            (b"Transfer-Encoding: gzip",), (b"Transfer-Encoding: identity",), (b"Transfer-Encoding: chunked, identity",),
            (b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"), (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"), (b"Transfer-Encoding: chunked,",), (b"Transfer-Encoding: ,chunked",),
            (b"Transfer-Encoding: chunked;q=1",), (b"Transfer-Encoding: xchunked",), (b'Transfer-Encoding: "chunked"',),
            (b"Transfer-Encoding:",), (b"Transfer-Encoding: \x0bchunked",), ("Transfer-Encoding: chun\u212aed".encode(),),
            (b"Transfer-Encoding: chunked\x01",), (b"Transfer-Encoding: chunked", b"Transfer-Encoding:"),
        )
    ),
    Case("HTTP/1.0 knows no transfer coding", head(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK") + b"0\r\n\r\n", ProtocolError),
    Case("length with a blank before the colon", head(b"Content-Length : 5") + b"hello", ok(LENGTH_5, body=b"hello"), True),
    Case("length on a folded line", head(b"Content-Length:\r\n 5") + b"hello", ok(LENGTH_5, body=b"hello"), True),
    Case("chunked on a folded line", head(b"Transfer-Encoding:\r\n\tchunked") + b"0\r\n\r\n", ok(CHUNKED), True),
    Case("coding in another case", head(b"TRANSFER-ENCODING: CHUNKED") + b"0\r\n\r\n", ok(("transfer-encoding", "CHUNKED")), True),
    Case("a name that only resembles a length is none", head(b"Content-Length\x0b: 1", b"Content-Length: 5") + b"hello", ok(LENGTH_5, body=b"hello"), True),
    Case("a name that only resembles a coding is none", head(b"\x0bTransfer-Encoding: chunked") + b"0\r\n\r\n", ok(body=b"0\r\n\r\n"), until_close=True),
    Case("length larger than allowed", head(b"Content-Length: 6"), BodyTooLarge, max_body=5),
    Case("largest length that is read", head(b"Content-Length: " + b"9" * 18), BodyTooLarge, max_body=5),
    Case("body until close larger than allowed", head() + b"hello!", BodyTooLarge, max_body=5),
    Case("chunk larger than allowed is refused by its size", chunked(b"6\r\n"), BodyTooLarge, max_body=5),
    Case("chunks larger than allowed together", chunked(b"3\r\nhel\r\n3\r\n"), BodyTooLarge, max_body=5),
    Case("body shorter than announced", head(b"Content-Length: 6") + b"hello", ConnectionLost),
    # No body whatever the fields say. One that comes all the same may come later, so the connection is used again only
    # when the peer has said that there is none.
    Case("HEAD with a length", head(b"Content-Length: 5"), ok(LENGTH_5), method="HEAD"),
    Case("HEAD with a length larger than allowed", head(b"Content-Length: 5"), ok(LENGTH_5), method="HEAD", max_body=4),
    Case("HEAD with length 0", EMPTY, ok(LENGTH_0), True, "HEAD"),
    Case("HEAD with length 0 and close", head(b"Content-Length: 0", b"Connection: close"), ok(LENGTH_0, ("connection", "close")), method="HEAD"),
    Case("HEAD with a coding", head(b"Transfer-Encoding: chunked"), ok(CHUNKED), method="HEAD"),
    Case("HEAD without a length", head(), ok(), method="HEAD"),
    Case("HEAD with ambiguous fields", head(b"Transfer-Encoding: a", b"Content-Length: b"), ok(("transfer-encoding", "a"), ("content-length", "b")), method="HEAD"),
    Case("HEAD with length 0 and a coding", head(b"Transfer-Encoding: chunked", b"Content-Length: 0"), ok(CHUNKED, LENGTH_0), method="HEAD"),
    Case("HEAD with length 0, twice", head(b"Content-Length: 0", b"Content-Length: 0"), ok(LENGTH_0, LENGTH_0), method="HEAD"),
    Case("HEAD answered with a body", FIVE, ok(LENGTH_5), method="HEAD"),
    Case("HEAD refused with a status and a length", head(b"Content-Length: 5", start=b"HTTP/1.1 404 x"), ok(LENGTH_5, status=404, reason="x"), method="HEAD"),
    Case("method names are case-sensitive", FIVE, ok(LENGTH_5, body=b"hello"), True, "head"),
    Case("204", head(start=b"HTTP/1.1 204 No Content"), ok(status=204, reason="No Content")),
    Case("204 with length 0", head(b"Content-Length: 0", start=b"HTTP/1.1 204 x"), ok(LENGTH_0, status=204, reason="x"), True),
    Case("204 with a length", head(b"Content-Length: 5", start=b"HTTP/1.1 204 x"), ok(LENGTH_5, status=204, reason="x")),
    Case("204 with a coding", head(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 204 x"), ok(CHUNKED, status=204, reason="x")),
    Case("205 without a length", head(start=b"HTTP/1.1 205 x"), ok(status=205, reason="x")),
    Case("205 until the connection closes", head(b"Connection: close", start=b"HTTP/1.1 205 x") + b"hello", ok(("connection", "close"), status=205, reason="x", body=b"hello"), until_close=True),
    Case("204 with body bytes", head(b"Content-Length: 5", start=b"HTTP/1.1 204 x") + b"hello", ok(LENGTH_5, status=204, reason="x")),
    Case("304", head(start=b"HTTP/1.1 304 x"), ok(status=304, reason="x")),
    Case("304 with length 0", head(b"Content-Length: 0", start=b"HTTP/1.1 304 x"), ok(LENGTH_0, status=304, reason="x"), True),
    Case("304 with a length", head(b"Content-Length: 5", start=b"HTTP/1.1 304 x"), ok(LENGTH_5, status=304, reason="x")),
    Case("304 with a coding", head(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 304 x"), ok(CHUNKED, status=304, reason="x")),
    Case("304 with body bytes", head(b"Content-Length: 5", start=b"HTTP/1.1 304 x") + b"hello", ok(LENGTH_5, status=304, reason="x")),
    Case("205 is read by its fields", head(b"Content-Length: 0", start=b"HTTP/1.1 205 x"), ok(LENGTH_0, status=205, reason="x"), True),
    Case("205 with a body, which is read as one", head(b"Content-Length: 5", start=b"HTTP/1.1 205 x") + b"hello", ok(LENGTH_5, body=b"hello", status=205, reason="x"), True),
)  # fmt: skip

# RFC 9112 7.1
CHUNKS = (
    *(
        Case(name, chunked(wire), ok(CHUNKED, body=body), True)
        for name, wire, body in (
            ("no chunks", b"0\r\n\r\n", b""),
            ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            ("many chunks", b"1\r\nh\r\n" * 300 + b"0\r\n\r\n", b"h" * 300),
            ("last chunk with many zeros", b"1\r\nh\r\n000000\r\n\r\n", b"h"),
            ("size in both cases", b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", b"01234567890123456789a"),
            ("size with leading zeros", b"00000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
            ("size of 16 digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
            ("chunk that looks like chunks", b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n\r\n"),
            ("extensions are ignored", b"5;a=b;c=\"d;e\"\r\nhello\r\n0;last\r\n\r\n", b"hello"),
            ("extension up to the limit", b"5;" + b"a" * (CHUNK_LINE_LIMIT - 4) + b"\r\nhello\r\n0\r\n\r\n", b"hello"),
            ("trailers are dropped", b"5\r\nhello\r\n0\r\nA: b\r\nContent-Length: 7\r\nSet-Cookie: a=b\r\n\r\n", b"hello"),
            ("trailer in Latin-1", b"0\r\nA: \xe9\r\n\r\n", b""),
            ("trailer of 100 KB", b"0\r\nA: " + b"v" * 100_000 + b"\r\n\r\n", b""),
        )
    ),
    *(
        Case(f"chunks refused: {wire[:40]!r}", chunked(wire), ProtocolError)
        for wire in (
            # sizes
            b"\r\nhello\r\n0\r\n\r\n", b"x\r\n", b"g\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\n", b"-0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n", b"5 ;a\r\nhello\r\n0\r\n\r\n", b"1_0\r\n",
            b"5.0\r\n", b"5,5\r\n", b";a\r\n", b"5h\r\n", "٥\r\n".encode(), b"\xb2\r\n", b"5\0\r\n", b"00000000000000005\r\nhello\r\n0\r\n\r\n",
            b"10000000000000000\r\n", b"5" * 5000 + b"\r\n", b"5" * (CHUNK_LINE_LIMIT + 1), b"5;" + b"a" * (CHUNK_LINE_LIMIT - 3) + b"\r\n",
            # ends of lines
            b"5\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\r\nhello\r\n0\r\n\r\n", b"5;a\rb\r\nhello\r\n0\r\n\r\n", b"5;a\nhello\r\n0\r\n\r\n",
            # ends of chunks
            b"5\r\nhello0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n", b"5\r\nhello!\r\n0\r\n\r\n", b"5\r\nhello\n\r0\r\n\r\n",
            b"5\r\nhello\r\r\n0\r\n\r\n", b"3\r\nhello\r\n0\r\n\r\n", b"5\r\nhello \r\n0\r\n\r\n",
            # trailers
            b"0\r\n\n", b"0\n\n", b"0\r\nA: b\n\r\n", b"0\r\nA: b\rc\r\n\r\n", b"0\r\nnonsense\r\n\r\n", b"0\r\n: b\r\n\r\n", b"0\r\nA B: c\r\n\r\n",
            b"0\r\nA: b\r\n c\r\n\r\n", b"0\r\n A: b\r\n\r\n", b"0\r\n\xc4: b\r\n\r\n", b"0\r\nA: " + b"v" * HEAD_LIMIT + b"\r\n\r\n",
            b"0\r\n" + b"A: b\r\n" * (HEAD_LIMIT // 4), b"0\r\n" + b"A" * (HEAD_LIMIT + 1),
            # the empty line forgotten: what follows is no trailer
            b"0\r\n" + EMPTY,
        )
    ),
    Case("chunk too long to come", chunked(b"ffffffffffffffff\r\nhello"), ConnectionLost),
)  # fmt: skip

# RFC 9110 15.2
INTERIM = (
    Case("100 before the answer", head(start=b"HTTP/1.1 100 Continue") + FIVE, ok(LENGTH_5, body=b"hello"), True),
    Case("100, 103, then the answer", head(start=b"HTTP/1.1 100 Continue") + head(b"Link: </a>", start=b"HTTP/1.1 103 x") + FIVE, ok(LENGTH_5, body=b"hello"), True),
    Case("1xx has no body whatever its fields say", head(b"Content-Length: 5", start=b"HTTP/1.1 102 x") + FIVE, ok(LENGTH_5, body=b"hello")),
    Case("1xx says nothing about the answer's end", head(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 199 x") + FIVE, ok(LENGTH_5, body=b"hello")),
    Case("1xx with length 0", head(b"Content-Length: 0", b"Connection: close", start=b"HTTP/1.1 103 x") + FIVE, ok(LENGTH_5, body=b"hello"), True),
    Case("1xx with a body", head(b"Content-Length: 5", start=b"HTTP/1.1 103 x") + b"hello" + FIVE, ProtocolError),
    Case("1xx with a body that passes for an answer", head(b"Content-Length: %d" % len(EMPTY), start=b"HTTP/1.1 103 x") + EMPTY, ok(LENGTH_0)),
    Case("1xx with LF alone", b"HTTP/1.1 100\n\n" + FIVE, ok(LENGTH_5, body=b"hello"), True),
    Case("1xx before the answer to HEAD", head(start=b"HTTP/1.1 100 x") + head(b"Content-Length: 5"), ok(LENGTH_5), method="HEAD"),
    Case("as many 1xx as allowed", head(start=b"HTTP/1.1 100 x") * INFORMATIONAL_LIMIT + FIVE, ok(LENGTH_5, body=b"hello"), True),
    Case("too many 1xx", head(start=b"HTTP/1.1 100 x") * (INFORMATIONAL_LIMIT + 1) + FIVE, ProtocolError),
    Case("malformed 1xx", head(b"A\r: b", start=b"HTTP/1.1 100 x") + FIVE, ProtocolError),
    Case("1xx followed by something else", head(start=b"HTTP/1.1 100 x") + b"hello", ProtocolError),
    Case("1xx and then the end", head(start=b"HTTP/1.1 100 x"), ConnectionLost),
    Case("101", head(b"Upgrade: websocket", b"Connection: Upgrade", start=b"HTTP/1.1 101 Switching Protocols"), ProtocolError),
    Case("101 after 100", head(start=b"HTTP/1.1 100 x") + head(start=b"HTTP/1.1 101 x") + FIVE, ProtocolError),
    Case("101 to HEAD", head(start=b"HTTP/1.1 101 x"), ProtocolError, method="HEAD"),
    Case("CONNECT opens a tunnel", head(), ProtocolError, method="CONNECT"),
    Case("CONNECT is refused by the app", head(b"Content-Length: 5", start=b"HTTP/1.1 405 x") + b"hello", ok(LENGTH_5, body=b"hello", status=405, reason="x"), True, "CONNECT"),
)  # fmt: skip


def connection(version: bytes, *values: str) -> tuple[bytes, HttpResponse]:
    lines = [b"Connection: " + value.encode() for value in values]
    fields = [("connection", value) for value in values]
    return head(*lines, b"Content-Length: 0", start=version + b" 200 OK"), ok(*fields, LENGTH_0)


# RFC 9112 9.3
PERSISTENCE = (
    *(
        Case(f"{version.decode()} with Connection {values}", *connection(version, *values), keep_alive)
        for version, values, keep_alive in (
            (b"HTTP/1.1", (), True),
            (b"HTTP/1.1", ("keep-alive",), True),
            (b"HTTP/1.1", ("Upgrade",), True),
            (b"HTTP/1.1", ("",), True),
            (b"HTTP/1.1", ("closed",), True),
            (b"HTTP/1.1", ("close",), False),
            (b"HTTP/1.1", ("Close",), False),
            (b"HTTP/1.1", ("keep-alive, close",), False),
            (b"HTTP/1.1", ("close ,\tkeep-alive",), False),
            (b"HTTP/1.1", ("keep-alive", "close"), False),
            (b"HTTP/1.0", (), False),
            (b"HTTP/1.0", ("keep-alive",), True),
            (b"HTTP/1.0", ("Keep-Alive",), True),
            (b"HTTP/1.0", ("x, keep-alive",), True),
            (b"HTTP/1.0", ("x", "keep-alive"), True),
            (b"HTTP/1.0", ("x",), False),
            (b"HTTP/1.0", ("",), False),
            (b"HTTP/1.0", ("Upgrade",), False),
            (b"HTTP/1.0", ("close",), False),
            (b"HTTP/1.0", ("keep-alive, close",), False),
        )
    ),
    Case("HTTP/1.0 until the connection closes", head(start=b"HTTP/1.0 200 OK") + b"hi", ok(body=b"hi"), until_close=True),
    Case("keep-alive without a length is until close", head(b"Connection: keep-alive") + b"hi", ok(("connection", "keep-alive"), body=b"hi"), until_close=True),
    Case("chunked and close", head(b"Connection: close", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", ok(("connection", "close"), CHUNKED)),
)  # fmt: skip

TRUNCATED = (
    Case("nothing at all", b"", ConnectionLost),
    Case("first byte only", b"H", ConnectionLost),
    Case("no empty line after the head", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", ConnectionLost),
)

CASES = (*COMPLETE, *STATUS_LINES, *FIELDS, *FRAMING, *CHUNKS, *INTERIM, *PERSISTENCE, *TRUNCATED)
