"""What can be put around the app, black box: statuses, hooks, compression, own paths, logs, traces, raw events."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import socket
import sysconfig
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.events import function_url
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.process import APPS, PYTHON, free_port
from tests.fakes.runtime_api import TRACE_ID, WAIT_SECONDS

Start = Callable[..., BootstrapProcess]
SEPARATOR = b"\0" * 8


def ask(api: FakeRuntimeApi, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
    event = function_url(method, path)
    event["headers"].update(headers or {})
    return api.wait_answer(api.add_event(event))


def json_lines(process: BootstrapProcess, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("type") == kind]


# ---- FAIRLEAD_ERROR_STATUS_CODES


@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_a_failing_status_fails_the_invocation_of_an_http_event(api: FakeRuntimeApi, start: Start, mode: str) -> None:
    start(AWS_LWA_ERROR_STATUS_CODES="404,500-599", FAIRLEAD_INVOKE_MODE=mode)
    answer = ask(api, "/status/503")
    assert answer.kind == "error"
    assert answer.request.header("Lambda-Runtime-Function-Error-Type") == "Function.Status503"
    assert answer.document["errorType"] == "Function.Status503"
    assert answer.document["errorMessage"] == '{"status":503}'
    assert ask(api, "/status/404").kind == "error"
    assert ask(api, "/status/403").kind == "response"


# ---- FAIRLEAD_EVENT_MODE


def test_in_raw_mode_every_event_is_posted_as_it_is(api: FakeRuntimeApi, start: Start) -> None:
    start(FAIRLEAD_EVENT_MODE="raw")
    payload = json.dumps(function_url("GET", "/status/500"), indent=3).encode()
    assert api.wait_answer(api.add_event(payload)).body == payload
    payload = b'{"Records": [1.10, 2e400]}'
    assert api.wait_answer(api.add_event(payload)).body == payload


def test_in_raw_mode_a_failing_status_fails_the_invocation(api: FakeRuntimeApi, start: Start) -> None:
    start(FAIRLEAD_EVENT_MODE="raw", FAIRLEAD_INVOKE_MODE="response_stream")
    answer = api.wait_answer(api.add_event({"fault": "/status/500", **function_url("GET", "/")}))
    assert (answer.kind, answer.document["errorType"]) == ("error", "Function.Status500")


# ---- FAIRLEAD_ENABLE_COMPRESSION


def test_an_answer_is_compressed_for_a_client_that_accepts_it(api: FakeRuntimeApi, start: Start) -> None:
    start(AWS_LWA_ENABLE_COMPRESSION="true")
    answer = ask(api, "/large/20000", {"accept-encoding": "gzip;q=0.8, identity;q=0.1"}).document
    assert answer["headers"]["content-encoding"] == "gzip"
    assert answer["headers"]["vary"].lower() == "accept-encoding"
    assert gzip.decompress(base64.b64decode(answer["body"])) == b"a" * 20_000
    plain = ask(api, "/large/20000", {"accept-encoding": "identity"}).document
    assert "content-encoding" not in plain["headers"]
    assert plain["body"] == "a" * 20_000


def test_a_streamed_answer_is_compressed_piece_by_piece(api: FakeRuntimeApi) -> None:
    """Each piece can be read by the client before the app writes the next."""
    environment = {"FAIRLEAD_ENABLE_COMPRESSION": "true", "FAIRLEAD_INVOKE_MODE": "response_stream"}
    process = start_bootstrap(api, command=app("piecewise.py"), environment=environment)
    event = function_url("GET", "/events-stream/2")
    event["headers"]["accept-encoding"] = "gzip"
    request_id = api.add_event(event)
    for number in range(2):
        _release(process)
        _wait_until(lambda number=number: b"data: %d\n\n" % number in _unzipped(api))  # type: ignore[misc]
    answer = api.wait_answer(request_id)
    prelude, _, body = answer.body.partition(SEPARATOR)
    assert json.loads(prelude)["headers"]["content-encoding"] == "gzip"
    assert gzip.decompress(body) == b"data: 0\n\ndata: 1\n\n"


def _release(process: BootstrapProcess) -> None:
    def released() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", process.port), 5) as client:
                client.sendall(b"POST /release HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return bool(client.recv(1000))
        except OSError:
            return False  # the app is not there yet

    _wait_until(released)


def _unzipped(api: FakeRuntimeApi) -> bytes:
    received = b"".join(bytes(request.received) for request in api.of_kind("response"))
    return zlib.decompressobj(31).decompress(received.partition(SEPARATOR)[2])


def _wait_until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.005)


# ---- fairlead_hooks.py


@pytest.fixture
def start_with_hooks(api: FakeRuntimeApi, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., BootstrapProcess]:
    def started(source: str, **environment: str) -> BootstrapProcess:
        root = tmp_path_factory.mktemp("task")
        (root / "fairlead_hooks.py").write_text(source)
        given = {"LAMBDA_TASK_ROOT": str(root), **environment}
        return start_bootstrap(api, command=app("echo.py"), environment=given)

    return started


HOOKS = """
from fairlead.messages import HttpResponse

def on_request(request):
    if request.target == "/teapot":
        return HttpResponse(418, "", [("x-by", "hook")], b"short and stout")
    if request.target == "/boom":
        raise LookupError("no such thing")
    if request.target == "/nonsense":
        return "nonsense"
    if request.target.startswith("/change/"):
        return change(request)
    if request.target.startswith("/answer/"):
        return HttpResponse(*ANSWERS[request.target[8:]])
    if request.target.startswith("/old/"):
        return request._replace(target="/new/" + request.target[5:], body=b"longer than before")

def on_response(request, response):
    if request.target.startswith("/replace/"):
        return HttpResponse(*ANSWERS[request.target[9:]])
    return response._replace(headers=[*response.headers, ("x-target", request.target)])

def change(request):
    name = request.target[8:]
    headers = request.headers
    if name == "length":
        return request._replace(headers=[*headers, ("Content-Length", "900"), ("transfer-encoding", "chunked")])
    changes = {
        "value": {"headers": [*headers, ("x-bad", "a\\r\\nb: c")]},
        "name": {"headers": [*headers, ("x bad", "a")]},
        "method": {"method": "GET / HTTP/1.1\\r\\nx:"},
        "target": {"target": "/a b"},
        "absolute": {"target": "http://evil.example/"},
        "asterisk": {"target": "*"},
        "fragment": {"target": "/a#b"},
        "no host": {"headers": []},
        "two hosts": {"headers": [*headers, ("host", "another")]},
        "number": {"headers": [*headers, ("x-number", 1)]},
        "triple": {"headers": [*headers, ("a", "b", "c")]},
        "dict": {"headers": {"host": "a"}},
        "text": {"body": "text"},
    }
    return request._replace(**changes[name.replace("-", " ")])

ANSWERS = {
    "status": ("200\\r\\n", "", [], b""),
    "interim": (101, "", [], b""),
    "number": (200, "", [("a", 1)], b""),
    "none": (200, "", None, b""),
    "text": (200, "", [], "text"),
}
"""


BROKEN = ("value", "name", "method", "target")
TARGETS = ("absolute", "asterisk", "fragment")
HOSTS = ("no-host", "two-hosts")
MISTYPED = ("number", "triple", "dict", "text")
ANSWERS = ("status", "interim", "number", "none", "text")


@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_hooks_rewrite_requests_and_answers(
    api: FakeRuntimeApi, start_with_hooks: Callable[..., BootstrapProcess], mode: str
) -> None:
    start_with_hooks(HOOKS, FAIRLEAD_INVOKE_MODE=mode)
    head, body = parts(ask(api, "/old/1", method="POST"))
    seen = json.loads(body)
    assert head["headers"]["x-target"] == "/new/1"
    assert seen["target"] == "/new/1"
    assert base64.b64decode(seen["body"]) == b"longer than before"
    seen = json.loads(parts(ask(api, "/change/length"))[1])  # where a request ends is not the hook's to say
    assert [line for line in seen["headers"] if line[0].lower() in ("content-length", "transfer-encoding")] == [
        ["content-length", "0"]
    ]
    head, body = parts(ask(api, "/teapot"))
    assert (head["statusCode"], head["headers"]["x-by"], body) == (418, "hook", b"short and stout")
    head, body = parts(ask(api, "/same"))
    assert json.loads(body)["target"] == "/same"


def parts(answer: Answer) -> tuple[dict[str, Any], bytes]:
    if SEPARATOR in answer.body:
        prelude, _, body = answer.body.partition(SEPARATOR)
        return json.loads(prelude), body
    document = answer.document
    body = document["body"].encode()
    return document, base64.b64decode(body) if document["isBase64Encoded"] else body


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/boom", "LookupError"),
        ("/nonsense", "on_request gave a str, not an HttpRequest, an HttpResponse or None"),
        *[(f"/change/{name}", "on_request gave a request that cannot be sent") for name in BROKEN],
        *[(f"/change/{name}", "whose target is not a path that begins with /") for name in TARGETS],
        *[(f"/change/{name}", "on_request gave a request that has not exactly one host") for name in HOSTS],
        *[(f"/change/{name}", "that does not consist of text, text, pairs of text, and bytes") for name in MISTYPED],
        *[(f"/answer/{name}", "on_request gave an HttpResponse") for name in ANSWERS],
        *[(f"/replace/{name}", "on_response gave an HttpResponse") for name in ANSWERS],
    ],
)
def test_a_hook_that_fails_costs_one_invocation_and_is_explained_in_the_log(
    api: FakeRuntimeApi, start_with_hooks: Callable[..., BootstrapProcess], path: str, words: str
) -> None:
    process = start_with_hooks(HOOKS)
    head, body = parts(ask(api, path, method="POST"))
    assert head["statusCode"] == 502
    assert b"Function.HookFailed" in body
    assert words in process.stderr
    assert parts(ask(api, "/"))[0]["statusCode"] == 200


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def on_request(request)\n", "SyntaxError"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("def on_reqest(request): pass\n", "must define on_request, on_response or both"),
        ("on_request = 1\n", "must define on_request, on_response or both"),
    ],
    ids=["syntax", "import", "exit", "misspelt", "not-callable"],
)
def test_a_hook_file_that_cannot_be_loaded_stops_the_start(
    api: FakeRuntimeApi, start_with_hooks: Callable[..., BootstrapProcess], source: str, words: str
) -> None:
    process = start_with_hooks(source)
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Function.HookFailed"
    assert words in document["errorMessage"]
    assert process.wait() == 1


# ---- FAIRLEAD_AFTER_RESPONSE_PATH


def test_the_next_invocation_waits_for_work_after_the_response(api: FakeRuntimeApi) -> None:
    environment = {"FAIRLEAD_AFTER_RESPONSE_PATH": "/events-stream/1"}  # answers when it is released
    process = start_bootstrap(api, command=app("piecewise.py"), environment=environment)
    assert ask(api, "/").document["body"] == '"ok"'
    assert len(api.nexts) == 1  # the answer was taken, and the app is still at work
    _release(process)
    api.wait_next(2)


def test_work_after_the_response_ends_with_the_deadline(api: FakeRuntimeApi) -> None:
    environment = {"FAIRLEAD_AFTER_RESPONSE_PATH": "/quiet"}
    process = start_bootstrap(api, command=app("piecewise.py"), environment=environment)
    api.wait_idle()
    api.wait_answer(api.add_event(function_url("GET", "/"), deadline_s=2.5))
    api.wait_next(2)
    assert "work after the response: Runtime.AppTimeout" in process.stderr


def directly(process: BootstrapProcess, path: str) -> str:
    """What the app says, asked beside Fairlead."""
    with urllib.request.urlopen(f"http://127.0.0.1:{process.port}{path}", timeout=WAIT_SECONDS) as answer:
        text: str = answer.read().decode()
    return text


def start_uvicorn(api: FakeRuntimeApi, path: str) -> BootstrapProcess:
    command = f"exec {PYTHON} -m uvicorn --app-dir {APPS} --port $PORT --no-access-log background:app"
    environment = {"FAIRLEAD_AFTER_RESPONSE_PATH": path, "PYTHONPATH": sysconfig.get_paths()["purelib"]}
    process = start_bootstrap(api, command=command, environment=environment)
    assert ask(api, "/work").document["body"] == "answered"
    return process


def test_background_tasks_under_uvicorn_are_over_before_the_next_invocation_is_asked_for(api: FakeRuntimeApi) -> None:
    process = start_uvicorn(api, "/done")
    assert directly(process, "/state") == "running"
    assert len(api.nexts) == 1
    directly(process, "/release")
    api.wait_next(2)
    assert directly(process, "/state") == "over"


def test_background_tasks_under_uvicorn_are_not_over_where_the_path_is_none_of_the_apps(api: FakeRuntimeApi) -> None:
    """uvicorn answers 404 while they run: docs/app.md asks for a route that waits."""
    process = start_uvicorn(api, "/not-a-route")
    api.wait_next(2)
    assert directly(process, "/state") == "running"


@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_a_path_of_ours_is_forbidden_to_clients(api: FakeRuntimeApi, mode: str) -> None:
    environment = {"FAIRLEAD_AFTER_RESPONSE_PATH": "/done", "FAIRLEAD_INVOKE_MODE": mode}
    start_bootstrap(api, command=app("piecewise.py"), environment=environment)
    assert parts(ask(api, "/done?x=1"))[0]["statusCode"] == 403
    assert parts(ask(api, "/done2"))[0]["statusCode"] == 200
    for path in (
        "/%64one",
        "//done",
        "/./done",
        "/x/../done",
        "/done/",
        "/done;x=1",
        "/DONE",
        "/x/%252e%252e%255cdone",
    ):
        assert parts(ask(api, path))[0]["statusCode"] == 403


def test_a_path_of_ours_is_forbidden_below_the_base_path_that_is_removed(api: FakeRuntimeApi) -> None:
    environment = {"FAIRLEAD_SNAPSTART_AFTER_RESTORE_PATH": "/restored", "FAIRLEAD_REMOVE_BASE_PATH": "/api"}
    start_bootstrap(api, command=app("faults.py"), environment=environment)
    for path in ("/api/restored", "/api//restored", "/restored", "/%61pi/restored", "/api/../api/restored"):
        assert ask(api, path).document["statusCode"] == 403
    assert ask(api, "/api/api/other").document["statusCode"] == 200


def test_a_hook_cannot_be_used_to_reach_a_path_of_ours(api: FakeRuntimeApi, tmp_path: Path) -> None:
    hook = "def on_request(request): return request._replace(target=request.target.removeprefix('/old'))\n"
    (tmp_path / "fairlead_hooks.py").write_text(hook)
    environment = {
        "FAIRLEAD_AFTER_RESPONSE_PATH": "/status/404",
        "FAIRLEAD_ERROR_STATUS_CODES": "403",
        "LAMBDA_TASK_ROOT": str(tmp_path),
    }
    start_bootstrap(api, command=app("faults.py"), environment=environment)
    assert ask(api, "/old/status/200").document["statusCode"] == 200
    for path in ("/old/status/404", "/status/404"):
        answer = ask(api, path).document
        assert (answer["statusCode"], answer["body"]) == (403, "403 Forbidden\n")


@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_what_we_ask_after_a_response_passes_no_hook_and_is_no_failing_status(
    api: FakeRuntimeApi, tmp_path: Path, mode: str
) -> None:
    hook = "def on_request(request): print('hooked', request.target, flush=True)\n"
    (tmp_path / "fairlead_hooks.py").write_text(
        hook + hook.replace("on_request(request)", "on_response(request, response)")
    )
    environment = {
        "FAIRLEAD_AFTER_RESPONSE_PATH": "/status/404",
        "FAIRLEAD_ERROR_STATUS_CODES": "404",
        "FAIRLEAD_ENABLE_COMPRESSION": "true",
        "FAIRLEAD_INVOKE_MODE": mode,
        "LAMBDA_TASK_ROOT": str(tmp_path),
    }
    process = start_bootstrap(api, command=app("faults.py"), environment=environment)
    assert parts(ask(api, "/status/200"))[0]["statusCode"] == 200
    api.wait_next(2)
    process.wait_output("hooked /status/200")
    assert "hooked /status/404" not in process.output
    assert "work after the response" not in process.output


# ---- FAIRLEAD_HOST_HEADER


def test_whoever_asks_for_no_client_asks_under_the_address_of_the_app(api: FakeRuntimeApi) -> None:
    process = start_bootstrap(api, command=app("hosts.py"), environment={"FAIRLEAD_AFTER_RESPONSE_PATH": "/done"})
    event = function_url("GET", "/page")
    event["headers"].pop("host")
    event["requestContext"].pop("domainName")
    api.wait_answer(api.add_event(event))
    api.wait_answer(api.add_event({"Records": []}))
    api.wait_idle()
    asked = ["GET /", "GET /page", "POST /done", "POST /events", "POST /done"]
    assert process.stdout.splitlines() == [f"{line} 127.0.0.1:{process.port}" for line in asked]


def test_it_asks_under_the_host_that_is_set(api: FakeRuntimeApi) -> None:
    environment = {"FAIRLEAD_HOST_HEADER": "app.example:81", "FAIRLEAD_AFTER_RESPONSE_PATH": "/done"}
    process = start_bootstrap(api, command=app("hosts.py"), environment=environment)
    api.wait_answer(api.add_event(function_url("GET", "/page")))
    api.wait_answer(api.add_event({"Records": []}))
    api.wait_idle()
    own = f"{function_url('GET', '/')['headers']['host']}"
    assert process.stdout.splitlines()[1:] == [
        f"GET /page {own}",
        "POST /done app.example:81",
        "POST /events app.example:81",
        "POST /done app.example:81",
    ]


# ---- FAIRLEAD_REQUEST_LOG


def test_the_request_log_has_a_line_per_request_and_no_secret(api: FakeRuntimeApi, start: Start) -> None:
    process = start(FAIRLEAD_REQUEST_LOG="true")
    secret = {"authorization": "Bearer s3cret", "cookie": "session=s3cret"}
    ask(api, "/status/404?token=s3cret", secret)
    ask(api, "/die", secret)
    api.wait_answer(api.add_event({"Records": []}))
    api.wait_idle()
    first, second, third = json_lines(process, "request")
    assert (first["method"], first["path"], first["status"], first["coldStart"]) == ("GET", "/status/404", 404, True)
    assert first["responseBytes"] == len('{"status":404}')
    assert first["appMs"] > 0
    assert first["overheadMs"] > 0
    assert (second["path"], second["errorType"], second["coldStart"]) == ("/die", "Runtime.AppExited", False)
    assert "status" not in second
    assert (third["method"], third["path"], third["status"]) == ("POST", "/events", 200)
    assert "s3cret" not in process.output


def test_the_request_log_counts_what_was_streamed(api: FakeRuntimeApi) -> None:
    environment = {"FAIRLEAD_REQUEST_LOG": "true", "FAIRLEAD_INVOKE_MODE": "response_stream"}
    process = start_bootstrap(api, command=app("piecewise.py"), environment=environment)
    ask(api, "/bulk/3")
    api.wait_idle()
    (line,) = json_lines(process, "request")
    assert line["responseBytes"] == 3 * 65536


# ---- FAIRLEAD_TRACING


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        yield listener


def test_a_sampled_request_is_told_to_the_xray_daemon(api: FakeRuntimeApi, start: Start, daemon: socket.socket) -> None:
    address = f"127.0.0.1:{daemon.getsockname()[1]}"
    start(FAIRLEAD_TRACING="xray", AWS_XRAY_DAEMON_ADDRESS=f"tcp:127.0.0.1:1 udp:{address}")
    event = function_url("GET", "/status/500?token=s3cret")
    unsampled = TRACE_ID.replace("Sampled=1", "Sampled=0")
    api.wait_answer(api.add_event(event, headers={"Lambda-Runtime-Trace-Id": unsampled}))
    api.wait_answer(api.add_event(event))
    header, _, text = daemon.recv(65536).partition(b"\n")
    assert json.loads(header) == {"format": "json", "version": 1}
    document = json.loads(text)
    assert document["trace_id"] == "1-5759e988-bd862e3fe1be46a994272793"
    assert document["parent_id"] == "53995c3f42cd8ad8"
    assert document["type"] == "subsegment"
    assert document["http"] == {
        "request": {"method": "GET", "url": "/status/500"},
        "response": {"status": 500, "content_length": 14},
    }
    assert document["fault"] is True
    assert document["start_time"] <= document["end_time"] <= time.time()
    daemon.settimeout(0.05)
    with pytest.raises(TimeoutError):
        daemon.recv(65536)  # the one that was not sampled


def test_without_a_daemon_nothing_is_lost_but_the_trace(api: FakeRuntimeApi, start: Start) -> None:
    start(FAIRLEAD_TRACING="xray", AWS_XRAY_DAEMON_ADDRESS=f"127.0.0.1:{free_port()}")
    for _ in range(3):
        assert ask(api, "/").document["statusCode"] == 200


# ---- FAIRLEAD_UNIX_SOCKET


def test_an_app_can_listen_on_a_unix_socket(api: FakeRuntimeApi) -> None:
    path = f"/tmp/fairlead-test-{os.getpid()}.sock"
    process = start_bootstrap(api, command=app("unix.py"), environment={"FAIRLEAD_UNIX_SOCKET": path})
    try:
        assert ask(api, "/a").document["body"] == "/a"
        for pid in process.app_pids:  # its socket stays behind, and is in the way of the next one
            os.kill(pid, signal.SIGKILL)
        _wait_until(lambda: not process.app_pids)
        assert ask(api, "/b").document["body"] == "/b"
    finally:
        process.stop()
        os.unlink(path)


def test_a_unix_socket_that_was_left_behind_is_no_obstacle(api: FakeRuntimeApi) -> None:
    path = f"/tmp/fairlead-test-{os.getpid()}-old.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
    process = start_bootstrap(api, command=app("unix.py"), environment={"FAIRLEAD_UNIX_SOCKET": path})
    try:
        assert ask(api, "/a").document["body"] == "/a"
    finally:
        process.stop()
        os.unlink(path)


# ---- FAIRLEAD_LAMBDA_RUNTIME_API_PROXY


@pytest.mark.parametrize("spelling", ["{}", "http://{}"])
def test_behind_a_proxy_only_the_extension_is_registered_with_the_platform(api: FakeRuntimeApi, spelling: str) -> None:
    with FakeRuntimeApi() as proxy:
        proxy.processes = api.processes
        environment = {"AWS_LWA_LAMBDA_RUNTIME_API_PROXY": spelling.format(proxy.address)}
        process = start_bootstrap(api, command=app("faults.py"), environment=environment)
        assert ask(proxy, "/").document["statusCode"] == 200
        api.wait_registered()
        assert (proxy.of_kind("register"), api.nexts) == ([], [])
        process.stop()


# ---- old names


def test_an_old_name_is_worth_one_warning(api: FakeRuntimeApi, start: Start) -> None:
    process = start(READINESS_CHECK_PATH="/status/200", ASYNC_INIT="false")
    assert ask(api, "/").document["statusCode"] == 200
    assert process.stderr.count("READINESS_CHECK_PATH is an old name") == 1
    assert process.stderr.count("ASYNC_INIT is an old name: FAIRLEAD_ASYNC_INIT takes its place") == 1


# ---- FAIRLEAD_METRICS


def test_each_invocation_writes_a_line_of_metrics(api: FakeRuntimeApi, start: Start) -> None:
    process = start(FAIRLEAD_METRICS="emf")
    for _ in range(2):
        ask(api, "/")
    api.wait_idle()
    first, second = [json.loads(line) for line in process.stdout.splitlines() if '"_aws"' in line]
    assert first["FunctionName"] == "fairlead-test"
    assert (first["ColdStart"], second["ColdStart"]) == (1, 0)
    assert 0 < first["AppReadyDuration"] <= first["InitDuration"]
    assert "InitDuration" not in second
    assert second["OverheadDuration"] > 0
    assert second["AppMemory"] > 1_000_000
    assert second["RuntimeMemory"] > 1_000_000
