"""Streamed answers through the gateway: the prelude as a pure function, the rest over real sockets."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse, IncompleteRead
from queue import Queue

import pytest

from local.environments.pool import Environments
from local.gateway.conversation import Served
from local.gateway.server import Gateway
from local.run import Options, function_environment, parse_arguments
from local.sources import SOURCES, STREAMING
from local.sources.streamed import HTTP_INTEGRATION, PRELUDE_LIMIT, beginning, from_unstreamed
from local.sources.values import Front, Malformed, Source

from .scripted_runtime import PATIENCE_S, ScriptedFunction, ScriptedRuntime, Upload

URL, REST = SOURCES["function-url"], SOURCES["rest"]
NULS = bytes(8)


def prelude(head: object, body: bytes = b"") -> bytes:
    return json.dumps(head).encode() + NULS + body


def test_function_urls_and_rest_apis_stream_and_nothing_else() -> None:
    assert STREAMING == ("function-url", "rest")


HEADS: dict[str, tuple[str, object, int, list[tuple[str, str]]]] = {
    "status and headers": (
        "function-url",
        {"statusCode": 201, "headers": {"Content-Type": "text/event-stream", "X-A": "b"}},
        201,
        [("content-type", "text/event-stream"), ("x-a", "b")],
    ),
    "no status is 200": ("function-url", {}, 200, []),
    "no status is 200, at a REST API too": ("rest", {}, 200, []),
    "no type stays without one": ("function-url", {"statusCode": 200, "headers": {}}, 200, []),
    "cookies": (
        "function-url",
        {"statusCode": 200, "cookies": ["a=1", "b=2"]},
        200,
        [("set-cookie", "a=1"), ("set-cookie", "b=2")],
    ),
    "cookies of a REST API": ("rest", {"statusCode": 200, "cookies": ["a=1"]}, 200, [("set-cookie", "a=1")]),
    "lists of a REST API": (
        "rest",
        {"statusCode": 200, "multiValueHeaders": {"Vary": ["a", "b"]}},
        200,
        [("vary", "a"), ("vary", "b")],
    ),
    "a REST API renames": (
        "rest",
        {"statusCode": 200, "headers": {"Server": "x"}},
        200,
        [("x-amzn-remapped-server", "x")],
    ),
    "framing is the front end's": (
        "function-url",
        {"statusCode": 200, "headers": {"Content-Length": "5", "Transfer-Encoding": "chunked", "Connection": "close"}},
        200,
        [],
    ),
}


@pytest.mark.parametrize(("source", "head", "status", "lines"), HEADS.values(), ids=HEADS)
def test_a_prelude_becomes_the_head(source: str, head: object, status: int, lines: list[tuple[str, str]]) -> None:
    start = beginning(SOURCES[source], HTTP_INTEGRATION, prelude(head, b"body"))
    assert start is not None
    assert (start.head.status, start.head.headers, start.rest) == (status, lines, b"body")


MALFORMED: dict[str, tuple[str, bytes, str]] = {
    "no JSON": ("function-url", b"<html>" + NULS, "prelude is not JSON.*<html>"),
    "no object": ("function-url", b"[]" + NULS, "no object"),
    "an unknown key": ("function-url", prelude({"statusCode": 200, "body": ""}), "takes no key but .* this has body"),
    "lists at a Function URL": ("function-url", prelude({"multiValueHeaders": {}}), "this has multiValueHeaders"),
    "an unknown key at a REST API": ("rest", prelude({"isBase64Encoded": False}), "this has isBase64Encoded"),
    "no final status": ("function-url", prelude({"statusCode": 100}), "statusCode 100"),
    "headers that are no object": ("function-url", prelude({"headers": []}), "headers is no object"),
    "a list for a value": ("function-url", prelude({"headers": {"a": ["b"]}}), "header a has a list"),
    "a control character": ("function-url", prelude({"headers": {"a": "b\n"}}), "no header field"),
    "cookies that are no list": ("function-url", prelude({"cookies": "a=1"}), "cookies is no list"),
    "no text at a REST API": ("rest", prelude({"headers": {"a": 1}}), "no string"),
    "more than a REST API takes": ("rest", prelude({"headers": {"a": "b" * 10_241}}), "10,241 bytes; rest takes"),
    "no delimiter in 16 KiB": ("function-url", b"{" + b" " * PRELUDE_LIMIT, "first 16,384 bytes"),
    "a delimiter that ends after them": ("rest", b"{}" + b" " * (PRELUDE_LIMIT - 9) + NULS, "first 16,384 bytes"),
}


@pytest.mark.parametrize(("source", "data", "words"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_prelude_is_named(source: str, data: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        beginning(SOURCES[source], HTTP_INTEGRATION, data)


def test_a_prelude_is_found_however_it_comes() -> None:
    data = prelude({"statusCode": 404}, bytes(3) + b"x")  # the body begins with NULs of its own
    starts = [beginning(URL, f"{HTTP_INTEGRATION.upper()}; x=y", data[:size]) for size in range(len(data) + 1)]
    first = len(data) - 4
    assert starts[:first] == [None] * first
    assert [start.rest for start in starts[first:] if start] == [b"", b"\0", b"\0\0", b"\0\0\0", b"\0\0\0x"]


def test_a_delimiter_may_end_with_the_last_of_the_first_bytes() -> None:
    assert beginning(URL, HTTP_INTEGRATION, b"{}" + b" " * (PRELUDE_LIMIT - 10) + NULS)


def test_a_function_url_hands_on_what_has_no_prelude_and_a_rest_api_does_not() -> None:
    start = beginning(URL, "text/csv", b"")
    assert start is not None
    assert (start.head.status, start.head.headers) == (200, [("content-type", "text/csv")])
    with pytest.raises(Malformed, match=r"'text/csv'; rest takes application/vnd\.awslambda"):
        beginning(REST, "text/csv", b"")


def test_an_answer_in_one_piece_reaches_the_client_of_a_function_url_as_it_is() -> None:
    payload = b'{"statusCode": 404, "body": "x"}'
    answer = from_unstreamed(URL, 200, payload)
    assert (answer.response.status, answer.response.body) == (200, payload)
    assert "its invoke mode response_stream?" in answer.problem[0]
    assert from_unstreamed(REST, 200, payload).response.status == 502


ERRORS = {
    "an error document": (200, b'{"errorType": "Function.No", "errorMessage": "x"}', "Function.No: x"),
    "a timeout": (200, b"Task timed out after 1.00 seconds", "Task timed out"),
    "an end during the start": (502, b"", "ended during its start"),
}


@pytest.mark.parametrize(("status", "payload", "words"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("source", STREAMING)
def test_an_error_before_the_stream_is_a_502(source: str, status: int, payload: bytes, words: str) -> None:
    answer = from_unstreamed(SOURCES[source], status, payload)
    assert answer.response.status == 502
    assert words in answer.problem[0]


# Over sockets


class Chain:
    """A gateway before a function whose runtime the test is."""

    def __init__(self, source: Source = URL, **more: float) -> None:
        self.functions: list[ScriptedFunction] = []
        self._more = more
        self.environments = Environments(self._start, 1)
        self.environments.prepare()
        self.served: Queue[Served] = Queue()
        front = Front(is_streaming=True)
        self.gateway = Gateway(self.environments.submit, on_served=self.served.put, source=source, front=front)

    def _start(self, number: int, is_alone: bool) -> ScriptedFunction:
        self.functions.append(ScriptedFunction(**self._more))  # type: ignore[arg-type]
        return self.functions[-1]

    @property
    def runtime(self) -> ScriptedRuntime:
        return self.functions[0].runtime

    def line(self) -> Served:
        return self.served.get(timeout=PATIENCE_S)

    def next_in_background(self) -> None:
        self.functions[0].in_background(self.runtime.next)


@contextmanager
def chain(source: Source = URL, **more: float) -> Iterator[Chain]:
    made = Chain(source, **more)
    with made.gateway, made.environments:
        yield made


@pytest.fixture
def url() -> Iterator[Chain]:
    with chain() as made:
        yield made


class Browser:
    """One connection that asks for ``/``."""

    def __init__(self, port: int, protocol: str = "1.1", method: str = "GET", receive_bytes: int = 0) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE_S)
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.connect(("127.0.0.1", port))
        self.method = method
        self.request = f"{method} / HTTP/{protocol}\r\nHost: localhost\r\n\r\n".encode()
        self.sock.sendall(self.request)
        self._responses: list[HTTPResponse] = []

    def response(self) -> HTTPResponse:
        """Its head; the body can be read."""
        self._responses.append(HTTPResponse(self.sock, method=self.method))
        self._responses[-1].begin()
        return self._responses[-1]

    def close(self) -> None:
        for response in self._responses:
            response.close()
        self.sock.close()


@contextmanager
def browsing(chain: Chain, **more: object) -> Iterator[Browser]:
    browser = Browser(chain.gateway.port, **more)  # type: ignore[arg-type]
    try:
        yield browser
    finally:
        browser.close()


@pytest.mark.parametrize("source", STREAMING)
def test_the_head_and_each_piece_arrive_before_the_next_is_made(source: str) -> None:
    with chain(SOURCES[source]) as made, browsing(made) as browser:
        upload = made.runtime.begin(made.runtime.take(), {"statusCode": 201, "headers": {"x-a": "b"}})
        response = browser.response()
        assert (response.status, response.headers["x-a"], response.headers["transfer-encoding"]) == (
            201,
            "b",
            "chunked",
        )
        for piece in (b"data: 1\n\n", b"data: 2\n\n"):
            upload.send(piece)
            assert response.read1() == piece
        upload.send(b"the rest, ")
        finish(made, upload)
        assert response.read() == b"the rest, "
        line = made.line()
    assert (line.status, line.body_bytes, line.environment, line.problem) == (201, 28, 1, ())
    assert line.first_byte_ms is not None
    assert 0 <= line.first_byte_ms <= line.duration_ms


def finish(made: Chain, upload: Upload) -> None:
    """The end of a stream, and the request for the next invocation."""

    def end() -> None:
        upload.end()
        made.runtime.next()

    made.functions[0].in_background(end)


def test_what_comes_with_the_prelude_comes_with_the_head(url: Chain) -> None:
    with browsing(url) as browser:
        upload = url.runtime.begin(url.runtime.take(), {"statusCode": 200}, b"begun")
        assert browser.response().read1() == b"begun"
        finish(url, upload)


def test_a_connection_serves_the_next_request_when_a_stream_has_ended(url: Chain) -> None:
    with browsing(url) as browser:
        upload = url.runtime.begin(url.runtime.take(), {"statusCode": 200}, b"first")
        taken = url.functions[0].in_background(lambda: (upload.end(), url.runtime.take())[1])
        assert browser.response().read() == b"first"
        browser.sock.sendall(browser.request)
        upload = url.runtime.begin(taken.result(PATIENCE_S), {"statusCode": 200}, b"second")
        finish(url, upload)
        assert browser.response().read() == b"second"
    assert [url.line().environment, url.line().environment] == [1, 1]


BODILESS = {
    "HEAD": ("HEAD", 200, "chunked"),
    "204": ("GET", 204, None),
    "304": ("GET", 304, None),
}


@pytest.mark.parametrize(("method", "status", "encoding"), BODILESS.values(), ids=BODILESS)
def test_what_has_no_body_gets_none(url: Chain, method: str, status: int, encoding: str | None) -> None:
    with browsing(url, method=method) as browser:
        upload = url.runtime.begin(url.runtime.take(), {"statusCode": status}, b"not wanted")
        response = browser.response()
        assert (response.status, response.headers["transfer-encoding"]) == (status, encoding)
        finish(url, upload)
        assert url.line()[3:4] == (0,)


def test_http_1_0_gets_its_end_with_the_connection(url: Chain) -> None:
    with browsing(url, protocol="1.0") as browser:
        upload = url.runtime.begin(url.runtime.take(), {"statusCode": 200}, b"all")
        finish(url, upload)
        assert browser.response().read() == b"all"


Ending = Callable[[Chain, Upload], object]
ENDINGS: dict[str, tuple[Ending, str]] = {
    "trailers": (
        lambda made, upload: (upload.fail("Function.Mid", "halfway"), made.runtime.next()),
        "Function.Mid: halfway",
    ),
    "truncated": (
        lambda made, upload: (upload.cut(), wait_until_refused(made), made.functions[0].exit(1)),
        "Runtime.TruncatedResponse: ",
    ),
    "crashed": (lambda made, upload: (upload.cut(), made.functions[0].exit(137)), "Runtime.ExitError: .*killed"),
    "too large": (
        lambda made, upload: (upload.send(bytes(1000)), upload.was_closed(), made.runtime.next()),
        "Function.ResponseSizeTooLarge: .* 500 bytes",
    ),
    "too late": (lambda made, upload: None, "Task timed out after 3.00 seconds"),
}


def wait_until_refused(made: Chain) -> None:
    while made.runtime.next().status != 403:
        pass


@pytest.mark.parametrize(("ending", "words"), ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("protocol", ["1.1", "1.0"])
def test_an_answer_without_a_proper_end_is_incomplete_to_the_client_and_the_line_says_why(
    ending: Ending, words: str, protocol: str
) -> None:
    is_late = words.startswith("Task")
    with (
        chain(timeout_s=3 if is_late else PATIENCE_S, stream_limit=500) as made,
        browsing(made, protocol=protocol) as browser,
    ):
        upload = made.runtime.begin(made.runtime.take(), {"statusCode": 200}, b"some")
        response = browser.response()
        assert response.read1(4) == b"some"
        ended = made.functions[0].in_background(ending, made, upload)
        with pytest.raises((IncompleteRead, ConnectionResetError)) as error:
            response.read()
        assert (protocol == "1.0") <= isinstance(error.value, ConnectionResetError)
        line = made.line()
        ended.cancel()
    assert (line.status, line.body_bytes) == (200, 4)
    assert line.problem[0] == "the client gets an incomplete answer:"
    assert re.match(words, line.problem[1])


STARTS: dict[str, tuple[Callable[[Chain, str], object], str]] = {
    "an error": (
        lambda made, known: made.runtime.fail(known, b'{"errorType": "Function.No", "errorMessage": "x"}'),
        "Function.No: x",
    ),
    "a prelude that is none": (
        lambda made, known: made.runtime.begin(known, {"a": 1}).was_closed(),
        "is malformed: .* this has a",
    ),
    "no prelude at all": (
        lambda made, known: made.runtime.stream(known).end(),
        "is malformed: it ended after 0 bytes, without a prelude",
    ),
    "trailers in place of a prelude": (
        lambda made, known: made.runtime.stream(known).fail("Function.Early", "x"),
        "Function.Early: x",
    ),
}


@pytest.mark.parametrize(("start", "words"), STARTS.values(), ids=STARTS)
def test_what_fails_before_the_head_is_a_502(url: Chain, start: Callable[[Chain, str], object], words: str) -> None:
    with browsing(url) as browser:
        known = url.runtime.take()
        url.functions[0].in_background(lambda: (start(url, known), url.runtime.next()))
        response = browser.response()
        assert (response.status, response.read()) == (502, b"Internal Server Error")
    line = url.line()
    assert line.first_byte_ms is None
    assert re.search(words, line.problem[0])


def test_an_answer_in_one_piece_is_the_body_where_the_url_streams(url: Chain) -> None:
    with browsing(url) as browser:
        url.runtime.respond(url.runtime.take(), b'{"statusCode": 404}')
        url.next_in_background()
        response = browser.response()
        assert (response.status, response.read()) == (200, b'{"statusCode": 404}')
    assert "the function answered in one piece" in url.line().problem[0]


def test_a_raw_stream_is_the_body_with_its_type(url: Chain) -> None:
    with browsing(url) as browser:
        upload = url.runtime.stream(url.runtime.take(), "text/csv")
        response = browser.response()  # before the first byte of it
        assert (response.status, response.headers["content-type"]) == (200, "text/csv")
        upload.send(b"a,b")
        finish(url, upload)
        assert response.read() == b"a,b"


def test_a_browser_that_goes_away_ends_the_stream_and_the_function_goes_on(url: Chain) -> None:
    with browsing(url) as browser:
        upload = url.runtime.begin(url.runtime.take(), {"statusCode": 200}, b"some")
        assert browser.response().read1() == b"some"
    assert upload.was_closed()
    assert url.line().problem == ("the client went away after 4 bytes of the answer",)
    taken = url.functions[0].in_background(url.runtime.take)
    with browsing(url) as browser:
        finish(url, url.runtime.begin(taken.result(PATIENCE_S), {"statusCode": 200}, b"again"))
        assert browser.response().read() == b"again"


def test_a_browser_that_goes_away_before_the_head_ends_the_stream_too(url: Chain) -> None:
    with browsing(url):
        upload = url.runtime.stream(url.runtime.take())
    assert upload.was_closed()
    assert url.line().problem == ("the client went away before the answer began",)


def test_a_front_end_that_waits_no_longer_takes_nothing_of_a_late_stream() -> None:
    with chain(REST._replace(patience_s=0.05)) as made, browsing(made) as browser:
        known = made.runtime.take()
        assert browser.response().status == 504
        upload = made.runtime.stream(known)  # the head alone: whatever follows it may meet a closed connection
        assert upload.was_closed()


CHUNK = bytes(64 * 1024)
FLOOD = 64 * 1024 * 1024


def test_a_slow_browser_slows_the_function_down_and_gets_everything(url: Chain) -> None:
    """What is under way fits into the kernel's buffers, however much the function has."""
    with browsing(url, receive_bytes=4096) as browser:
        upload = url.runtime.begin(url.runtime.take(), {"statusCode": 200})
        upload.sock.settimeout(0.5)  # of standing still
        sent = flooded(upload)
        assert sent < FLOOD / 2
        # The chunk under way is incomplete now, and so is the answer.
        reading = threading.Thread(target=lambda: drained(browser))
        reading.start()
        upload.cut()
        url.functions[0].exit(1)
        line = url.line()
        reading.join(PATIENCE_S)
    assert sent <= line.body_bytes <= sent + len(CHUNK)


def flooded(upload: Upload) -> int:
    """How much goes out until nothing more does; the chunk under way is not counted."""
    for sent in range(0, FLOOD, len(CHUNK)):
        try:
            upload.send(CHUNK)
        except TimeoutError:
            return sent
    return FLOOD


def drained(browser: Browser) -> None:
    while browser.sock.recv(65536):
        pass


def test_ending_the_gateway_ends_its_streams() -> None:
    made = Chain()
    with made.gateway, browsing(made) as browser:
        with made.environments:
            made.runtime.begin(made.runtime.take(), {"statusCode": 200}, b"some")
            response = browser.response()
            assert response.read1() == b"some"
        with pytest.raises((IncompleteRead, ConnectionResetError)):
            response.read()
    assert made.line().problem[1] == "the function was stopped"


# The command line


def test_streaming_is_refused_in_one_sentence_where_nothing_streams(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--invoke-mode", "stream", "--source", "alb"])
    assert "alb takes whole answers only; function-url, rest stream" in capsys.readouterr().err


SAID: dict[str, tuple[Options, dict[str, str]]] = {
    "buffered": (Options(), {}),
    "stream": (Options(invoke_mode="stream"), {"FAIRLEAD_INVOKE_MODE": "response_stream"}),
    "said already": (Options(invoke_mode="stream", environment={"FAIRLEAD_INVOKE_MODE": "buffered"}), {}),
    "said by the peer's name": (Options(invoke_mode="stream", environment={"AWS_LWA_INVOKE_MODE": "buffered"}), {}),
}


@pytest.mark.parametrize(("options", "variables"), SAID.values(), ids=SAID)
def test_the_function_is_told_to_stream_unless_the_developer_has_said_otherwise(
    options: Options, variables: dict[str, str]
) -> None:
    assert function_environment(options) == variables
