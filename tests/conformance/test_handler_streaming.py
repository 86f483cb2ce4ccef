"""A Python handler's answer bit by bit, on the wire: the real ``./bootstrap`` runs functions of ``tests/handlers_web``.

Numbers are those of the project's list of conformance cases. What is proved about time is proved by order: a handler
makes its next piece only when the test has seen the last one.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.fakes.gate import Gate
from tests.fakes.inspection import wait_asleep
from tests.fakes.process import CHECKOUT
from tests.fakes.runtime_api import WAIT_SECONDS
from tests.fakes.wire import RecordedRequest, Reply, Wire

HANDLERS = CHECKOUT / "tests" / "handlers_web"
SEPARATOR = b"\0" * 8
MEGABYTE = 1 << 20
INTEGRATION_RESPONSE = "application/vnd.awslambda.http-integration-response"
RAW = "application/octet-stream"


@pytest.fixture
def gate() -> Iterator[Gate]:
    opened = Gate()
    yield opened
    opened.close()


@pytest.fixture
def process(api: FakeRuntimeApi, gate: Gate, tmp_path: Path) -> BootstrapProcess:
    environment = {
        "LAMBDA_TASK_ROOT": str(HANDLERS),
        "GATE": str(gate.port),
        "COUNT": str(tmp_path / "count"),
        "FAIRLEAD_SHUTDOWN_GRACE_MS": "0",  # so that there is one connection to the Runtime API
    }
    return start_bootstrap(api, handler="streams.by_name", environment=environment)


Ask = Callable[..., Answer]


@pytest.fixture
def ask(api: FakeRuntimeApi, process: BootstrapProcess) -> Ask:
    """One invocation of a handler: what it was answered with."""

    def ask(name: str, argument: object = None, **event: Any) -> Answer:
        return api.wait_answer(api.add_event([name, argument], **event))

    return ask


def eventually(holds: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < limit, f"waited for {what}"
        time.sleep(0.005)


def answer_under_way(api: FakeRuntimeApi, part: bytes) -> RecordedRequest:
    """The response that is being received, once ``part`` of it is there."""

    def found() -> list[RecordedRequest]:
        return [request for request in api.of_kind("response") if part in request.received]

    eventually(lambda: bool(found()), f"{part!r} in a response")
    return found()[-1]


def is_streamed(answer: Answer) -> bool:
    return answer.request.header("Lambda-Runtime-Function-Response-Mode") == "streaming"


def split(answer: Answer) -> tuple[dict[str, Any], bytes]:
    """The prelude and the body of an HTTP stream."""
    assert answer.request.header("Content-Type") == INTEGRATION_RESPONSE
    prelude, separator, body = answer.body.partition(SEPARATOR)
    assert separator
    return json.loads(prelude), body


def error_trailers(answer: Answer) -> tuple[str, dict[str, Any]]:
    """Type and document of a stream that failed."""
    assert is_streamed(answer)
    trailers = dict(answer.request.trailers)
    error_type = trailers.pop("Lambda-Runtime-Function-Error-Type")
    document = json.loads(base64.b64decode(trailers.pop("Lambda-Runtime-Function-Error-Body")))
    assert not trailers
    return error_type, document


def test_64_a_result_that_is_no_iterator_is_sent_as_ever(ask: Ask) -> None:
    answer = ask("plain", {"statusCode": 200, "body": "text"})
    assert (answer.body, is_streamed(answer)) == (b'{"statusCode": 200, "body": "text"}', False)


@pytest.mark.parametrize("handler", ["three", "three_async", "returns_async"])
def test_65_each_piece_is_sent_before_the_next_is_made(
    api: FakeRuntimeApi, process: BootstrapProcess, gate: Gate, handler: str
) -> None:
    request_id = api.add_event([handler, None])
    for number in range(3):
        gate.release()
        request = answer_under_way(api, b"piece %d\n" % number)
        assert b"piece %d\n" % (number + 1) not in request.received
    request = api.wait_answer(request_id).request
    assert request.body == b"piece 0\npiece 1\npiece 2\n"
    assert request.header("Lambda-Runtime-Function-Response-Mode") == "streaming"
    assert request.header("Transfer-Encoding") == "chunked"
    assert request.header("Trailer") == "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
    assert (request.header("Content-Type"), request.trailers) == (RAW, [])


def test_66_an_http_stream_is_a_prelude_eight_nuls_and_the_body(ask: Ask) -> None:
    prelude, body = split(ask("http", {}))
    assert prelude == {
        "statusCode": 201,
        "headers": {"content-type": "text/plain", "x-number": "1", "vary": "accept, origin"},
        "cookies": ["a=1", "b=2; Path=/"],
    }
    assert body == b"first second"


def test_66_an_http_stream_of_an_async_generator(api: FakeRuntimeApi, process: BootstrapProcess, gate: Gate) -> None:
    request_id = api.add_event(["http_async", None])
    for _ in range(3):
        gate.release()
    assert split(api.wait_answer(request_id)) == (
        {"statusCode": 200, "headers": {}},
        b"piece 0\npiece 1\npiece 2\n",
    )


def test_66_the_content_type_of_a_raw_stream_can_be_chosen(ask: Ask) -> None:
    answer = ask("typed")
    assert (answer.request.header("Content-Type"), answer.body) == ("text/csv", b"a,b\n1,2\n")


BAD_HEADS = {
    "status 99": ({"statusCode": 99}, "statusCode must be a number from 100 to 599, and not 99"),
    "status as text": ({"statusCode": "ok"}, "and not 'ok'"),
    "name": ({"headers": {"a b": "x"}}, "'a b' cannot be the name of a header"),
    "line end": ({"headers": {"a": "x\r\nset-cookie: y"}}, "the value of 'a' must be text on one line"),
    "value": ({"headers": {"a": None}}, "the value of 'a' must be text on one line, and not None"),
    "headers": ({"headers": [["a", "b"]]}, "headers must be a dict, and not list"),
    "cookie": ({"cookies": [{"a": "b"}]}, "the value of 'cookies'"),
    "base64": ({"isBase64Encoded": True}, "isBase64Encoded does not apply to what is streamed"),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_66_a_head_that_cannot_be_sent_is_an_error(ask: Ask, name: str) -> None:
    changes, message = BAD_HEADS[name]
    answer = ask("http", changes)
    assert (answer.kind, answer.document["errorType"]) == ("error", "Runtime.MarshalError")
    assert message in answer.document["errorMessage"]


SECOND_REQUEST = (
    "text/csv\r\nContent-Length: 0\r\n\r\n"
    "POST /2018-06-01/runtime/invocation/another/response HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
)


@pytest.mark.parametrize("way", ["dict", "call", "property"])
@pytest.mark.parametrize(
    "content_type",
    [
        "text/csv\r\nX-Injected: yes",
        SECOND_REQUEST,
        "a\nb",
        "a\rb",
        "a\0b",
        "a\x7fb",
        "a\x0bb",
        "\ud800",
        ["text/csv"],
        None,
    ],
    ids=["injected", "second-request", "lf", "cr", "nul", "del", "vt", "surrogate", "list", "none"],
)
def test_a_content_type_that_would_break_the_head_is_an_error(
    api: FakeRuntimeApi, ask: Ask, way: str, content_type: object
) -> None:
    answer = ask("typed_by", [way, content_type])
    assert (answer.kind, answer.document["errorType"]) == ("error", "Runtime.MarshalError")
    assert "the value of 'contentType' must be text on one line" in answer.document["errorMessage"]
    assert ask("plain", 1).document == 1  # and the connection is in step
    assert len(api.posts) == 2


def test_a_handler_can_answer_in_another_way_when_its_content_type_was_refused(ask: Ask) -> None:
    answer = ask("typed_by", ["handled", "a\r\nb"])
    assert (answer.body, answer.request.header("Content-Type")) == (b"text", "text/plain")


FAILING = ("fails", "fails_async", "fails_http", "fails_written")


@pytest.mark.parametrize("handler", FAILING)
def test_67_an_exception_before_the_first_piece_is_an_ordinary_error(ask: Ask, gate: Gate, handler: str) -> None:
    answer = ask(handler, "before")
    assert answer.kind == "error"
    assert (answer.document["errorType"], answer.document["errorMessage"]) == ("Broken", "no first piece")
    assert answer.request.header("Lambda-Runtime-Function-Error-Type") == "Function.Broken"
    assert 'raise Broken("no first piece")' in "".join(answer.document["stackTrace"])
    gate.expect("closed")
    assert ask("plain", 1).document == 1


@pytest.mark.parametrize("handler", FAILING)
def test_68_an_exception_after_it_is_told_in_trailers(
    api: FakeRuntimeApi, process: BootstrapProcess, gate: Gate, handler: str
) -> None:
    request_id = api.add_event([handler, "after"])
    answer = api.wait_answer(request_id)
    assert answer.body.endswith(b"sent ")
    assert b"Broken" not in answer.body
    error_type, document = error_trailers(answer)
    assert error_type == "Function.Broken"
    assert (document["errorType"], document["errorMessage"]) == ("Broken", "no second piece")
    assert document["requestId"] == request_id
    assert 'raise Broken("no second piece")' in "".join(document["stackTrace"])
    gate.expect("closed")
    assert api.wait_answer(api.add_event(["plain", 1])).document == 1
    assert process.output.count("[ERROR] Broken: no second piece") == 1


@pytest.mark.parametrize("handler", FAILING)
def test_68_sys_exit_in_the_middle_is_told_and_then_obeyed(
    api: FakeRuntimeApi, process: BootstrapProcess, handler: str
) -> None:
    error_type, document = error_trailers(api.wait_answer(api.add_event([handler, "exit"])))
    assert error_type == document["errorType"] == "Runtime.ExitError"
    assert document["errorMessage"] == "the handler ended the process with sys.exit(3)"
    assert process.wait() == 3


MISUSES = {
    "content type": ("RuntimeError", "the content type was sent with the first write and cannot be set any more"),
    "prelude": ("RuntimeError", "the prelude was sent with the first write and cannot be set any more"),
    "closed": ("ValueError", "write to a closed stream"),
    "second stream": ("RuntimeError", "an invocation has one answer, and response_stream was called before"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_69_what_was_sent_cannot_be_changed(ask: Ask, misuse: str) -> None:
    answer = ask("misused", misuse)
    assert (answer.body, answer.request.header("Content-Type")) == (b"sent ", "text/plain")
    document = error_trailers(answer)[1]
    assert (document["errorType"], document["errorMessage"]) == MISUSES[misuse]


EARLY_MISUSES = {
    "content type of HTTP": ("ValueError", "the content type of an HTTP answer is one of its headers"),
    "number": ("TypeError", "Unable to marshal response: a streamed answer consists of str and bytes, and not of int"),
}


@pytest.mark.parametrize("misuse", EARLY_MISUSES)
def test_69_a_mistake_before_the_first_write_is_an_ordinary_error(ask: Ask, misuse: str) -> None:
    answer = ask("misused", misuse)
    assert answer.kind == "error"
    assert (answer.document["errorType"], answer.document["errorMessage"]) == EARLY_MISUSES[misuse]


def test_69_an_answer_can_be_written_as_a_file(api: FakeRuntimeApi, process: BootstrapProcess, gate: Gate) -> None:
    request_id = api.add_event(["written", {"content_type": "text/csv"}])
    gate.release()
    request = answer_under_way(api, "a,é\r\n".encode())
    assert b"bytes" not in request.received
    gate.release()
    answer = api.wait_answer(request_id)
    assert (answer.body, answer.request.header("Content-Type")) == ("a,é\r\nbytes".encode(), "text/csv")


def test_69_an_http_answer_can_be_written_as_a_file(ask: Ask) -> None:
    assert split(ask("written_async")) == ({"statusCode": 202, "headers": {}, "cookies": ["a=1"]}, b"text")
    assert split(ask("written_not")) == ({"statusCode": 204, "headers": {}}, b"")


@pytest.mark.parametrize(
    ("handler", "event", "body"),
    [
        ("kinds_http", "none", b"\n"),
        ("kinds_http", "only empty", b"\n"),
        ("kinds_http", "bytes", b"\x00\xff"),
        ("http", {"statusCode": 304, "body": ""}, None),
        ("written_not", None, b""),  # 204
        ("written_nothing", 302, b"\n"),
        ("written_nothing", 304, b""),
        ("written_async", None, b"text"),
    ],
)
def test_an_empty_body_of_a_handler_is_one_byte_where_that_is_wished_and_allowed(
    api: FakeRuntimeApi, gate: Gate, handler: str, event: object, body: bytes | None
) -> None:
    environment = {
        "LAMBDA_TASK_ROOT": str(HANDLERS),
        "FAIRLEAD_PAD_EMPTY_STREAMS": "true",
        "GATE": str(gate.port),
        "COUNT": "",
    }
    start_bootstrap(api, handler="streams.by_name", environment=environment)
    answer = api.wait_answer(api.add_event([handler, event]))
    if body is None:  # not streamed at all
        assert answer.document["body"] == ""
    else:
        assert split(answer)[1] == body


ACCEPTED = {
    "str": "é☃".encode(),
    "bytes": b"\x00\xff",
    "bytearray": b"array",
    "memoryview": b"234",
    "memoryview of numbers": b"0123456789abcdef",
    "empty pieces": b"ab",
}
KINDS_OF_ITERATORS = ("kinds", "kinds_iterator", "kinds_async", "kinds_async_iterator")


@pytest.mark.parametrize("handler", KINDS_OF_ITERATORS)
def test_70_text_and_every_kind_of_bytes_are_accepted(ask: Ask, handler: str) -> None:
    for kind, expected in ACCEPTED.items():
        answer = ask(handler, kind)
        assert (kind, is_streamed(answer), answer.body) == (kind, True, expected)


REFUSED = {
    "int": "a streamed answer consists of str and bytes, and not of int",
    "dict": "a streamed answer consists of str and bytes, and not of dict",
    "None": "a streamed answer consists of str and bytes, and not of NoneType",
    "half a surrogate pair": "a piece is not Unicode text",
}


@pytest.mark.parametrize("handler", KINDS_OF_ITERATORS)
def test_70_other_types_are_errors(ask: Ask, handler: str) -> None:
    for kind, message in REFUSED.items():
        answer = ask(handler, kind)
        assert (answer.kind, answer.document["errorType"]) == ("error", "Runtime.MarshalError")
        assert message in answer.document["errorMessage"]
    answer = ask(handler, "later: list")
    error_type, document = error_trailers(answer)
    assert (answer.body, error_type) == (b"sent ", "Runtime.MarshalError")
    assert document["errorMessage"].endswith("a streamed answer consists of str and bytes, and not of list")


@pytest.mark.parametrize("handler", [*KINDS_OF_ITERATORS, "kinds_http"])
@pytest.mark.parametrize("kind", ["none", "only empty"])
def test_71_a_stream_without_pieces_is_valid_and_empty(ask: Ask, handler: str, kind: str) -> None:
    answer = ask(handler, kind)
    assert is_streamed(answer)
    assert answer.request.trailers == []
    if handler == "kinds_http":
        assert split(answer) == ({"statusCode": 200, "headers": {}}, b"")
    else:
        assert answer.body == b""


def memory_kb(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0])


BULK = ("bulk", "bulk_async", "bulk_written")


@pytest.mark.parametrize("handler", BULK)
def test_72_a_client_that_does_not_read_holds_the_generator_back(
    api: FakeRuntimeApi, process: BootstrapProcess, gate: Gate, tmp_path: Path, handler: str
) -> None:
    held = threading.Event()
    api.script("response", Reply(read=100_000, wire=Wire(gate=held, end="reset", end_at=0)))
    api.add_event([handler, 1000])
    answer_under_way(api, b"\0\1\2")
    made = None
    while made != (made := (tmp_path / "count").read_bytes()):
        wait_asleep(process.pid)
        time.sleep(0.2)  # the kernel's buffers fill up; then nothing goes on, however long one looks
    assert int(made) < 20
    assert memory_kb(process.pid, "VmRSS") < 64_000
    held.set()
    gate.expect("closed")
    assert api.wait_answer(api.add_event(["plain", 1])).document == 1
    api.take_violations()  # the fake takes the broken answer for none


def test_73_a_client_that_goes_closes_the_generator(api: FakeRuntimeApi, process: BootstrapProcess, gate: Gate) -> None:
    api.wait_idle()
    api.script("response", Reply(read=1, wire=Wire(end="reset", end_at=0)))
    api.add_event(["quiet", None])
    gate.expect("waits")
    wait_asleep(process.pid)
    eventually(lambda: not _is_connected(api, process), "a connection that is reset")
    gate.release()
    gate.expect("closed")
    assert api.wait_answer(api.add_event(["plain", 1])).document == 1
    assert "a streamed answer ended after 5 bytes: the client went away" in process.stderr
    api.take_violations()


def _is_connected(api: FakeRuntimeApi, process: BootstrapProcess) -> bool:
    port = int(api.address.rpartition(":")[2])
    lines = Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


def test_73_an_async_generator_is_closed_while_it_waits(
    api: FakeRuntimeApi, process: BootstrapProcess, gate: Gate
) -> None:
    """It is in nobody's hands when: nothing has to be written for this."""
    api.wait_idle()
    api.script("response", Reply(read=1, wire=Wire(end="reset", end_at=0)))
    api.add_event(["quiet_async", None])
    gate.expect("waits")
    gate.expect("closed")
    assert api.wait_answer(api.add_event(["plain", 1])).document == 1
    api.take_violations()


def test_73_what_fails_while_it_closes_is_logged(api: FakeRuntimeApi, process: BootstrapProcess, gate: Gate) -> None:
    api.wait_idle()
    api.script("response", Reply(read=1, wire=Wire(end="reset", end_at=0)))
    api.add_event(["fails_to_close", None])
    gate.expect("waits")
    eventually(lambda: not _is_connected(api, process), "a connection that is reset")
    gate.release()
    assert api.wait_answer(api.add_event(["plain", 1])).document == 1
    assert "[ERROR] Broken: in finally" in process.output
    api.take_violations()


@pytest.mark.parametrize("event", ["ends", "raises"])
def test_73_a_handler_that_writes_gets_a_broken_pipe(
    api: FakeRuntimeApi, process: BootstrapProcess, gate: Gate, event: str
) -> None:
    api.script("response", Reply(read=100_000, wire=Wire(end="reset", end_at=0)))
    api.add_event(["gone", event])
    gate.expect("noticed")
    assert api.wait_answer(api.add_event(["plain", 1])).document == 1
    assert "[ERROR]" not in process.output
    api.take_violations()


def test_74_the_invocation_id_is_echoed(ask: Ask) -> None:
    answer = ask("kinds", "str", headers={"Lambda-Runtime-Invocation-Id": "nonce"})
    assert answer.request.header_values("Lambda-Runtime-Invocation-Id") == ["nonce"]


@pytest.mark.parametrize("handler", BULK)
def test_75_a_stream_of_20_mb_takes_less_memory_than_two_pieces(
    ask: Ask, process: BootstrapProcess, handler: str
) -> None:
    ask("typed")
    ask("kinds_async", "str")
    before = memory_kb(process.pid, "VmHWM")
    answer = ask(handler, 20)
    assert len(answer.body) == 20 * MEGABYTE
    assert memory_kb(process.pid, "VmHWM") - before < 2 * MEGABYTE // 1024


def test_75_many_streams_use_one_connection(ask: Ask, api: FakeRuntimeApi) -> None:
    for kind in ACCEPTED:
        ask("kinds", kind)
    assert len({request.connection for request in api.of_kind("next", "response")}) == 1


PAGE = (CHECKOUT / "docs" / "streaming.md").read_text()
EXAMPLES = re.findall(r"```python\n# app\.py, handler (\S+)\n(.*?)```\n\n(.*?)\n", PAGE, re.DOTALL)
STREAMED_AS = re.compile(r"`(.+)` is streamed as `(.+?)` (?:with the type `(.+)`|after the prelude `(.+)`)\.")


@pytest.mark.parametrize(("handler", "source", "claim"), EXAMPLES, ids=[claim for *_, claim in EXAMPLES])
def test_an_example_of_the_page_does_what_it_says(
    api: FakeRuntimeApi, tmp_path: Path, handler: str, source: str, claim: str
) -> None:
    (tmp_path / "app.py").write_text(source)
    said = STREAMED_AS.fullmatch(claim)
    assert said
    event, body, content_type, prelude = said.groups()
    request_id = api.add_event(event.encode())
    start_bootstrap(api, handler=handler, environment={"LAMBDA_TASK_ROOT": str(tmp_path)})
    answer = api.wait_answer(request_id)
    if prelude:
        assert split(answer) == (json.loads(prelude), json.loads(body).encode())
    else:
        assert (answer.body.decode(), answer.request.header("Content-Type")) == (json.loads(body), content_type)
    assert is_streamed(answer)


def test_every_example_of_the_page_is_run() -> None:
    assert len(EXAMPLES) == PAGE.count("```python") == 5


def test_nothing_of_streaming_is_loaded_for_a_handler_that_does_not_stream(api: FakeRuntimeApi) -> None:
    start_bootstrap(api, handler="imports.handler", environment={"LAMBDA_TASK_ROOT": str(HANDLERS)})
    loaded = {name.rpartition(".")[2] for name in api.wait_answer(api.add_event({})).document}
    assert loaded.isdisjoint({"stream", "handover", "stream_writer", "events", "asyncio"})
