"""runtime/web/compression.py: whether an answer is compressed, by which coding, and what its head says then.

A rule is a row of a table. What is coded is decoded by the libraries that clients have.
"""

from __future__ import annotations

import _ctypes
import gzip
import random
import string
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.events.response import text_of
from runtime.messages import HttpRequest, HttpResponse, header_values
from runtime.web.compression import SMALLEST, Coding, Compressor, available, choose

if TYPE_CHECKING:
    from runtime.messages import Headers

ROOT = Path(__file__).parents[2]
CODINGS = {coding.name: coding for coding in available()}
ALL = ("zstd", "br", "gzip")
PAGE = ("<p>Grüße aus München, and a line that repeats itself.</p>\n" * 100).encode()
NOISE = random.Random(1).randbytes(5000)
DENSE = "".join(random.Random(2).choices(string.ascii_letters + string.digits + "+/", k=5000)).encode()

# ---- decoding as clients do -----------------------------------------------------------------------------------------


def decoder_of_zstd() -> Callable[[bytes], bytes]:
    return zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj().decompress


def decoder_of_brotli() -> Callable[[bytes], bytes]:
    """``process`` gives 32 KB at a time and keeps the rest back until it is called again."""
    decoder = brotli.Decompressor()

    def decode(data: bytes) -> bytes:
        decoded = piece = decoder.process(data)
        while piece and not decoder.is_finished():
            piece = decoder.process(b"")
            decoded += piece
        return decoded

    return decode


def decoder_of_gzip() -> Callable[[bytes], bytes]:
    return zlib.decompressobj(31).decompress


DECODERS = {"zstd": decoder_of_zstd, "br": decoder_of_brotli, "gzip": decoder_of_gzip}
WHOLE = {
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),  # fails unless the frame says how long it is
    "br": brotli.decompress,
    "gzip": gzip.decompress,
}


@pytest.fixture(params=ALL)
def coding(request: pytest.FixtureRequest) -> Coding:
    if request.param not in CODINGS:
        pytest.skip("zstd needs libzstd.so.1, which this machine does not have")
    return CODINGS[request.param]


# ---- the codings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"x", b"\0" * 500_000, PAGE, NOISE * 100], ids=["none", "one", "0", "page", "noise"]
)
def test_a_whole_body_is_decoded_to_what_it_was(coding: Coding, body: bytes) -> None:
    assert WHOLE[coding.name](coding.encode(body)) == body


@pytest.mark.parametrize("name", CODINGS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_the_pieces_each_can_be_decoded_as_soon_as_it_was_fed(name: str, data: st.DataObject) -> None:
    chunks = st.one_of(st.binary(max_size=200), st.sampled_from([b"", PAGE, NOISE, b"\0" * 300_000]))
    pieces = data.draw(st.lists(chunks, max_size=12))
    encoder, decode = CODINGS[name].encoder(), DECODERS[name]()
    for piece in pieces:
        coded = encoder.feed(piece)
        assert bool(coded) == bool(piece)
        assert decode(coded) == piece
    assert decode(encoder.finish()) == b""


def test_a_large_piece_is_decoded_at_once(coding: Coding) -> None:
    """Larger than any buffer, of data that does not shrink."""
    piece = random.Random(3).randbytes(1_000_000)
    encoder, decode = coding.encoder(), DECODERS[coding.name]()
    assert decode(encoder.feed(piece)) == piece
    assert decode(encoder.feed(b"end")) == b"end"


def test_a_streamed_body_is_complete_only_with_its_end(coding: Coding) -> None:
    encoder = coding.encoder()
    coded = b"".join(map(encoder.feed, [PAGE, b"", NOISE])) + encoder.finish()
    if coding.name == "zstd":  # one frame whose length was not known
        decode = zstandard.ZstdDecompressor().decompressobj()
        assert decode.decompress(coded) == PAGE + NOISE
        assert decode.eof
    else:
        assert WHOLE[coding.name](coded) == PAGE + NOISE


def test_encoders_do_not_disturb_each_other(coding: Coding) -> None:
    """Several answers may be on their way at a time."""
    encoders = [coding.encoder() for _ in range(3)]
    coded = [encoder.feed(bytes([number]) * 2000) for number, encoder in enumerate(encoders)]
    coded = [start + encoder.finish() for start, encoder in zip(coded, encoders, strict=True)]
    assert [DECODERS[coding.name]()(whole) for whole in coded] == [bytes([number]) * 2000 for number in range(3)]


def test_whole_bodies_are_coded_by_several_threads_at_a_time(coding: Coding) -> None:
    bodies = [bytes([number]) * 200_000 + random.Random(number).randbytes(200_000) for number in range(8)]
    with ThreadPoolExecutor(4) as threads:
        coded = list(threads.map(coding.encode, bodies * 5))
    assert [WHOLE[coding.name](body) for body in coded] == bodies * 5


def test_an_encoder_may_be_given_up_in_the_middle(coding: Coding) -> None:
    for _ in range(100):
        coding.encoder().feed(PAGE)


def test_the_same_body_gives_the_same_octets(coding: Coding) -> None:
    """No time, no name of a system: a cache may compare."""
    assert coding.encode(PAGE) == coding.encode(PAGE)


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> list[str]:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    return [coding.name for coding in available()]


def test_the_fastest_coding_comes_first() -> None:
    assert [coding.name for coding in available()] == [name for name in ALL if name in CODINGS]


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        (["brotli"], ["zstd", "gzip"]),
        (["runtime.web.libzstd"], ["br", "gzip"]),
        (["runtime.web.libzstd", "brotli", "zlib"], []),
    ],
    ids=["no brotli in the layer", "no _ctypes", "nothing at all"],
)
def test_what_cannot_be_imported_is_not_offered(
    missing: list[str], left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert without(monkeypatch, *missing) == [name for name in left if name in CODINGS]


def test_without_libzstd_there_is_no_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    def dlopen(name: str, mode: int) -> int:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "runtime.web.libzstd", raising=False)
    monkeypatch.setattr(_ctypes, "dlopen", dlopen)
    assert [coding.name for coding in available()] == ["br", "gzip"]


def test_what_the_codings_need_is_loaded_when_they_are_asked_for_and_little_else() -> None:
    """Python modules cost milliseconds of a cold start; ``ctypes`` alone 3."""
    code = (
        f"import sys; sys.path[:0] = {[str(ROOT), *(path for path in sys.path if 'site-packages' in path)]!r};"
        "before = set(sys.modules); import runtime.web.compression as c; loaded = set(sys.modules) - before;"
        "c.available();"
        "print(*loaded, end='/'); print(*set(sys.modules) - before - loaded)"
    )
    done = subprocess.run([sys.executable, "-ISB", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    at_import, later = ({name for name in names.split() if "runtime" not in name} for names in done.stdout.split("/"))
    assert at_import <= {"__future__", "_collections", "_socket"}  # the last for every start, by runtime/standard.py
    assert later <= {"_ctypes", "_brotli", "brotli", "zlib"}


# ---- what the client accepts ----------------------------------------------------------------------------------------


def coding_named(name: str) -> Coding:
    return Coding(name, bytes, lambda: pytest.fail("nothing is encoded here"))


class Accepts(NamedTuple):
    rule: str
    accept_encoding: str
    chosen: str | None
    takes_identity: bool = True
    codings: Sequence[str] = ALL


ACCEPTS = (
    Accepts("no field: the client may not be able to decode", "", None),
    Accepts("one coding", "gzip", "gzip"),
    Accepts("an unknown coding", "deflate", None),
    Accepts("a browser of today", "gzip, deflate, br, zstd", "zstd"),
    Accepts("a browser of yesterday", "gzip, deflate, br", "br"),
    Accepts("CloudFront", "br,gzip", "br"),
    Accepts("the order in the field means nothing", "zstd, gzip", "zstd"),
    Accepts("equal weights: our order", "gzip;q=0.5, br;q=0.5, zstd;q=0.5", "zstd"),
    Accepts("more weight comes before our order", "gzip;q=1.0, br;q=0.8, zstd;q=0.3", "gzip"),
    Accepts("no weight means 1", "zstd;q=0.999, gzip", "gzip"),
    Accepts("q=0 excludes", "zstd;q=0, br;q=0.000, gzip;q=0.001", "gzip"),
    Accepts("all excluded", "gzip;q=0", None),
    Accepts("what is not there cannot be chosen", "zstd, br;q=0.5", "br", codings=("br", "gzip")),
    Accepts("nothing is there", "gzip", None, codings=()),
    Accepts("case means nothing", "GZip;Q=0.5", "gzip"),
    Accepts("blanks and tabs", " gzip\t;\tq=0.5 ,br ; q=0.4", "gzip"),
    Accepts("x-gzip is gzip", "x-gzip", "gzip"),
    Accepts("an asterisk is taken as gzip", "*", "gzip"),
    Accepts("an asterisk is what is not listed", "gzip;q=0, *", None),
    Accepts("an asterisk with a weight", "*;q=0.5, br;q=0.4", "gzip"),
    Accepts("an asterisk beside a listed coding", "br, *;q=0.1", "br"),
    Accepts("identity is preferred", "identity, gzip;q=0.5", None),
    Accepts("identity is listed with the same weight", "gzip, identity", "gzip"),
    Accepts("identity comes last when it is not listed", "gzip;q=0.001", "gzip"),
    Accepts("identity is all", "identity", None),
    Accepts("identity is refused", "gzip, identity;q=0", "gzip", takes_identity=False),
    Accepts("identity is refused by the asterisk", "gzip, *;q=0", "gzip", takes_identity=False),
    Accepts("identity is listed, so the asterisk is not about it", "identity;q=0.5, *;q=0", None),
    Accepts("all is refused: nothing is left but to send it as it is", "*;q=0", None, takes_identity=False),
    Accepts("refused and accepted: refused", "gzip, gzip;q=0", None),
    Accepts("two weights: the lower", "br;q=0.9, gzip;q=0.5, br;q=0.1", "gzip"),
    Accepts("malformed: empty items", ",, gzip ,", "gzip"),
    Accepts("malformed: a weight above 1", "br;q=1.001, gzip;q=0.1", "gzip"),
    Accepts("malformed: four digits", "br;q=0.1234, gzip;q=0.1", "gzip"),
    Accepts("malformed: no digit before the point", "br;q=.9, gzip;q=0.1", "gzip"),
    Accepts("malformed: no number", "br;q=high, gzip;q=0.1", "gzip"),
    Accepts("malformed: no weight", "br;q=, gzip;q=0.1", "gzip"),
    Accepts("malformed: another parameter", "br;level=5, gzip;q=0.1", "gzip"),
    Accepts("malformed: an empty parameter", "br;, gzip;q=0.1", "gzip"),
    Accepts("malformed: two words", "br gzip, gzip;q=0.1", "gzip"),
    Accepts("malformed: digits of another script", "br;q=0.٩, gzip;q=0.1", "gzip"),
    Accepts("malformed: nothing is left", ";q=1, br=1", None),
    Accepts("a point without digits is allowed", "br;q=1., gzip", "br"),
)


@pytest.mark.parametrize("case", ACCEPTS, ids=lambda case: case.rule)
def test_the_coding_is_the_one_that_the_client_prefers(case: Accepts) -> None:
    coding, takes_identity = choose(case.accept_encoding, [coding_named(name) for name in case.codings])
    assert (coding and coding.name, takes_identity) == (case.chosen, case.takes_identity)


@given(st.text())
def test_any_field_value_is_read(accept_encoding: str) -> None:
    choose(accept_encoding, [coding_named(name) for name in ALL])


# ---- which answers --------------------------------------------------------------------------------------------------

HTML = ("content-type", "text/html; charset=utf-8")
ACCEPT = ("accept-encoding", "gzip")
REFUSE_IDENTITY = ("accept-encoding", "identity;q=0")
NO_TRANSFORM = ("cache-control", "no-transform")
WASM = ("content-type", "application/wasm")
CODED, VARIED, LEFT = "is coded", "only varies", "is left alone"


class Answer(NamedTuple):
    """``buffered`` and ``streamed``: what becomes of it in each mode."""

    rule: str
    buffered: str
    streamed: str
    headers: Headers = (HTML,)
    body: bytes = PAGE
    status: int = 200
    method: str = "GET"
    request: Headers = (ACCEPT,)


def typed(content_type: str, buffered: str = CODED, streamed: str = CODED, body: bytes = PAGE) -> Answer:
    return Answer(f"type: {content_type or 'none'}", buffered, streamed, [("content-type", content_type)], body)


TYPES_CODED = (
    *("text/html", "text/plain", "text/css", "text/csv", "text/javascript", "text/markdown", "text/anything"),
    *("TEXT/HTML", "text/html;charset=utf-8", " text/html ; x=y"),
    *("application/json", "application/javascript", "application/xml", "application/x-javascript", "application/yaml"),
    *("application/ld+json", "application/problem+json; charset=utf-8", "application/vnd.api+json"),
    *("application/xhtml+xml", "application/rss+xml", "application/atom+xml", "application/manifest+json"),
    *("application/x-ndjson", "application/x-www-form-urlencoded", "application/graphql-response+json"),
    *("application/wasm", "font/ttf", "font/otf", "application/vnd.ms-fontobject", "application/x-font-ttf"),
    *("image/svg+xml", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon"),
    *("application/vnd.apple.mpegurl", "application/x-protobuf", "application/vnd.mapbox-vector-tile"),
)
TYPES_LEFT = (
    *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/anything"),
    *("video/mp4", "audio/mpeg", "audio/ogg", "font/woff", "font/woff2", "application/font-woff2"),
    *("application/zip", "application/gzip", "application/x-7z-compressed", "application/pdf", "application/epub+zip"),
    *("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/octet-stream"),
    *("application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc-web-text"),
    *("multipart/form-data; boundary=x", "application/jsonx", "textual/html", "json", "", "nonsense", "a+json+zip"),
)

ANSWERS = (
    Answer("an ordinary page", CODED, CODED),
    *(typed(content_type) for content_type in TYPES_CODED),
    *(typed(content_type, LEFT, LEFT) for content_type in TYPES_LEFT),
    typed("text/event-stream", LEFT, CODED),
    typed("text/event-stream; charset=utf-8", LEFT, CODED),
    Answer("type: there is no such field", LEFT, LEFT, headers=[]),
    Answer("error pages too", CODED, CODED, status=404),
    Answer("POST too", CODED, CODED, method="POST"),
    # What the client accepts.
    Answer("the client accepts nothing", VARIED, VARIED, request=[]),
    Answer("the client accepts nothing that we have", VARIED, VARIED, request=[("accept-encoding", "deflate")]),
    Answer("accepted in the second of two lines", CODED, CODED, request=[("accept-encoding", "deflate"), ACCEPT]),
    Answer("refused in the second of two lines", VARIED, VARIED, request=[ACCEPT, ("accept-encoding", "gzip;q=0")]),
    # Is there a whole body?
    Answer("the answer to HEAD", VARIED, VARIED, body=b"", method="HEAD"),
    Answer("the answer to HEAD of something small", LEFT, LEFT, [HTML, ("content-length", "9")], b"", method="HEAD"),
    Answer("204", LEFT, LEFT, body=b"", status=204),
    Answer("205", LEFT, LEFT, status=205),
    Answer("304", LEFT, LEFT, body=b"", status=304),
    Answer("206", LEFT, LEFT, status=206),
    Answer("a part of it, whatever the status", LEFT, LEFT, [HTML, ("content-range", "bytes 0-4/10")]),
    Answer("416", LEFT, LEFT, [HTML, ("content-range", "bytes */10")], status=416),
    # Has it been encoded?
    Answer("encoded already", LEFT, LEFT, [HTML, ("content-encoding", "br")]),
    Answer(
        "encoded already, twice", LEFT, LEFT, [HTML, ("content-encoding", "identity"), ("content-encoding", "gzip")]
    ),
    Answer("encoded by something unknown", LEFT, LEFT, [HTML, ("content-encoding", "x-mine")]),
    Answer("encoded by identity", CODED, CODED, [HTML, ("content-encoding", "Identity ")]),
    Answer("encoded by an empty field", CODED, CODED, [HTML, ("content-encoding", "")]),
    # Is it forbidden?
    Answer("no-transform", LEFT, LEFT, [HTML, NO_TRANSFORM]),
    Answer("no-transform among others", LEFT, LEFT, [HTML, ("cache-control", "public, No-Transform , max-age=60")]),
    Answer("no-transform in the second line", LEFT, LEFT, [HTML, ("cache-control", "a"), NO_TRANSFORM]),
    Answer("no-transform by the client", LEFT, LEFT, request=[ACCEPT, NO_TRANSFORM]),
    Answer("other directives", CODED, CODED, [HTML, ("cache-control", "no-cache, x-no-transform")]),
    # Is it worth it?
    Answer("nothing", LEFT, CODED, body=b""),
    Answer("nothing, and that is known", LEFT, LEFT, [HTML, ("content-length", "0")], b""),
    Answer("one octet too small", LEFT, LEFT, [HTML, ("content-length", str(SMALLEST - 1))], b"x" * (SMALLEST - 1)),
    Answer("just large enough", CODED, CODED, [HTML, ("content-length", str(SMALLEST))], b"x" * SMALLEST),
    Answer("a length that is none", CODED, CODED, [HTML, ("content-length", "-5")]),
    Answer("text that would be larger as base64", VARIED, CODED, body=DENSE),
    Answer("noise that claims to be text", VARIED, CODED, body=NOISE),
    Answer("what is base64 anyway", CODED, CODED, [WASM], DENSE),
    Answer("what is base64 anyway, and does not shrink", VARIED, CODED, [WASM], NOISE),
    # A client that refuses a body without a coding.
    Answer(
        "small, identity refused",
        CODED,
        CODED,
        [HTML, ("content-length", "5")],
        b"small",
        request=[ACCEPT, REFUSE_IDENTITY],
    ),
    Answer("noise, identity refused", CODED, CODED, body=NOISE, request=[ACCEPT, REFUSE_IDENTITY]),
    Answer("nothing, identity refused", LEFT, CODED, body=b"", request=[ACCEPT, REFUSE_IDENTITY]),
    Answer("forbidden, identity refused", LEFT, LEFT, [HTML, NO_TRANSFORM], request=[ACCEPT, REFUSE_IDENTITY]),
    Answer("all refused", VARIED, VARIED, request=[("accept-encoding", "*;q=0")]),
)
GZIP = Compressor([CODINGS["gzip"]])


def request_of(case: Answer) -> HttpRequest:
    return HttpRequest(case.method, "/", case.request)


def outcome(before: HttpResponse, after: HttpResponse) -> str:
    if after == before:
        return LEFT
    if "gzip" in header_values(after.headers, "content-encoding"):
        return CODED
    assert after == before._replace(headers=[*before.headers, ("vary", "Accept-Encoding")])
    return VARIED


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case.rule)
def test_a_buffered_answer_is_coded_or_varies_or_is_left_alone(case: Answer) -> None:
    before = HttpResponse(case.status, "Reason", case.headers, case.body)
    after = GZIP.buffered(request_of(case), before)
    assert outcome(before, after) == case.buffered
    assert (after.status, after.reason) == (case.status, "Reason")
    assert (gzip.decompress(after.body) if case.buffered == CODED else after.body) == case.body


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case.rule)
def test_a_streamed_answer_is_coded_or_varies_or_is_left_alone(case: Answer) -> None:
    before = HttpResponse(case.status, "Reason", case.headers)
    after, encoder = GZIP.streamed(request_of(case), before)
    assert outcome(before, after) == case.streamed
    assert (after.status, after.reason, after.body) == (case.status, "Reason", b"")
    assert (encoder is not None) == (case.streamed == CODED)
    if encoder:
        assert gzip.decompress(encoder.feed(case.body) + encoder.finish()) == case.body


@pytest.mark.parametrize("content_type", TYPES_CODED)
def test_the_bar_is_higher_for_types_that_would_travel_as_text(content_type: str) -> None:
    """That is decided elsewhere, and what is base64 here has to be base64 there."""
    headers = [("content-type", content_type)]
    before = HttpResponse(200, "", headers, DENSE)
    assert outcome(before, GZIP.buffered(request_of(ANSWERS[0]), before)) == (
        VARIED if text_of(headers, DENSE) else CODED
    )


@pytest.mark.parametrize("name", CODINGS)
def test_each_coding_is_named_in_the_answer(name: str) -> None:
    request = HttpRequest("GET", "/", [("accept-encoding", name)])
    answer = Compressor(available()).buffered(request, HttpResponse(200, "OK", [HTML], PAGE))
    assert header_values(answer.headers, "content-encoding") == [name]
    assert WHOLE[name](answer.body) == PAGE


def test_without_any_coding_nothing_is_coded() -> None:
    after = Compressor([]).buffered(request_of(ANSWERS[0]), HttpResponse(200, "OK", [HTML], PAGE))
    assert after == HttpResponse(200, "OK", [HTML, ("vary", "Accept-Encoding")], PAGE)


# ---- what the head says ---------------------------------------------------------------------------------------------

SIZE = len(CODINGS["gzip"].encode(PAGE))
ENCODED = ("content-encoding", "gzip")
VARY = ("vary", "Accept-Encoding")


class Head(NamedTuple):
    """The fields of an answer beside its type, and what they become when it is coded, beside its coding."""

    rule: str
    before: str
    after: str = "vary: Accept-Encoding"
    streamed: str | None = None  # where that differs


HEADS = (
    Head("nothing else", ""),
    Head(
        "the length is the new one",
        f"content-length: {len(PAGE)} | x-a: 1",
        f"content-length: {SIZE} | x-a: 1 | vary: Accept-Encoding",
        streamed="x-a: 1 | vary: Accept-Encoding",
    ),
    Head("identity makes room", "content-encoding: identity"),
    Head("Vary is extended", "vary: Origin", "vary: Origin, Accept-Encoding"),
    Head(
        "Vary is extended in its last line", "vary: a | vary: b | x-c: d", "vary: a | vary: b, Accept-Encoding | x-c: d"
    ),
    Head("Vary names it already", "vary: Origin,accept-ENCODING , Cookie", "vary: Origin,accept-ENCODING , Cookie"),
    Head("Vary names it in another line", "vary: Accept-Encoding | vary: a", "vary: Accept-Encoding | vary: a"),
    Head("Vary names everything", "vary: *", "vary: *"),
    Head("Vary names everything and more", "vary: Origin, *", "vary: Origin, *"),
    Head("Vary is empty", "vary: "),
    Head("Vary names something like it", "vary: x-accept-encoding", "vary: x-accept-encoding, Accept-Encoding"),
    Head("a strong ETag is weakened", 'etag: "v1"', 'etag: W/"v1" | vary: Accept-Encoding'),
    Head("a weak ETag stays", 'etag: W/"v1"', 'etag: W/"v1" | vary: Accept-Encoding'),
    Head("an ETag that is none stays", "etag: v1", "etag: v1 | vary: Accept-Encoding"),
    Head("parts cannot be asked for", "accept-ranges: bytes"),
    Head("checksums go", "content-md5: a | digest: b | content-digest: c | repr-digest: d"),
    Head(
        "what is about something else stays",
        "unencoded-digest: a | want-repr-digest: b",
        "unencoded-digest: a | want-repr-digest: b | vary: Accept-Encoding",
    ),
    Head(
        "order and repeated fields stay",
        "x-b: 1 | set-cookie: a=1 | x-a: 2 | set-cookie: b=2 | x-b: 3",
        "x-b: 1 | set-cookie: a=1 | x-a: 2 | set-cookie: b=2 | x-b: 3 | vary: Accept-Encoding",
    ),
)
VARY_HEADS = [case for case in HEADS if case.rule.startswith("Vary")]


def fields(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (line.partition(": ") for line in text.split(" | ") if line)]


@pytest.mark.parametrize("case", HEADS, ids=lambda case: case.rule)
def test_the_fields_of_a_coded_answer(case: Head) -> None:
    request = HttpRequest("GET", "/", [ACCEPT])
    headers = [HTML, *fields(case.before)]
    buffered = GZIP.buffered(request, HttpResponse(200, "OK", headers, PAGE))
    assert buffered.headers == [HTML, *fields(case.after), ENCODED]
    streamed, _ = GZIP.streamed(request, HttpResponse(200, "OK", headers))
    expected = case.after if case.streamed is None else case.streamed
    assert streamed.headers == [HTML, *fields(expected), ENCODED]


@pytest.mark.parametrize("case", VARY_HEADS, ids=lambda case: case.rule)
def test_an_answer_that_is_not_coded_for_this_client_says_that_it_varies(case: Head) -> None:
    request = HttpRequest("GET", "/", [])
    before = HttpResponse(200, "OK", [HTML, *fields(case.before)], PAGE)
    after = GZIP.buffered(request, before)
    assert after == before._replace(headers=[HTML, *fields(case.after)])
    assert GZIP.streamed(request, before) == (after, None)


class NotModified(NamedTuple):
    rule: str
    held: str
    etag: str
    sent: str


NOT_MODIFIED = (
    NotModified("the client holds what was coded", 'W/"v1"', '"v1"', 'W/"v1"'),
    NotModified("among others", '"v0", W/"v1"', '"v1"', 'W/"v1"'),
    NotModified("the client holds what was not coded", '"v1"', '"v1"', '"v1"'),
    NotModified("another version", 'W/"v0"', '"v1"', '"v1"'),
    NotModified("the app's own tag is weak", 'W/"v1"', 'W/"v1"', 'W/"v1"'),
)


@pytest.mark.parametrize("case", NOT_MODIFIED, ids=lambda case: case.rule)
def test_not_modified_has_the_tag_of_the_answer_that_the_client_holds(case: NotModified) -> None:
    """Else a cache would not find the answer to keep (RFC 9111 4.3.4)."""
    request = HttpRequest("GET", "/", [ACCEPT, ("if-none-match", case.held)])
    after = GZIP.buffered(request, HttpResponse(304, "Not Modified", [("etag", case.etag)]))
    expected = [("etag", case.sent)] + ([VARY] if case.sent != case.etag else [])
    assert after == HttpResponse(304, "Not Modified", expected)
    assert GZIP.streamed(request, HttpResponse(304, "Not Modified", [("etag", case.etag)])) == (after, None)


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["vary", "etag", "content-type", "content-length", "content-encoding", "cache-control", "x-a"]),
        st.one_of(st.text(), st.sampled_from(["text/html", "*", "0", "99999", '"v"', "no-transform", "identity"])),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(FIELDS, st.binary(max_size=3000), st.sampled_from(["GET", "HEAD"]), st.sampled_from([200, 204, 206, 304, 500]))
def test_any_answer_gets_through_without_loss(headers: Headers, body: bytes, method: str, status: int) -> None:
    request = HttpRequest(method, "/", [ACCEPT])
    before = HttpResponse(status, "", headers, body)
    after = GZIP.buffered(request, before)
    is_coded = len(header_values(after.headers, "content-encoding")) > 0 and after.body != body
    assert (gzip.decompress(after.body) if is_coded else after.body) == body
    assert [line for line in after.headers if line[0] == "x-a"] == [line for line in headers if line[0] == "x-a"]
