"""The Runtime API that the local tools bring, by a runtime whose every step is the test's."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import h11
import pytest

from local.failures import LocalFailure
from local.runtime_api.session import exit_words
from local.runtime_api.streamed_answer import AnswerCut, ClientGone, StreamedAnswer
from runtime.invocation import PAYLOAD_LIMIT

from .scripted_runtime import HTTP_INTEGRATION, PATIENCE_S, Invoking, Said, ScriptedFunction, ScriptedRuntime


@pytest.fixture
def function() -> Iterator[ScriptedFunction]:
    made = ScriptedFunction()
    yield made
    made.stop()


@pytest.fixture
def runtime(function: ScriptedFunction) -> ScriptedRuntime:
    return function.runtime


def over(function: ScriptedFunction, invoking: Invoking) -> tuple[int, bytes]:
    """What the invocation ends with once the runtime asks for the next one."""
    asked = function.in_background(function.runtime.next)
    reply = invoking.end()
    function.exit(0)  # what was asked for never comes
    assert asked.exception(PATIENCE_S)
    return reply.status, reply.body


def error_of(body: bytes) -> tuple[str, str]:
    document = json.loads(body)
    return document["errorType"], document["errorMessage"]


def test_next_waits_for_an_invocation_and_brings_what_the_platform_sends(function: ScriptedFunction) -> None:
    asked = function.in_background(function.runtime.next)
    before = int(time.time() * 1000)
    invoking = function.invoking(b'{"a": 1}')
    said: Said = asked.result(PATIENCE_S)
    assert (said.status, said.body) == (200, b'{"a": 1}')
    fields = {name.lower(): value for name, value in said.fields.items()}
    assert fields["content-type"] == "application/json"
    assert 0 <= int(fields["lambda-runtime-deadline-ms"]) - before - PATIENCE_S * 1000 < 60_000
    assert fields["lambda-runtime-invoked-function-arn"].startswith("arn:aws:lambda:")
    assert fields["lambda-runtime-trace-id"].startswith("Root=1-")
    assert fields["lambda-runtime-invocation-id"] != fields["lambda-runtime-aws-request-id"]
    function.runtime.respond(fields["lambda-runtime-aws-request-id"])
    assert over(function, invoking) == (200, b"{}")


def test_an_answer_is_taken_with_202_and_ends_the_invocation_when_the_next_is_asked_for(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    said = runtime.respond(runtime.take(), b'"hello"')
    assert (said.status, said.body) == (202, b'{"status":"OK"}\n')
    assert over(function, invoking) == (200, b'"hello"')


def test_an_answer_after_which_the_runtime_still_works_is_handed_on_before_the_end(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    runtime.respond(runtime.take(), b'"early"')
    assert invoking.early().body == b'"early"'
    assert over(function, invoking) == (200, b'"early"')


def test_an_error_ends_the_invocation_with_its_document(function: ScriptedFunction, runtime: ScriptedRuntime) -> None:
    invoking = function.invoking()
    document = b'{"errorMessage":"no","errorType":"Function.No"}'
    assert runtime.fail(runtime.take(), document).status == 202
    assert over(function, invoking) == (200, document)


def test_an_unanswered_invocation_is_given_again(function: ScriptedFunction, runtime: ScriptedRuntime) -> None:
    invoking = function.invoking()
    first, second = runtime.take(), runtime.take()
    assert first == second
    runtime.respond(first)
    assert over(function, invoking)[0] == 200


def test_of_two_requests_for_the_next_invocation_the_later_one_gets_it(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    with runtime.park("GET", "/2018-06-01/runtime/invocation/next") as first:
        limit = time.monotonic() + PATIENCE_S
        while function.session._state != "idle":  # until then the other one could arrive before it
            assert time.monotonic() < limit
            time.sleep(0.001)
        asked = function.in_background(runtime.next)
        assert first.recv(1) == b""
        invoking = function.invoking()
        request_id = asked.result(PATIENCE_S).fields["Lambda-Runtime-Aws-Request-Id"]
    runtime.respond(request_id)
    assert over(function, invoking)[0] == 200


Step = Callable[[ScriptedRuntime, str], Said]
REFUSED: dict[str, tuple[Step, int, str]] = {
    "an answer to another invocation": (lambda runtime, known: runtime.respond("other"), 400, "InvalidRequestID"),
    "an error of another invocation": (lambda runtime, known: runtime.fail("other", b"{}"), 400, "InvalidRequestID"),
    "the nonce of another invocation": (
        lambda runtime, known: runtime.respond(known, Lambda_Runtime_Invocation_Id="late"),
        400,
        "InvalidInvocationID",
    ),
    "an init error after the first next": (
        lambda runtime, known: runtime.fail_init(b"{}"),
        403,
        "InvalidStateTransition",
    ),
    "a registration after the first next": (
        lambda runtime, known: runtime.register(),
        403,
        "Extension.RegistrationClosed",
    ),
    "a path that does not exist": (lambda runtime, known: runtime.ask("GET", "/2018-06-01/runtime"), 404, "NotFound"),
    "restoring, without SnapStart": (
        lambda runtime, known: runtime.ask("GET", "/2018-06-01/runtime/restore/next"),
        404,
        "NotFound",
    ),
}


@pytest.mark.parametrize(("step", "status", "error_type"), REFUSED.values(), ids=REFUSED)
def test_what_is_against_the_rules_is_refused_and_changes_nothing(
    function: ScriptedFunction, runtime: ScriptedRuntime, step: Step, status: int, error_type: str
) -> None:
    invoking = function.invoking()
    request_id = runtime.take()
    said = step(runtime, request_id)
    assert (said.status, said.error_type) == (status, error_type)
    assert runtime.respond(request_id, b'"all the same"').status == 202
    assert over(function, invoking) == (200, b'"all the same"')


def test_a_second_answer_is_refused(function: ScriptedFunction, runtime: ScriptedRuntime) -> None:
    invoking = function.invoking()
    request_id = runtime.take()
    runtime.respond(request_id, b"1")
    said = runtime.respond(request_id, b"2")
    assert (said.status, said.error_type) == (403, "InvalidStateTransition")
    assert over(function, invoking) == (200, b"1")


def test_another_response_mode_than_streaming_breaks_the_invocation(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    said = runtime.respond(runtime.take(), Lambda_Runtime_Function_Response_Mode="buffered")
    assert (said.status, said.error_type) == (400, "InvalidFunctionResponseMode")
    assert runtime.next().status == 403
    function.exit(1)
    assert error_of(invoking.end().body)[0] == "Runtime.InvalidResponseModeHeader"


SIZES = {"the limit": (PAYLOAD_LIMIT, 202), "one byte more": (PAYLOAD_LIMIT + 1, 413)}


@pytest.mark.parametrize(("size", "status"), SIZES.values(), ids=SIZES)
def test_an_answer_in_one_piece_may_have_six_mebibytes_and_a_hundred_bytes(
    function: ScriptedFunction, runtime: ScriptedRuntime, size: int, status: int
) -> None:
    invoking = function.invoking()
    assert runtime.respond(runtime.take(), bytes(size)).status == status
    reply_status, body = over(function, invoking)
    assert reply_status == 200
    if status == 413:
        assert error_of(body)[0] == "Function.ResponseSizeTooLarge"
    else:
        assert body == bytes(size)


def test_an_answer_that_breaks_off_is_a_truncated_one(function: ScriptedFunction, runtime: ScriptedRuntime) -> None:
    invoking = function.invoking()
    path = f"/2018-06-01/runtime/invocation/{runtime.take()}/response"
    runtime.park("POST", path, Content_Length="10").close()
    while (said := runtime.next()).status == 200:
        pass  # the server has not seen it yet
    assert said.error_type == "InvalidStateTransition"
    function.exit(1)
    assert error_of(invoking.end().body)[0] == "Runtime.TruncatedResponse"


def test_an_init_error_is_what_the_invocation_ends_with(function: ScriptedFunction, runtime: ScriptedRuntime) -> None:
    invoking = function.invoking()
    document = b'{"errorMessage":"no","errorType":"Runtime.No"}'
    assert runtime.fail_init(document).status == 202
    assert runtime.fail_init(document).status == 403
    assert runtime.next().status == 403
    function.exit(1)
    assert invoking.end()[:2] == (502, document)


def test_what_was_posted_before_the_end_counts_though_nobody_waited_for_an_answer(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    document = b'{"errorType":"Runtime.No","errorMessage":""}'
    posted = runtime.park("POST", "/2018-06-01/runtime/init/error", Content_Length=str(len(document)))
    posted.sendall(document)
    posted.close()
    function.exit(1)
    assert invoking.end()[:2] == (502, document)


def test_an_end_in_the_init_phase_without_a_word_is_an_empty_502(function: ScriptedFunction) -> None:
    invoking = function.invoking()
    function.exit(1)
    assert invoking.end()[:2] == (502, b"")


EXITS = {
    0: "Runtime exited without providing a reason",
    7: "Runtime exited with error: exit status 7",
    137: "Runtime exited with error: signal: killed",
}


@pytest.mark.parametrize(("status", "words"), EXITS.items(), ids=EXITS.values())
def test_an_end_in_an_invocation_is_an_exit_error(
    function: ScriptedFunction, runtime: ScriptedRuntime, status: int, words: str
) -> None:
    assert exit_words(status) == words
    invoking = function.invoking()
    request_id = runtime.take()
    function.exit(status)
    reply = invoking.end()
    assert reply.status == 502
    assert error_of(reply.body) == ("Runtime.ExitError", f"RequestId: {request_id} Error: {words}")


def test_an_end_after_the_answer_takes_nothing_from_it(function: ScriptedFunction, runtime: ScriptedRuntime) -> None:
    invoking = function.invoking()
    runtime.respond(runtime.take(), b'"done"')
    function.exit(1)
    assert invoking.end()[:2] == (200, b'"done"')


TIMEOUTS: dict[str, Callable[[ScriptedRuntime], object]] = {
    "a start that takes too long": lambda runtime: None,
    "an invocation that takes too long": lambda runtime: runtime.take(),
    "an extension that does not listen": lambda runtime: (
        runtime.register(),
        runtime.park("GET", "/2018-06-01/runtime/invocation/next"),
    ),
}


@pytest.mark.parametrize("steps", TIMEOUTS.values(), ids=TIMEOUTS)
def test_a_timeout_is_told_as_lambda_tells_it(steps: Callable[[ScriptedRuntime], object]) -> None:
    function = ScriptedFunction(timeout_s=1)
    invoking = function.invoking()
    kept = steps(function.runtime)
    assert invoking.end()[:2] == (200, b"Task timed out after 1.00 seconds")
    function.stop()
    del kept


def test_who_is_invoked_when_all_is_stopped_is_told_so(function: ScriptedFunction, runtime: ScriptedRuntime) -> None:
    invoking = function.invoking()
    runtime.take()
    function.server.close()
    with pytest.raises(LocalFailure, match="stopped"):
        invoking.end()


EXTENSIONS = {
    "events of any kind": (b'{"events":["INVOKE"]}', "x", 403, "Extension.InvalidEventType"),
    "shutdown, which no internal one gets": (b'{"events":["SHUTDOWN"]}', "x", 403, "Extension.InvalidEventType"),
    "no name": (b'{"events":[]}', "", 400, "Extension.InvalidExtensionName"),
    "no JSON": (b"events", "x", 400, "InvalidRequestFormat"),
    "a name that is taken": (b'{"events":[]}', "test", 403, "Extension.AlreadyRegistered"),
}


@pytest.mark.parametrize(("body", "name", "status", "error_type"), EXTENSIONS.values(), ids=EXTENSIONS)
def test_registrations_that_are_refused(
    runtime: ScriptedRuntime, body: bytes, name: str, status: int, error_type: str
) -> None:
    runtime.register()
    said = runtime.register(body, name)
    assert (said.status, said.error_type) == (status, error_type)


def test_with_an_extension_that_listens_the_runtime_gets_a_warning_before_its_end(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    assert not function.session.has_extension
    identifier = runtime.register().fields["Lambda-Extension-Identifier"]
    assert function.session.has_extension
    with runtime.park("GET", "/2020-01-01/extension/event/next", Lambda_Extension_Identifier=identifier) as parked:
        invoking = function.invoking()
        runtime.respond(runtime.take())
        parked.setblocking(False)
        with pytest.raises(BlockingIOError):  # no event is for an internal one
            parked.recv(1)
        assert over(function, invoking)[0] == 200


def test_an_unknown_extension_gets_no_events(runtime: ScriptedRuntime) -> None:
    said = runtime.ask("GET", "/2020-01-01/extension/event/next", Lambda_Extension_Identifier="x")
    assert (said.status, said.error_type) == (403, "Extension.UnknownExtensionIdentifier")


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    path = f"/2018-06-01/runtime/invocation/{runtime.take()}/response"
    with runtime.park("POST", path, Content_Length="2", Expect="100-continue") as posting:
        assert posting.recv(100).startswith(b"HTTP/1.1 100 ")
        posting.sendall(b"{}")
        assert posting.recv(100).startswith(b"HTTP/1.1 202 ")
    assert over(function, invoking) == (200, b"{}")


# Streamed answers


def read_all(stream: Any) -> bytes:
    return b"".join(iter(stream.read, b""))


def test_a_stream_is_there_as_it_begins_and_each_piece_as_it_comes(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    upload = runtime.stream(runtime.take())
    stream = invoking.early().stream
    assert stream is not None
    assert stream.content_type == HTTP_INTEGRATION
    for piece in (b"one", b"two", b"three"):  # the next is sent only when the last one has been read
        upload.send(piece)
        assert stream.read() == piece
    ended = function.in_background(upload.end)
    assert stream.read() == b""
    assert ended.result(PATIENCE_S).status == 202
    assert over(function, invoking) == (200, b"")


def test_the_connection_of_a_stream_serves_the_next_invocation(function: ScriptedFunction) -> None:
    invoking = function.invoking()
    upload = function.runtime.stream(function.runtime.take())
    ended = function.in_background(upload.end)
    stream = invoking.early().stream
    assert stream is not None
    assert stream.read() == b""
    ended.result(PATIENCE_S)
    upload.sock.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert invoking.end().status == 200
    again = function.invoking(b'"again"')
    assert upload.answer().body == b'"again"'
    function.exit(0)
    assert again.end().status == 502


def test_next_is_refused_while_an_answer_is_streamed(function: ScriptedFunction, runtime: ScriptedRuntime) -> None:
    invoking = function.invoking()
    upload = runtime.stream(runtime.take())
    assert invoking.early().stream
    assert runtime.next().status == 403
    upload.cut()


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_chunks_are_read_however_they_are_cut(function: ScriptedFunction, runtime: ScriptedRuntime, step: int) -> None:
    invoking = function.invoking()
    upload = runtime.stream(runtime.take())
    stream = invoking.early().stream
    wire = b"3\r\none\r\n0a;extension=1\r\n0123456789\r\n0\r\n\r\n"
    sent = function.in_background(lambda: [upload.sock.sendall(wire[i : i + step]) for i in range(0, len(wire), step)])
    assert read_all(stream) == b"one0123456789"
    sent.result(PATIENCE_S)
    assert over(function, invoking) == (200, b"")


FAILURES: dict[str, tuple[tuple[str, ...], tuple[str, str]]] = {
    "type and document": (
        (
            "Lambda-Runtime-Function-Error-Type: Function.Mid",
            "Lambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiAiTWlkIiwgImVycm9yTWVzc2FnZSI6ICJoYWxmd2F5In0=",
        ),
        ("Mid", "halfway"),
    ),
    "type alone": (
        ("lambda-runtime-function-error-type: Function.Mid",),
        ("Function.Mid", "the trailers of the answer say no more"),
    ),
    "a document that is no base64": (
        ("Lambda-Runtime-Function-Error-Type: Function.Mid", "Lambda-Runtime-Function-Error-Body: ?"),
        ("Function.Mid", "the trailers of the answer say no more"),
    ),
}


@pytest.mark.parametrize(("trailers", "error"), FAILURES.values(), ids=FAILURES)
def test_trailers_say_that_a_stream_failed(
    function: ScriptedFunction, runtime: ScriptedRuntime, trailers: tuple[str, ...], error: tuple[str, str]
) -> None:
    invoking = function.invoking()
    upload = runtime.stream(runtime.take())
    stream = invoking.early().stream
    upload.send(b"some")
    ended = function.in_background(upload.end, *trailers)
    assert stream is not None
    assert stream.read() == b"some"
    with pytest.raises(AnswerCut):
        stream.read()
    assert ended.result(PATIENCE_S).status == 202  # to the platform it is an answer that was delivered
    status, body = over(function, invoking)
    assert (status, error_of(body)) == (200, error)


def test_a_stream_without_an_end_is_truncated_and_the_runtime_must_end(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    upload = runtime.stream(runtime.take())
    upload.send(b"some")
    upload.cut()
    stream = invoking.early().stream
    assert stream is not None
    assert stream.read() == b"some"
    with pytest.raises(AnswerCut):
        stream.read()
    assert runtime.next().status == 403
    function.exit(1)
    assert error_of(invoking.end().body)[0] == "Runtime.TruncatedResponse"


def test_a_stream_that_ends_with_its_process_is_an_exit_error(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    upload = runtime.stream(runtime.take())
    stream = invoking.early().stream
    upload.cut()
    function.exit(137)
    assert stream is not None
    with pytest.raises(AnswerCut):
        stream.read()
    reply = invoking.end()
    assert (reply.status, error_of(reply.body)[0]) == (502, "Runtime.ExitError")


def test_a_stream_is_cut_when_the_time_is_up() -> None:
    function = ScriptedFunction(timeout_s=1)
    invoking = function.invoking()
    upload = function.runtime.stream(function.runtime.take())
    upload.send(b"some")
    stream = invoking.early().stream
    assert stream is not None
    assert stream.read() == b"some"
    with pytest.raises(AnswerCut):
        stream.read()
    assert invoking.end().body == b"Task timed out after 1.00 seconds"
    function.stop()


def test_a_stream_has_a_limit() -> None:
    function = ScriptedFunction(stream_limit=10)
    invoking = function.invoking()
    upload = function.runtime.stream(function.runtime.take())
    upload.send(b"0123456789")
    stream = invoking.early().stream
    assert stream is not None
    assert stream.read() == b"0123456789"
    upload.send(b"x")
    with pytest.raises(AnswerCut):
        stream.read()
    assert upload.was_closed()
    status, body = over(function, invoking)
    assert (status, error_of(body)) == (
        200,
        ("Function.ResponseSizeTooLarge", "the streamed answer exceeds the maximum of 10 bytes"),
    )
    function.stop()


def test_a_stream_that_nobody_wants_is_closed_and_the_runtime_goes_on(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    upload = runtime.stream(runtime.take())
    stream = invoking.early().stream
    assert stream is not None
    stream.close()
    assert upload.was_closed()
    assert over(function, invoking) == (200, b"")


@pytest.mark.parametrize("how", ["nobody wants more", "it is too large"])
def test_the_session_knows_of_the_end_before_the_runtime_can_notice(how: str) -> None:
    """It would be refused its next invocation otherwise, and end."""
    runtime, connection = socket.socketpair()
    http = h11.Connection(h11.SERVER)
    http.receive_data(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    assert isinstance(http.next_event(), h11.Request)
    noticed: list[bool] = []

    def tell(_document: bytes | None) -> None:
        poll = select.poll()
        poll.register(runtime, select.POLLIN)
        noticed.append(bool(poll.poll(0)))

    with runtime, connection:
        stream = StreamedAnswer(http, connection, "text/plain", 1, on_end=tell, on_cut=tell)
        if how == "nobody wants more":
            stream.close()
        else:
            runtime.sendall(b"2\r\nab\r\n")
            with pytest.raises(AnswerCut):
                stream.read()
        assert noticed == [False]
        assert runtime.recv(1) == b""


def test_reading_notices_that_the_client_has_gone(function: ScriptedFunction, runtime: ScriptedRuntime) -> None:
    invoking = function.invoking()
    runtime.stream(runtime.take())
    stream = invoking.early().stream
    assert stream is not None
    client, ours = socket.socketpair()
    client.close()
    with pytest.raises(ClientGone):
        stream.read(ours)
    ours.close()
    stream.close()
    assert over(function, invoking) == (200, b"")


def test_a_client_that_has_sent_its_next_request_has_not_gone(
    function: ScriptedFunction, runtime: ScriptedRuntime
) -> None:
    invoking = function.invoking()
    upload = runtime.stream(runtime.take())
    stream = invoking.early().stream
    assert stream is not None
    client, ours = socket.socketpair()
    client.sendall(b"GET / HTTP/1.1\r\n")
    upload.send(b"some")
    assert stream.read(ours) == b"some"
    client.close()
    ours.close()
    upload.cut()


BROWSERS = {
    "a page of another site": ("Host: 127.0.0.1", "Origin: https://evil.example"),
    "a page of this machine": ("Host: 127.0.0.1", "Origin: http://localhost:3000"),
    "a page that hides who it is": ("Host: 127.0.0.1", "Origin: null"),
    "a picture in a page": ("Host: 127.0.0.1", "Sec-Fetch-Site: cross-site"),
    "a page whose name was pointed here": ("Host: evil.example",),
    "no name": ("Host: a/b",),
}


@pytest.mark.parametrize("lines", BROWSERS.values(), ids=BROWSERS)
@pytest.mark.parametrize("asked", ["GET invocation/next", "POST init/error", "POST invocation/x/response"])
def test_a_web_page_cannot_play_the_runtime(function: ScriptedFunction, lines: tuple[str, ...], asked: str) -> None:
    method, path = asked.split()
    host, _, port = function.server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as page:
        head = (
            f"{method} /2018-06-01/runtime/{path} HTTP/1.1",
            *lines,
            "Content-Type: text/plain",
            "Content-Length: 2",
        )
        page.sendall("\r\n".join([*head, "", "{}"]).encode())
        assert page.recv(65536).startswith(b"HTTP/1.1 403 ")
    invoking = function.invoking()  # of all this the function has noticed nothing
    function.runtime.respond(function.runtime.take(), b'"hello"')
    assert over(function, invoking) == (200, b'"hello"')


def test_each_server_has_an_address_of_the_loopback_that_nobody_guesses(function: ScriptedFunction) -> None:
    other = ScriptedFunction()
    hosts = {each.server.address.partition(":")[0] for each in (function, other)}
    other.stop()
    assert len(hosts) == 2
    assert all(host.startswith("127.") and host != "127.0.0.1" for host in hosts)
