"""The test instruments do what the tests rely on: checked with plain sockets, without Fairlead."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path

import pytest

from tests.fakes import WAIT_SECONDS, BootstrapProcess, FakeRuntimeApi, Reply, Wire, start_bootstrap
from tests.fakes.children import killed_at_the_end
from tests.fakes.process import APPS, PYTHON, free_port

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"
ID = "00000000-0000-4000-8000-000000000001"


def post(path: str, body: bytes = b"{}", *fields: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def respond(request_id: str = ID, body: bytes = b"{}", *fields: str) -> bytes:
    return post(f"/2018-06-01/runtime/invocation/{request_id}/response", body, *fields)


def init_error() -> bytes:
    return post("/2018-06-01/runtime/init/error")


def register(name: str = "test", body: bytes = b'{"events":[]}') -> bytes:
    return post("/2020-01-01/extension/register", body, f"Lambda-Extension-Name: {name}")


class Client:
    """One raw connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=WAIT_SECONDS)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, method: str = "GET") -> HTTPResponse:
        """The next response, its body not read yet."""
        response = HTTPResponse(self.sock, method=method)
        response.begin()
        return response

    def ask(self, data: bytes, method: str = "GET") -> tuple[int, bytes]:
        """The status and body of the answer to ``data``."""
        self.send(data)
        response = self.read(method)
        return response.status, response.read()

    def read_all(self, into: bytearray) -> None:
        """Everything until the server closes."""
        while piece := self.sock.recv(65536):
            into += piece

    def is_at_end(self) -> bool:
        """Whether the server closes without sending anything more."""
        return self.sock.recv(1) == b""


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi() as api:
        yield api


@pytest.fixture
def connect() -> Iterator[Callable[[str], Client]]:
    clients: list[Client] = []

    def open_client(address: str) -> Client:
        clients.append(Client(address))
        return clients[-1]

    yield open_client
    for client in clients:
        client.sock.close()


@pytest.fixture
def client(api: FakeRuntimeApi, connect: Callable[[str], Client]) -> Client:
    return connect(api.address)


# The Runtime API: what it sends

WIRES = {
    "content-length": Wire(),
    "chunked": Wire(chunk_size=7),
    "chunks of one byte": Wire(chunk_size=1),
    "one byte per send": Wire(send_size=1),
    "both": Wire(chunk_size=1, send_size=1),
    "closed afterwards": Wire(end="close"),
    "reset afterwards": Wire(end="reset"),
}


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_an_event_arrives_whole_however_it_is_written(api: FakeRuntimeApi, client: Client, wire: Wire) -> None:
    api.add_event(b'{"some": "payload"}', request_id=ID, deadline_ms=1234, headers={"X-More": "1"}, wire=wire)
    client.send(NEXT)
    response = client.read()
    assert (response.status, response.read()) == (200, b'{"some": "payload"}')
    assert response.getheader("Lambda-Runtime-Aws-Request-Id") == ID
    assert response.getheader("Lambda-Runtime-Deadline-Ms") == "1234"
    assert response.getheader("X-More") == "1"
    assert (response.getheader("Transfer-Encoding") == "chunked") == bool(wire.chunk_size)


def test_a_deadline_counts_from_the_moment_when_the_event_is_handed_out(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event({}, deadline_s=5)
    time.sleep(0.01)  # the time in which a bootstrap starts
    asked = time.time()
    client.send(NEXT)
    assert int(client.read().getheader("Lambda-Runtime-Deadline-Ms") or 0) >= int((asked + 5) * 1000)


def test_headers_can_be_left_out_and_spelled_otherwise(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event({}, headers={"Lambda-Runtime-Aws-Request-Id": None}, spelling=str.upper)
    client.send(NEXT)
    names = [name for name, _ in client.read().getheaders()]
    assert "LAMBDA-RUNTIME-DEADLINE-MS" in names
    assert "lambda-runtime-aws-request-id" not in [name.lower() for name in names]


def test_a_closed_connection_ends_after_the_reply(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event({}, wire=Wire(end="close"))
    client.ask(NEXT)
    assert client.is_at_end()


def test_a_reset_connection_is_reset_after_the_reply(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event({}, wire=Wire(end="reset"))
    client.ask(NEXT)
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)


def test_a_reply_can_be_reset_before_its_first_byte(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event({}, wire=Wire(end="reset", end_at=0))
    client.send(NEXT)
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)


def test_a_reply_can_be_cut_in_the_middle(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event(b"0123456789", wire=Wire(end="close", end_at=-3))
    client.send(NEXT)
    with pytest.raises(IncompleteRead) as caught:
        client.read().read()
    assert caught.value.partial == b"0123456"


def test_a_gate_holds_the_rest_of_a_reply_back(api: FakeRuntimeApi, client: Client) -> None:
    gate = threading.Event()
    api.add_event(b"0123456789", wire=Wire(gate=gate, gate_at=-3))
    client.send(NEXT)
    response = client.read()
    assert response.read(7) == b"0123456"
    client.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.sock.recv(1)
    client.sock.settimeout(10)
    gate.set()
    assert response.read() == b"789"


def test_next_is_held_until_there_is_an_event(api: FakeRuntimeApi, client: Client) -> None:
    client.send(NEXT)
    api.wait_idle()
    api.add_event(b'"late"')
    assert client.read().read() == b'"late"'


def test_a_stop_is_a_410(api: FakeRuntimeApi, client: Client) -> None:
    api.add_stop()
    assert client.ask(NEXT)[0] == 410


# The Runtime API: what it keeps


def test_requests_are_recorded_as_they_came(
    api: FakeRuntimeApi, client: Client, connect: Callable[[str], Client]
) -> None:
    api.add_event({}, request_id=ID)
    client.ask(NEXT)
    fields = ("x-lOwEr: caf\xe9", "X-Twice: 1", "x-twice: 2")
    assert connect(api.address).ask(respond(ID, b"\0\xff\r\n", *fields), "POST")[0] == 202
    first, second = api.requests
    assert (first.number, first.connection, second.number, second.connection) == (1, 1, 2, 2)
    assert second.headers[2:] == [("x-lOwEr", "cafÃ©"), ("X-Twice", "1"), ("x-twice", "2")]
    assert second.header_values("X-TWICE") == ["1", "2"]
    answer = api.wait_answer(ID)
    assert (answer.kind, answer.body, answer.status) == ("response", b"\0\xff\r\n", 202)


def test_a_request_id_is_decoded_from_the_path(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event({}, request_id="a b/c")
    client.ask(NEXT)
    client.ask(respond("a%20b%2Fc"))
    assert api.wait_answer("a b/c").request.target.endswith("/a%20b%2Fc/response")


def test_scripted_replies_come_in_turn_and_then_the_usual_one(api: FakeRuntimeApi, client: Client) -> None:
    api.script("response", Reply(413), Reply(500))
    statuses = []
    for _ in range(3):
        request_id = api.add_event({})
        client.ask(NEXT)
        statuses.append(client.ask(respond(request_id))[0])
    assert statuses == [413, 500, 202]


def test_a_streamed_response_is_recorded_while_it_comes_with_its_trailers(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event({}, request_id=ID)
    client.ask(NEXT)
    head = (
        f"POST /2018-06-01/runtime/invocation/{ID}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        "Lambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
    )
    client.send(head.encode() + b"3\r\nabc\r\n")
    while api.requests[-1].body != b"abc":
        time.sleep(0.001)  # bounded by the socket's timeout on the other side
    assert not api.requests[-1].is_complete
    client.send(b"2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")
    assert client.read("POST").status == 202
    assert api.wait_answer(ID).body == b"abcde"
    assert api.requests[-1].trailers == [("X-Trailer", "1")]


def test_a_post_can_be_left_half_read(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event({}, request_id=ID)
    api.script("response", Reply(wire=Wire(end="reset", end_at=0), read=10))
    client.ask(NEXT)
    client.send(respond(ID, b"x" * 100))
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)
    assert not api.requests[-1].is_complete


def test_a_payload_at_the_limit_is_taken_and_one_byte_more_is_refused(api: FakeRuntimeApi, client: Client) -> None:
    for size, status in ((6_291_556, 202), (6_291_557, 413)):
        request_id = api.add_event({})
        client.ask(NEXT)
        assert client.ask(respond(request_id, bytes(size)))[0] == status


def test_an_extension_registers_and_its_event_never_comes(
    api: FakeRuntimeApi, client: Client, connect: Callable[[str], Client]
) -> None:
    client.send(register())
    identifier = client.read("POST").getheader("Lambda-Extension-Identifier")
    event_next = "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: x\r\nLambda-Extension-Identifier: "
    parked = connect(api.address)
    parked.send(f"{event_next}{identifier}\r\n\r\n".encode())
    assert api.wait_registered().header("lambda-extension-name") == "test"
    parked.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        parked.sock.recv(1)


# The Runtime API: the rules. Each case: requests after one event was handed out, the last status, the violation.

RULES = {
    "transfer-encoding": (
        [respond().replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")[:-2] + b"2\r\n{}\r\n0\r\n\r\n"],
        202,
        "Transfer-Encoding",
    ),
    "no content-length": ([respond(ID, b"").replace(b"Content-Length: 0\r\n", b"")], 202, "no Content-Length"),
    "expect": ([respond(ID, b"{}", "Expect: 100-continue")], 202, "Expect"),
    "no host": ([respond().replace(b"Host: x\r\n", b"")], 202, "no Host"),
    "wrong path": ([post("/2018-06-01/runtime/invocations/1/response")], 404, "wrong path"),
    "unencoded id": ([post("/2018-06-01/runtime/invocation/a/b/response")], 404, "wrong path"),
    "wrong method": ([NEXT.replace(b"GET", b"PUT")], 404, "wrong path"),
    "unknown id": ([respond("other")], 400, "unknown id"),
    "second answer": ([respond(), respond()], 403, "second answer"),
    "response mode buffered": (
        [respond(ID, b"{}", "Lambda-Runtime-Function-Response-Mode: buffered")],
        400,
        "response mode",
    ),
    "next before the answer": ([NEXT], 403, "was answered"),
    "init error after next": ([init_error()], 403, "init error after next"),
    "registration after next": ([register()], 403, "registration after"),
}


@pytest.mark.parametrize(("requests", "status", "violation"), RULES.values(), ids=RULES)
def test_what_breaks_the_rules_is_noted(
    api: FakeRuntimeApi, client: Client, requests: list[bytes], status: int, violation: str
) -> None:
    api.add_event({}, request_id=ID)
    client.ask(NEXT)
    assert [client.ask(request)[0] for request in requests][-1] == status
    (noted,) = api.take_violations()
    assert violation in noted


# Requests to a fresh API.
EARLY_RULES = {
    "next after an init error": ([init_error(), NEXT], 403, "next after an init error"),
    "second init error": ([init_error(), init_error()], 403, "second init error"),
    "name taken": ([register(), register()], 403, "extension name"),
    "shutdown event": ([register(body=b'{"events":["SHUTDOWN"]}')], 403, "SHUTDOWN"),
    "no events": ([register(body=b"{}")], 400, "registration"),
    "event/next unregistered": (
        [b"GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: x\r\n\r\n"],
        403,
        "without registration",
    ),
}


@pytest.mark.parametrize(("requests", "status", "violation"), EARLY_RULES.values(), ids=EARLY_RULES)
def test_what_breaks_the_rules_of_the_init_phase_is_noted(
    api: FakeRuntimeApi, client: Client, requests: list[bytes], status: int, violation: str
) -> None:
    assert [client.ask(request)[0] for request in requests][-1] == status
    (noted,) = api.take_violations()
    assert violation in noted


def test_overlapping_next_is_noted(api: FakeRuntimeApi, client: Client, connect: Callable[[str], Client]) -> None:
    client.send(NEXT)
    api.wait_idle()
    assert connect(api.address).ask(NEXT)[0] == 403
    assert api.take_violations() == ["overlapping next"]


def test_with_concurrency_several_next_may_wait(connect: Callable[[str], Client]) -> None:
    with FakeRuntimeApi(concurrency=2) as api:
        clients = [connect(api.address), connect(api.address)]
        for client in clients:
            client.send(NEXT)
        api.wait_next(2)
        ids = [api.add_event({}), api.add_event({})]
        assert sorted(str(client.read().getheader("Lambda-Runtime-Aws-Request-Id")) for client in clients) == ids


def test_a_next_whose_client_left_does_not_overlap_the_retry(
    api: FakeRuntimeApi, client: Client, connect: Callable[[str], Client]
) -> None:
    client.send(NEXT)
    api.wait_idle()
    client.sock.close()
    retry = connect(api.address)
    retry.send(NEXT)
    api.wait_next(2)
    api.add_event(b'"for the living"')
    assert retry.read().read() == b'"for the living"'


def test_pipelining_is_noted(api: FakeRuntimeApi, client: Client) -> None:
    client.send(NEXT)
    api.wait_idle()
    client.send(NEXT)
    api.add_event({}, request_id=ID)
    client.sock.shutdown(socket.SHUT_WR)
    received = bytearray()
    client.read_all(received)
    assert received.index(b"HTTP/1.1 200 ") < received.index(b"HTTP/1.1 403 ")
    pipelining, early = api.take_violations()
    assert "pipelining" in pipelining
    assert "was answered" in early


def test_what_is_not_http_is_noted_and_the_connection_reset(api: FakeRuntimeApi, client: Client) -> None:
    client.send(b"GET /with a space HTTP/1.1\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)
    assert "malformed" in api.take_violations()[0]


def test_a_violation_that_the_test_did_not_take_fails_it(connect: Callable[[str], Client]) -> None:
    with pytest.raises(AssertionError, match="wrong path"), FakeRuntimeApi() as api:
        connect(api.address).ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def test_waiting_in_vain_says_what_was_seen(api: FakeRuntimeApi, client: Client) -> None:
    api.add_event({}, request_id=ID)
    client.ask(NEXT)
    with pytest.raises(AssertionError, match=rf"waited for an answer to {ID}(?s:.*)GET /2018-06-01/"):
        api.wait_answer(ID, timeout=0.1)


# The process under watch, with small shell scripts for bootstraps


def script(directory: Path, text: str) -> Path:
    path = directory / "bootstrap"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


def run(api: FakeRuntimeApi, directory: Path, text: str) -> BootstrapProcess:
    return start_bootstrap(api, bootstrap=script(directory, text))


def test_output_and_status_are_there_once_the_process_has_exited(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = run(api, tmp_path, "echo out; echo err >&2; exit 3")
    assert process.wait() == 3
    assert (process.stdout, process.stderr) == ("out\n", "err\n")


def test_a_megabyte_of_output_blocks_nothing(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = run(api, tmp_path, "head -c 1000000 /dev/zero | tr '\\0' x >&2")
    assert process.wait() == 0
    assert len(process.stderr) == 1_000_000


def test_the_environment_is_minimal_and_the_given_one_added(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = start_bootstrap(
        api,
        command="serve me",
        environment={"MORE": "1", "AWS_LAMBDA_FUNCTION_NAME": None},
        arguments=["a b"],
        bootstrap=script(tmp_path, 'env; echo "arguments=$*"; echo "cwd=$PWD"'),
    )
    assert process.wait() == 0
    seen = dict(line.split("=", 1) for line in process.stdout.splitlines())
    assert seen["AWS_LAMBDA_RUNTIME_API"] == api.address
    assert seen["FAIRLEAD_COMMAND"] == "serve me"
    assert seen["FAIRLEAD_PORT"] == str(process.port)
    assert (seen["MORE"], seen["arguments"], seen["cwd"]) == ("1", "a b", seen["LAMBDA_TASK_ROOT"])
    assert not {"HOME", "_HANDLER", "AWS_LAMBDA_FUNCTION_NAME", "PYTHONPATH"} & set(seen)


def test_sigterm_goes_to_the_bootstrap_alone(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = run(api, tmp_path, "trap 'exit 9' TERM; echo ready; while :; do read -rt 0.01 <> <(:); done")
    process.wait_output("ready")
    process.terminate()
    assert process.wait() == 9


def test_what_outlives_the_bootstrap_is_reported_and_killed(tmp_path: Path) -> None:
    api = FakeRuntimeApi()
    # As an app has it: a process group of its own.
    process = run(api, tmp_path, "set -m; sleep 60 & exit 0")
    assert process.wait() == 0
    assert len(process.app_pids) == 1
    with pytest.raises(AssertionError, match=r"left running.*sleep 60"):
        api.__exit__(None)
    assert process.app_pids == []


def test_what_outlives_a_killed_bootstrap_is_killed_without_a_word(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = run(api, tmp_path, "set -m; sleep 60 & echo started; wait")
    process.wait_output("started")
    process.kill()
    assert len(process.app_pids) == 1
    assert process.stop() == []
    assert process.app_pids == []


def test_waiting_for_a_process_that_has_ended_shows_its_output(api: FakeRuntimeApi, tmp_path: Path) -> None:
    run(api, tmp_path, "echo cannot go on >&2; exit 1")
    with pytest.raises(AssertionError, match=r"the bootstrap has exited(?s:.*)cannot go on"):
        api.wait_answer("any")


# The apps


class App:
    """A test app on a port of its own."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.port = free_port()
        self._block = killed_at_the_end(
            [PYTHON, "-S", str(APPS / name)],
            env={"PORT": str(self.port), **environment},
            stderr=subprocess.PIPE,
        )
        self.process = self._block.__enter__()

    def stop(self) -> None:
        """End it."""
        self._block.__exit__(None, None, None)

    def connect(self, port: int = 0) -> Client:
        """A connection, as soon as the app listens."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return Client(f"127.0.0.1:{port or self.port}")
            except ConnectionRefusedError:
                assert self.process.poll() is None, "the app has ended"
                assert time.monotonic() < deadline, "the app does not listen"
                time.sleep(0.002)

    def raw(self, target: str, method: str = "GET", body: bytes = b"") -> bytes:
        """Everything that comes until the app closes or has nothing more to say."""
        client = self.connect()
        with client.sock:
            length = f"\r\ncontent-length: {len(body)}" if body else ""
            client.send(f"{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close{length}\r\n\r\n".encode() + body)
            client.sock.shutdown(socket.SHUT_WR)  # ends a keep-alive connection after the answer
            received = bytearray()
            client.read_all(received)
            return bytes(received)


@pytest.fixture
def start_app() -> Iterator[Callable[..., App]]:
    apps: list[App] = []

    def start(name: str, **environment: str) -> App:
        apps.append(App(name, environment))
        return apps[-1]

    yield start
    for app in apps:
        app.stop()


@pytest.fixture(scope="module")
def faults() -> Iterator[App]:
    app = App("faults.py", {})
    yield app
    app.stop()


def test_echo_answers_what_it_received_byte_for_byte(start_app: Callable[..., App]) -> None:
    client = start_app("echo.py").connect()
    with client.sock:
        for body in (b"\0\xff", b""):  # on one connection
            head = b"PUT /%20//?a=b&a HTTP/1.1\r\nHost: x\r\nX-Odd: caf\xe9\r\nx-odd: 2\r\nContent-Length: "
            status, answer = client.ask(head + str(len(body)).encode() + b"\r\n\r\n" + body)
            document = json.loads(answer)
            assert (status, document["method"], document["target"]) == (200, "PUT", "/%20//?a=b&a")
            assert document["headers"][1:3] == [["X-Odd", "caf\xe9"], ["x-odd", "2"]]
            assert b64decode(document["body"]) == body


FAULTY_ANSWERS = {
    "/": b'200 Some Reason\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n"ok"',
    "/status/418": b'418 Some Reason\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"status":418}',
    "/status/304": b"304 Some Reason\r\n\r\n",
    "/no-content": b"204 No Content\r\n\r\n",
    "/two-cookies": b"set-cookie: b=2; Path=/; HttpOnly\r\nvary: accept\r\nvary: origin\r\n",
    "/headers/120": b"x-number-119: 119\r\n",
    "/header-100k": b"b" * 100_000,
    "/latin1-header": b"caf\xe9.txt",
    "/large/70000": b"a" * 70_000,
    "/text-latin1": b"\r\n\r\ncaf\xe9",
    "/binary": bytes(range(256)),
    "/chunked": b'1\r\n"\r\n2;extension=1\r\nok\r\n1\r\n"\r\n0\r\n\r\n',
    "/chunked-trailers": b"0\r\nx-checksum: 1\r\nx-other: 2\r\n\r\n",
    "/close-delimited": b'connection: close\r\n\r\n"ok"',
    "/early-hints": b"103 Early Hints\r\n",
    "/slow-drip": b"\r\n\r\n11111111111111111111",
    "/sleep-ms/1": b'"ok"',
    "/truncated": b"content-length: 100\r\n\r\n0123456789",
    "/truncated-chunked": b'ok\r\n1\r\n"\r\n',
    "/close-after": b'"ok"',
    "/garbage": b"SSH-2.0",
    "/bad-chunk-size": b"+4\r\n",
    "/both-lengths": b"content-length: 2\r\ntransfer-encoding: chunked\r\n",
    "/conflicting-lengths": b"content-length: 4\r\ncontent-length: 2\r\n",
    "/folded-header": b"x-folded: one\r\n two",
    "/nul-header": b"x-nul: a\0b",
    "/switching-protocols": b"101 Switching Protocols",
    "/leftover": b'"ok"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n"poison"',
    "/body-with-204": b'204 No Content\r\ncontent-length: 8\r\n\r\n"poison"',
    "/close-before": b"",
    "/stderr/10": b'"ok"',
}


@pytest.mark.parametrize("target", FAULTY_ANSWERS)
def test_each_fault_is_what_its_path_says(faults: App, target: str) -> None:
    assert FAULTY_ANSWERS[target] in faults.raw(target)


def test_http10_says_so(faults: App) -> None:
    assert faults.raw("/http10").startswith(b"HTTP/1.0 200 OK")


@pytest.mark.parametrize(
    ("target", "before"),
    [("/reset-before", b""), ("/reset-in-head", b"HTTP/1.1 200 O"), ("/reset-middle", b"9"), ("/reset-after", b'"ok"')],
)
def test_resets_come_where_they_should(faults: App, target: str, before: bytes) -> None:
    client = faults.connect()
    with client.sock:
        client.send(f"GET {target} HTTP/1.1\r\n\r\n".encode())
        received = bytearray()
        with pytest.raises(ConnectionResetError):
            client.read_all(received)
        assert received.endswith(before)


def test_silence_lasts(faults: App) -> None:
    client = faults.connect()
    with client.sock:
        client.send(b"GET /silence HTTP/1.1\r\n\r\n")
        assert b'"ok"' in faults.raw("/")  # the app is alive
        client.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.sock.recv(1)


def test_an_early_413_does_not_read_the_upload(faults: App) -> None:
    client = faults.connect()
    with client.sock:
        client.send(b"POST /early-413 HTTP/1.1\r\ncontent-length: 100000000\r\n\r\n")
        assert client.read("POST").status == 413


def test_events_echo_their_payload_or_do_the_fault_they_name(faults: App) -> None:
    assert faults.raw("/events", "POST", b'{"a": [1.0]}').endswith(b'\r\n\r\n{"a": [1.0]}')
    assert b" 500 " in faults.raw("/events", "POST", b'{"fault": "/status/500"}')


def test_a_head_request_gets_a_length_and_no_body(faults: App) -> None:
    assert faults.raw("/", "HEAD").endswith(b"content-length: 4\r\n\r\n")


def test_the_app_tells_what_it_was_started_with(faults: App) -> None:
    assert faults.raw("/pid").endswith(b"\r\n\r\n%d" % faults.process.pid)
    environment = json.loads(faults.raw("/environment").partition(b"\r\n\r\n")[2])
    assert environment["PORT"] == str(faults.port)
    assert {"0", "1", "2"} <= set(json.loads(faults.raw("/descriptors").partition(b"\r\n\r\n")[2]))
    assert json.loads(faults.raw("/process-group").partition(b"\r\n\r\n")[2])[0] == faults.process.pid


@pytest.mark.parametrize(("target", "answer"), [("/die", b""), ("/die-after", b'"ok"')])
def test_the_app_can_die(start_app: Callable[..., App], target: str, answer: bytes) -> None:
    app = start_app("faults.py")
    assert app.raw(target).endswith(answer)
    assert app.process.wait(10) == 7


def test_a_start_can_fail(start_app: Callable[..., App]) -> None:
    app = start_app("faults.py", EXIT_AT_ONCE_MS="0", EXIT_CODE="5")
    _, stderr = app.process.communicate(timeout=WAIT_SECONDS)
    assert (app.process.returncode, stderr) == (5, b"app: cannot open the database\napp: giving up\n")


def test_a_start_without_port_says_so(start_app: Callable[..., App]) -> None:
    app = start_app("faults.py", PORT="")
    _, stderr = app.process.communicate(timeout=WAIT_SECONDS)
    assert (app.process.returncode, b"cannot listen on PORT=" in stderr) == (1, True)


def test_the_first_requests_can_be_unready(start_app: Callable[..., App]) -> None:
    app = start_app("echo.py", UNREADY_STATUS_COUNT="2")
    assert [app.raw("/").split()[1] for _ in range(3)] == [b"503", b"503", b"200"]


def test_the_first_connection_can_be_silent(start_app: Callable[..., App]) -> None:
    app = start_app("faults.py", ACCEPT_BUT_SILENT_FIRST="1")
    silent = app.connect()
    with silent.sock:
        assert b'"ok"' in app.raw("/")
        silent.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.sock.recv(1)


def test_the_app_can_listen_elsewhere(start_app: Callable[..., App]) -> None:
    port = free_port()
    app = start_app("faults.py", LISTEN_OTHER_PORT=str(port))
    app.connect(port).sock.close()
    with pytest.raises(ConnectionRefusedError):
        Client(f"127.0.0.1:{app.port}")


def test_a_burst_on_stderr_has_the_size_asked_for(start_app: Callable[..., App]) -> None:
    app = start_app("faults.py", STDERR_BURST="1000000", EXIT_AT_ONCE_MS="0")
    _, stderr = app.process.communicate(timeout=WAIT_SECONDS)
    assert len(stderr) > 1_000_000


def test_a_late_start_is_late(start_app: Callable[..., App]) -> None:
    app = start_app("faults.py", START_DELAY_MS="100000")
    Path(f"/proc/{app.process.pid}/cmdline").read_bytes()  # it lives
    with pytest.raises(ConnectionRefusedError):
        Client(f"127.0.0.1:{app.port}")


def test_sigterm_can_be_ignored_and_a_child_left(start_app: Callable[..., App]) -> None:
    app = start_app("faults.py", IGNORE_SIGTERM="1", FORK_CHILD="1")
    assert b'"ok"' in app.raw("/")
    app.process.terminate()
    assert b'"ok"' in app.raw("/")
    children = Path(f"/proc/{app.process.pid}/task/{app.process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), 9)
