"""Heads: one function renders them all, and what does not fit into one never reaches the wire."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import InvocationFault, ProtocolError
from runtime.http1 import render_head, render_lines, render_trailers
from runtime.invocation import Invocation, Result, StreamedResult
from runtime.messages import HttpRequest, is_field_value
from runtime.runtime_api import RuntimeApi
from runtime.waiting import run_blocking
from tests.fakes import FakeRuntimeApi

RUNTIME = Path(__file__).parents[2] / "runtime"
# Where the bytes of a message leave the process; python/log_output.py and web/observation.py write no HTTP.
SENDING = {"connection.py", "response_stream.py", "web/observation.py"}
# "HTTP/1.1" by itself is what CGI calls the protocol. A line end by itself frames a chunk, or is looked for.
HEAD = re.compile(r"HTTP/1\.[01]\r?\n| HTTP/1|[^\r\n\s]:? .*\r\n", re.DOTALL)

BREAKING = ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\r\n\r\nGET / HTTP/1.1\r\n\r\n"]
UNSENDABLE = [*BREAKING, "a\x01b", "a\x7fb", "a\ud800b"]


def texts_of(path: Path) -> Iterator[str]:
    """Every text and every bytes in the code of a module, those in its docstrings apart."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            if isinstance(node.value, str):
                yield node.value
            elif isinstance(node.value, bytes):
                yield node.value.decode("latin-1")


def name_of(path: Path) -> str:
    return str(path.relative_to(RUNTIME))


def test_one_module_renders_heads() -> None:
    found = {name_of(path) for path in RUNTIME.rglob("*.py") for text in texts_of(path) if HEAD.search(text)}
    assert found == {"http1.py"}


def test_two_modules_send_them() -> None:
    sends = re.compile(r"\.(send|sendall|sendmsg|sendto|write)\((?!.*level)")
    socket = re.compile(r"\bsock(et)?\b|\budp\b")
    found = {
        name_of(path)
        for path in RUNTIME.rglob("*.py")
        for line in path.read_text().splitlines()
        if sends.search(line) and socket.search(line)
    }
    assert found == SENDING


@pytest.mark.parametrize("value", BREAKING)
def test_no_field_breaks_its_line(value: str) -> None:
    for render in (lambda fields: render_head(HttpRequest("GET", "/", fields)), render_lines, render_trailers):
        with pytest.raises(ProtocolError, match="CR, LF or NUL"):
            render([("x", value)])


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ä"])
def test_no_field_has_a_name_that_is_none(name: str) -> None:
    for render in (lambda fields: render_head(HttpRequest("GET", "/", fields)), render_lines, render_trailers):
        with pytest.raises(ProtocolError, match="field name"):
            render([(name, "value")])


def test_prepared_lines_come_first() -> None:
    prepared = render_lines([("Host", "app"), ("User-Agent", "x")])
    assert prepared == "Host: app\r\nUser-Agent: x\r\n"
    assert render_head(HttpRequest("GET", "/", ()), prepared) == f"GET / HTTP/1.1\r\n{prepared}\r\n".encode()
    whole = render_head(HttpRequest("GET", "/", [("a", "1")]), prepared)
    assert whole == f"GET / HTTP/1.1\r\n{prepared}a: 1\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        ("text/csv", True),
        ("text/plain; title=čaj\tb", True),
        ("\x85", True),  # two bytes in UTF-8, and neither is a control character there
        ("", True),
        *[(value, False) for value in UNSENDABLE],
        (b"text/csv", False),
        (None, False),
    ],
)
def test_a_field_value_has_no_control_characters(value: object, is_good: bool) -> None:
    assert is_field_value(value) == is_good


class OnePiece:
    """A streamed answer, as a handler gives it."""

    is_closed = False

    def __init__(self) -> None:
        self._rest = b"piece"

    async def read(self, _watched: int) -> bytes:
        piece, self._rest = self._rest, b""
        return piece

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def fake() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi() as fake:
        yield fake


Logged = list[tuple[str, str]]


@pytest.fixture
def logged() -> Logged:
    return []


@pytest.fixture
def api(fake: FakeRuntimeApi, logged: Logged) -> Iterator[RuntimeApi]:
    def log(level: str, message: str, _request_id: str = "") -> None:
        logged.append((level, message))

    client = RuntimeApi(fake.address, log)  # type: ignore[arg-type]
    yield client
    client._connection.close()


def begun(fake: FakeRuntimeApi, api: RuntimeApi) -> Invocation:
    fake.add_event({})
    return run_blocking(api.next())


@pytest.mark.parametrize("content_type", UNSENDABLE)
def test_a_content_type_that_nobody_has_looked_at_is_refused_where_the_head_is_written(
    fake: FakeRuntimeApi, api: RuntimeApi, content_type: str
) -> None:
    body = OnePiece()
    invocation = begun(fake, api)
    run_blocking(api.respond(invocation, StreamedResult(body, content_type)))
    answer = fake.wait_answer(invocation.request_id)
    assert (answer.kind, answer.document["errorType"]) == ("error", "Runtime.MarshalError")
    assert "the content type must be text on one line" in answer.document["errorMessage"]
    assert body.is_closed
    invocation = begun(fake, api)  # the connection is in step
    run_blocking(api.respond(invocation, StreamedResult(OnePiece())))
    assert fake.wait_answer(invocation.request_id).body == b"piece"


@pytest.mark.parametrize("content_type", BREAKING)
def test_the_same_of_an_answer_that_is_not_streamed(fake: FakeRuntimeApi, api: RuntimeApi, content_type: str) -> None:
    invocation = begun(fake, api)
    run_blocking(api.respond(invocation, Result(b"{}", content_type)))
    answer = fake.wait_answer(invocation.request_id)
    assert (answer.kind, answer.document["errorType"]) == ("error", "Runtime.MarshalError")


@pytest.mark.parametrize("text", UNSENDABLE)
def test_a_report_leaves_out_what_cannot_be_sent(
    fake: FakeRuntimeApi, api: RuntimeApi, logged: Logged, text: str
) -> None:
    invocation = begun(fake, api)._replace(invocation_id=text)
    fault = InvocationFault(text, "message")
    fault.name, fault.xray_cause = "Name", text
    run_blocking(api.fail(invocation, fault))
    answer = fake.wait_answer(invocation.request_id)
    assert answer.document["errorMessage"] == "message"
    assert {name for name, _ in answer.headers} == {"Host", "User-Agent", "Content-Type", "Content-Length"}
    assert len([message for level, message in logged if level == "WARN" and "is left out of a report" in message]) == 3


@pytest.mark.parametrize("text", UNSENDABLE)
def test_trailers_leave_out_what_cannot_be_sent(fake: FakeRuntimeApi, api: RuntimeApi, text: str) -> None:
    class Failing(OnePiece):
        async def read(self, watched: int) -> bytes:
            piece = await super().read(watched)
            if not piece:
                raise InvocationFault(text, "message")
            return piece

    invocation = begun(fake, api)
    run_blocking(api.respond(invocation, StreamedResult(Failing())))
    request = fake.wait_answer(invocation.request_id).request
    assert (request.body, [name for name, _ in request.trailers]) == (b"piece", ["Lambda-Runtime-Function-Error-Body"])


@pytest.mark.parametrize("text", BREAKING)
def test_an_init_error_leaves_out_what_cannot_be_sent(fake: FakeRuntimeApi, api: RuntimeApi, text: str) -> None:
    api.fail_init(InvocationFault(text, "message"))
    request = fake.wait_init_error()
    assert json.loads(request.body)["errorMessage"] == "message"
    assert request.header("Lambda-Runtime-Function-Error-Type") is None
