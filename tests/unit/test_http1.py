"""HTTP/1.1, bytes to values and back. One feeder reads every case whole, byte by byte and in all kinds of pieces."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import BodyTooLarge, ConnectionLost, ExchangeError, ProtocolError
from runtime.http1 import ResponseReader, render_head
from runtime.messages import HttpRequest, HttpResponse

from .http1_cases import CASES, EMPTY, FIVE, Case, chunked, head

Outcome = HttpResponse | type[ExchangeError]
# Up to this length a case is cut in two at every place; above, at places drawn by chance (the same ones every time).
SHORT = 150
LONG = 150_000
DELIMITED = [case for case in CASES if isinstance(case.expected, HttpResponse) and not case.until_close]


def ids(case: Case) -> str:
    return case.name


def read(reader: ResponseReader, pieces: list[bytes]) -> Outcome:
    """The answer in ``pieces``, after which the stream ends; or the class of the error."""
    try:
        for piece in pieces:
            if (response := reader.feed(piece)) is not None:
                return response
        return reader.feed_eof()
    except ExchangeError as error:
        return type(error)


def byte_by_byte(wire: bytes) -> list[bytes]:
    """Of a very long one the end only, where its limits are."""
    start = max(0, len(wire) - LONG)
    return [wire[:start], *(wire[at : at + 1] for at in range(start, len(wire)))]


def ways_to_split(wire: bytes) -> Iterator[list[bytes]]:
    yield [wire]
    yield byte_by_byte(wire)
    if len(wire) <= SHORT:
        yield from ([wire[:at], wire[at:]] for at in range(1, len(wire)))
        return
    chance = random.Random(len(wire))
    for pieces in (2, 3, 20):
        cuts = [0, *sorted(chance.randrange(len(wire)) for _ in range(pieces - 1)), len(wire)]
        yield [wire[a:b] for a, b in pairwise(cuts)]


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_an_answer_is_the_same_however_its_bytes_are_split(case: Case) -> None:
    for pieces in ways_to_split(case.wire):
        reader = ResponseReader(case.method, case.max_body)
        outcome = read(reader, pieces)
        if outcome != case.expected:  # not an assert: a comparison of megabytes takes minutes to explain
            pytest.fail(f"{len(pieces)} pieces became {str(outcome)[:1000]}")
        assert reader.started == bool(case.wire)
        assert reader.keep_alive == case.keep_alive


@pytest.mark.parametrize("case", DELIMITED, ids=ids)
@pytest.mark.parametrize("surplus", [b"\0", b"\r\n", EMPTY], ids=["a byte", "an empty line", "another answer"])
def test_bytes_after_an_answer_are_no_part_of_it_and_end_the_connection(case: Case, surplus: bytes) -> None:
    for pieces in ([case.wire + surplus], [case.wire[:-1], case.wire[-1:] + surplus]):
        reader = ResponseReader(case.method, case.max_body)
        assert read(reader, pieces) == case.expected
        assert not reader.keep_alive


@pytest.mark.parametrize("case", [case for case in DELIMITED if len(case.wire) <= 5000], ids=ids)
def test_an_answer_cut_off_anywhere_is_a_lost_connection(case: Case) -> None:
    complete = ResponseReader(case.method, case.max_body)
    ends_at = next(at for at in range(len(case.wire)) if complete.feed(case.wire[at : at + 1]) is not None)
    for at in range(ends_at):
        assert read(ResponseReader(case.method, case.max_body), [case.wire[:at]]) is ConnectionLost


def test_a_body_until_close_cut_off_in_its_head_is_a_lost_connection() -> None:
    wire = head(b"A: b")
    for at in range(len(wire)):
        assert read(ResponseReader("GET"), [wire[:at]]) is ConnectionLost


def test_started_tells_a_silent_peer_from_one_that_said_something() -> None:
    """A request may be sent again only when no byte came, and an interim answer counts."""
    reader = ResponseReader("GET")
    assert not reader.started
    reader.feed(b"")
    assert not reader.started
    reader.feed(head(start=b"HTTP/1.1 100 Continue"))
    assert reader.started


def test_missing_is_the_rest_of_a_body_of_known_length() -> None:
    reader = ResponseReader("GET")
    seen = [reader.missing]
    for piece in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5\r\n\r\n", b"he", b"ll"):
        assert reader.feed(piece) is None
        seen.append(reader.missing)
    assert seen == [0, 0, 5, 3, 1]
    assert reader.feed(b"o") == HttpResponse(200, "OK", [("content-length", "5")], b"hello")
    assert reader.missing == 0


@pytest.mark.parametrize("wire", [chunked(b"5\r\nhe"), head() + b"he"], ids=["chunked", "until close"])
def test_missing_is_0_when_nobody_knows(wire: bytes) -> None:
    reader = ResponseReader("GET")
    assert reader.feed(wire) is None
    assert reader.missing == 0


def test_a_body_in_many_pieces_is_put_together() -> None:
    body = random.Random(1).randbytes(3_000_000)
    reader = ResponseReader("GET")
    wire = head(b"Content-Length: %d" % len(body)) + body
    response = read(reader, [wire[at : at + 1000] for at in range(0, len(wire), 1000)])
    assert response == HttpResponse(200, "OK", [("content-length", "3000000")], body)


def test_too_large_a_body_is_refused_with_its_size_before_it_is_read() -> None:
    with pytest.raises(BodyTooLarge) as announced:
        ResponseReader("GET", 1000).feed(head(b"Content-Length: 1001"))
    assert (announced.value.size, announced.value.limit) == (1001, 1000)
    with pytest.raises(BodyTooLarge) as chunk:
        ResponseReader("GET", 1000).feed(chunked(b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n"))
    assert (chunk.value.size, chunk.value.limit) == (1001, 1000)


def test_names_without_end_are_not_remembered() -> None:
    """An app may make up a name for each answer; what is kept of them is bounded."""
    from runtime import http1

    for number in range(2000):
        reader = ResponseReader("GET")
        name = f"x-{number}"
        response = reader.feed(head(name.encode() + b": a", b"Content-Length: 0", start=b"HTTP/1.1 200 %d" % number))
        assert response == HttpResponse(200, str(number), [(name, "a"), ("content-length", "0")])
    assert len(http1._FIELD_NAMES) <= 500
    assert len(http1._STATUS_LINES) <= 500
    assert 0 < len(http1._USUAL_HEADS) <= 64


def outcome(method: str, wire: bytes, max_body: int | None = None) -> Outcome:
    return read(ResponseReader(method, max_body), [wire])


def test_what_is_remembered_of_a_head_does_not_depend_on_what_it_answered() -> None:
    """The method and the limit belong to the exchange; only what the octets say by themselves may be kept."""
    ambiguous = head(b"Transfer-Encoding: chunked", b"Content-Length: 5")
    five = head(b"Content-Length: 5", b"X-Same: 1")
    fields = [("content-length", "5"), ("x-same", "1")]
    for _ in range(2):
        assert isinstance(outcome("HEAD", ambiguous), HttpResponse)
        assert outcome("GET", ambiguous) is ProtocolError
        assert outcome("GET", five, 4) is BodyTooLarge
        assert outcome("GET", five + b"hello", 5) == HttpResponse(200, "OK", fields, b"hello")
        assert outcome("HEAD", five, 4) == HttpResponse(200, "OK", fields)
        assert outcome("CONNECT", five) is ProtocolError


def test_the_fields_of_an_answer_are_its_own() -> None:
    """A hook may add to the list that it is given; the next answer with the same head has another."""
    for _ in range(2):
        response = ResponseReader("GET").feed(head(b"Content-Length: 0", b"X-Same: 2"))
        assert response is not None
        assert response.headers == [("content-length", "0"), ("x-same", "2")]
        assert isinstance(response.headers, list)
        response.headers.append(("x-added", "by a hook"))


# ---- anything at all -------------------------------------------------------------------------------------------------

LINES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 100", b"HTTP/1.0 304 x", b"Content-Length: 3", b"Content-Length: 4",
    b"Transfer-Encoding: chunked", b"Connection: close",
    b"A: b", b" c", b"\t", b"", b"", b"3", b"0", b"abc", b";x", b"A: \xe9", b"\xff", b"\r", b"\0",
]  # fmt: skip
ANYTHING = st.binary(max_size=80)
NEARLY_HTTP = st.lists(
    st.tuples(st.sampled_from(LINES), st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""])), max_size=12
).map(lambda lines: b"HTTP/1.1 200 OK\r\n" + b"".join(line + end for line, end in lines))
HEAD_AND_ANYTHING = st.builds(
    bytes.__add__,
    st.sampled_from([head(b"Transfer-Encoding: chunked"), head(b"Content-Length: 9"), head(), FIVE]),
    ANYTHING,
)


@settings(deadline=None, derandomize=True, max_examples=600)
@given(
    wire=ANYTHING | NEARLY_HTTP | HEAD_AND_ANYTHING,
    cuts=st.lists(st.integers(0, 200), max_size=5),
    method=st.sampled_from(["GET", "HEAD"]),
    max_body=st.sampled_from([None, 5]),
)
def test_any_bytes_are_an_answer_or_an_exchange_error_and_the_same_in_pieces(
    wire: bytes, cuts: list[int], method: str, max_body: int | None
) -> None:
    whole = read(ResponseReader(method, max_body), [wire])
    places = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[a:b] for a, b in pairwise(places)]
    assert read(ResponseReader(method, max_body), pieces) == whole
    assert read(ResponseReader(method, max_body), byte_by_byte(wire)) == whole


TOKENS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12).map(str.lower)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip)
FRAMING_NAMES = {"content-length", "transfer-encoding", "connection", "date", "server", "upgrade"}


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    status=st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    fields=st.lists(st.tuples(TOKENS.filter(lambda name: name not in FRAMING_NAMES), VALUES), max_size=8),
    body=st.lists(st.binary(min_size=1, max_size=40), max_size=4),
    is_chunked=st.booleans(),
)
def test_what_an_independent_implementation_sends_is_read_as_it_was_meant(
    status: int, fields: list[tuple[str, str]], body: list[bytes], is_chunked: bool
) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert isinstance(server.next_event(), h11.Request)
    assert isinstance(server.next_event(), h11.EndOfMessage)
    framing = ("transfer-encoding", "chunked") if is_chunked else ("content-length", str(sum(map(len, body))))
    sent = [*fields, framing]
    wire = server.send(h11.Response(status_code=status, reason="x", headers=sent))
    for piece in body:
        wire += server.send(h11.Data(data=piece)) or b""
    wire += server.send(h11.EndOfMessage()) or b""
    reader = ResponseReader("GET")
    response = reader.feed(wire)
    assert response is not None
    assert (response.status, response.reason, response.body) == (status, "x", b"".join(body))
    assert sorted(response.headers) == sorted(sent)
    assert reader.keep_alive


# ---- requests --------------------------------------------------------------------------------------------------------


def test_a_head_is_the_request_line_the_fields_and_an_empty_line() -> None:
    request = HttpRequest(
        "POST", "/a%20b?c=d", [("host", "app:8080"), ("x", "1"), ("x", "2"), ("y", "")], b"not in the head"
    )
    assert render_head(request) == b"POST /a%20b?c=d HTTP/1.1\r\nhost: app:8080\r\nx: 1\r\nx: 2\r\ny: \r\n\r\n"


def test_values_are_utf_8() -> None:
    request = HttpRequest("GET", "/", [("a", "čaj 茶 🍵\x85\u2028")])
    assert render_head(request) == "GET / HTTP/1.1\r\na: čaj 茶 🍵\x85\u2028\r\n\r\n".encode()


UNSAFE_STARTS = {
    "target ends the line": ("GET", "/ HTTP/1.1\r\nX: y\r\n\r\n"),
    "blank in the target": ("GET", "/a b"),
    "another version in the target": ("GET", "/ HTTP/1.0"),
    "CR in the target": ("GET", "/a\rb"),
    "LF in the target": ("GET", "/a\nb"),
    "NUL in the target": ("GET", "/a\0b"),
    "tab in the target": ("GET", "/a\tb"),
    "DEL in the target": ("GET", "/a\x7fb"),
    "target not ASCII": ("GET", "/é"),
    "surrogate in the target": ("GET", "/\ud800"),
    "target empty": ("GET", ""),
    "method empty": ("", "/"),
    "blank in the method": ("GET /x", "/"),
    "LF in the method": ("GET\n", "/"),
    "tab in the method": ("GE\tT", "/"),
    "method not ASCII": ("GÉT", "/"),
}
UNSAFE_FIELDS = {
    "CRLF in a value": ("a", "b\r\nc: d"),
    "CR in a value": ("a", "b\rc"),
    "LF in a value": ("a", "b\nc"),
    "CR and LF in a value, apart": ("a", "b\nc\rd"),
    "LF CR in a value": ("a", "b\n\r"),
    "NUL in a value": ("a", "b\0"),
    "surrogate in a value": ("a", "\udce9"),
    "CRLF in a name": ("a: b\r\nc", "d"),
    "colon in a name": ("a:b", "c"),
    "blank in a name": ("a b", "c"),
    "blank before a name": (" a", "b"),
    "blank after a name": ("transfer-encoding ", "chunked"),
    "tab after a name": ("transfer-encoding\t", "chunked"),
    "name empty": ("", "b"),
    "name not ASCII": ("ä", "b"),
    "NUL in a name": ("a\0", "b"),
}


@pytest.mark.parametrize(("method", "target"), UNSAFE_STARTS.values(), ids=UNSAFE_STARTS.keys())
def test_a_method_or_target_that_would_be_read_as_something_else_is_refused(method: str, target: str) -> None:
    with pytest.raises(ProtocolError):
        render_head(HttpRequest(method, target, [("host", "a")]))


@pytest.mark.parametrize("unsafe", UNSAFE_FIELDS.values(), ids=UNSAFE_FIELDS.keys())
def test_a_field_that_would_be_read_as_something_else_is_refused(unsafe: tuple[str, str]) -> None:
    with pytest.raises(ProtocolError):
        render_head(HttpRequest("GET", "/", [("host", "a"), unsafe, ("z", "1")]))


ANY_TEXT = st.text(max_size=8) | st.sampled_from(["a", "/", "GET", "\r\n", "a\r\nb: c"])


@settings(deadline=None, derandomize=True, max_examples=300)
@given(method=ANY_TEXT, target=ANY_TEXT, fields=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=3))
def test_a_rendered_head_has_as_many_lines_as_it_was_given(
    method: str, target: str, fields: list[tuple[str, str]]
) -> None:
    try:
        wire = render_head(HttpRequest(method, target, fields))
    except ProtocolError:
        return
    assert wire.endswith(b"\r\n\r\n")
    start, *lines = wire.removesuffix(b"\r\n\r\n").replace(b"\r", b"\n").replace(b"\n\n", b"\n").split(b"\n")
    assert start.decode() == f"{method} {target} HTTP/1.1"
    assert [tuple(line.decode().split(": ", 1)) for line in lines] == fields


@settings(deadline=None, derandomize=True, max_examples=150)
@given(fields=st.lists(st.tuples(TOKENS.filter(lambda name: name not in FRAMING_NAMES), VALUES), max_size=8))
def test_a_rendered_head_is_read_by_an_independent_implementation_as_it_was_meant(
    fields: list[tuple[str, str]],
) -> None:
    fields = [("host", "a"), *(pair for pair in fields if pair[0] != "host"), ("content-length", "2")]
    server = h11.Connection(h11.SERVER)
    server.receive_data(render_head(HttpRequest("POST", "/x?y", fields)) + b"hi")
    event = server.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (b"POST", b"/x?y")
    assert [(name.decode(), value.decode()) for name, value in event.headers] == fields
