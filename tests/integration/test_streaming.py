"""Streamed answers through the whole chain: the real layer in the sandbox, our Runtime API, the gateway, a browser."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path
from queue import Queue

import pytest
import urllib3

from local import smoke
from local.environments.function import Function
from local.gateway.conversation import Served
from local.ports import free_ports
from local.run import Options, Running, running
from local.sources import STREAMING
from tests.fakes.children import child

from .ends import all_gone, eventually, with_descendants
from .test_function import APPS
from .test_sandbox import SHELL_BOOTSTRAP

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
COMMAND = "exec /opt/fairlead/bin/python3 streaming.py"
PATIENCE_S = 30
MEGABYTE = 1 << 20


class Streaming:
    """The app behind a gateway, and a way round it: the network is this machine's."""

    def __init__(self, now: Running, served: Queue[Served], app_port: int) -> None:
        self.now = now
        self._served = served
        self._app_port = app_port

    @contextmanager
    def asked(self, target: str, method: str = "GET") -> Iterator[HTTPResponse]:
        """The head of the answer, whose body can be read, until the block ends and the browser goes away."""
        browser = HTTPConnection("127.0.0.1", self.now.gateway.port, timeout=PATIENCE_S)
        browser.request(method, target)
        with browser.getresponse() as response:
            try:
                yield response
            finally:
                browser.close()

    def whole(self, target: str) -> bytes:
        """The body of the answer."""
        with self.asked(target) as response:
            return response.read()

    def tell_app(self, target: str) -> None:
        """Ask the app itself, besides the request that it is answering."""
        with socket.create_connection(("127.0.0.1", self._app_port), timeout=PATIENCE_S) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 200")

    def line(self, target: str) -> Served:
        """What was said of the next request for ``target`` that has ended; the lines before are forgotten."""
        while (line := self._served.get(timeout=PATIENCE_S)).target != target:
            pass
        return line


def options(layer: Path, **more: object) -> Options:
    given = {"app": APPS, "command": COMMAND, "port": 0, "layer": layer, "invoke_mode": "stream", "environments": 1}
    given["timeout_s"] = 120  # a busy machine may not get to the end of a stream within 30
    return Options(**{**given, **more})  # type: ignore[arg-type]


def app_port(number: int) -> dict[str, str]:
    return {"PORT": str(number)}


@pytest.fixture(scope="module", params=["function-url", "rest"])
def url(request: pytest.FixtureRequest, sandbox_works: None, layer_tree: Path) -> Iterator[Streaming]:
    served: Queue[Served] = Queue()
    (port,) = free_ports(1)
    with running(options(layer_tree, source=request.param, environment=app_port(port)), served.put) as now:
        made = Streaming(now, served, port)
        assert made.whole("/") == b"hello"
        assert made.line("/").is_cold
        yield made


def test_events_arrive_one_by_one(url: Streaming) -> None:
    """Each is made only when the browser has had the one before: no time is measured."""
    with url.asked("/events/5") as response:
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
        for number in range(5):
            url.tell_app("/more")
            assert response.read1() == b"data: %d\n\n" % number
        assert response.read() == b""
    line = url.line("/events/5")
    assert (line.status, line.body_bytes, line.problem) == (200, 45, ())
    assert line.first_byte_ms is not None
    assert line.first_byte_ms < line.duration_ms


def test_status_and_cookies_of_an_answer_without_a_body(url: Streaming) -> None:
    with url.asked("/status/404") as response:
        assert (response.status, response.read()) == (404, b"")
        assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
    with url.asked("/status/200", "HEAD") as response:
        assert (response.status, response.read()) == (200, b"")
    with url.asked("/status/204") as response:
        assert (response.status, response.headers["transfer-encoding"]) == (204, None)


def peak_mb(pid: int) -> float:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def test_twenty_megabytes_need_no_memory_anywhere(layer_tree: Path, sandbox_works: None) -> None:
    """Through the command line, so that the gateway is a process of its own; and said in its JSON lines."""
    size = 20 * MEGABYTE
    command = [
        *(sys.executable, "-m", "local.run", "--app", str(APPS), "--layer", str(layer_tree), "--cmd", COMMAND),
        *("--port", "0", "--invoke-mode", "stream", "--json", "--environments", "1"),
        *("--env", f"PORT={free_ports(1)[0]}"),
    ]
    with child(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        lines = (json.loads(line) for line in driver.stdout)
        address = next(line["address"] for line in lines if line["type"] == "address")
        browser = HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
        try:
            browser.request("GET", "/bytes/1000000")
            assert len(browser.getresponse().read()) == 1_000_000
            runtimes = [driver.pid, *runtimes_below(driver.pid)]
            before = [peak_mb(pid) for pid in runtimes]
            browser.request("GET", f"/bytes/{size}")
            response = browser.getresponse()
            pattern, received = bytes(range(256)) * 256, 0
            while piece := response.read(65536):
                assert piece == pattern[: len(piece)]
                received += len(piece)
            after = [peak_mb(pid) for pid in runtimes]
        finally:
            browser.close()
            driver.terminate()
        requests = [line for line in lines if line["type"] == "request"]
    assert received == size
    assert len(runtimes) >= 2
    assert [late - early for early, late in zip(before, after, strict=True) if late - early > 5] == []
    assert [line["body_bytes"] for line in requests] == [1_000_000, size]
    assert requests[1]["first_byte_ms"] < requests[1]["duration_ms"]
    assert driver.returncode == 0


def runtimes_below(pid: int) -> list[int]:
    """Fairlead and the app: every Python out of the layer."""
    return [
        found
        for found in with_descendants(pid)
        if Path(f"/proc/{found}/cmdline").read_bytes().startswith(b"/opt/fairlead/bin/python3")
    ]


@pytest.mark.parametrize("source", STREAMING)
def test_the_example_app_is_right_when_it_streams(sandbox_works: None, layer_tree: Path, source: str) -> None:
    example = smoke.options_for(source)._replace(layer=layer_tree, invoke_mode="stream")
    with running(example) as now, urllib3.PoolManager(retries=False) as client:
        lines = smoke.run_checks(smoke.asker(client, now.gateway.address), source)
    # A streamed answer's length is nobody's to promise.
    assert [line.what for line in lines if not line.is_right] == ["download: length"]


def test_a_browser_that_goes_away_ends_the_apps_work(url: Streaming) -> None:
    with url.asked("/endless") as response:
        assert response.read(4) == bytes(range(4))
    url.tell_app("/ended")
    assert re.fullmatch(r"the client went away after [\d,]+ bytes of the answer", url.line("/endless").problem[-1])
    assert url.whole("/again") == b"hello"
    assert not url.line("/again").is_cold


FAILURES = {
    "/broken": r"Runtime\.\w+: .*POST|Runtime\.\w+: .*",
    "/dead": r"Runtime\.AppExited: .*",
}


@pytest.mark.parametrize(("target", "words"), FAILURES.items(), ids=FAILURES)
def test_an_answer_that_breaks_off_is_incomplete_and_the_next_one_is_whole(
    url: Streaming, target: str, words: str
) -> None:
    with url.asked(target) as response:
        assert (response.status, response.read(4)) == (200, b"some")
        with pytest.raises(IncompleteRead):
            response.read()
    line = url.line(target)
    assert line.problem[0] == "the client gets an incomplete answer:"
    assert re.fullmatch(words, line.problem[1])
    assert url.whole("/") == b"hello"


def test_an_answer_that_takes_too_long_is_cut(sandbox_works: None, layer_tree: Path) -> None:
    served: Queue[Served] = Queue()
    (port,) = free_ports(1)
    with running(options(layer_tree, timeout_s=3, environment=app_port(port)), served.put) as now:
        late = Streaming(now, served, port)
        with late.asked("/silent") as response:
            assert response.read(4) == b"some"
            with pytest.raises(IncompleteRead):
                response.read()
        assert late.line("/silent").problem[1].startswith("Runtime.AppTimeout: ")
        assert late.whole("/") == b"hello"


def test_a_function_that_answers_in_one_piece_shows_what_that_looks_like(sandbox_works: None, layer_tree: Path) -> None:
    served: Queue[Served] = Queue()
    (port,) = free_ports(1)
    environment = {**app_port(port), "AWS_LWA_INVOKE_MODE": "buffered"}
    with running(options(layer_tree, environment=environment), served.put) as now:
        assert json.loads(Streaming(now, served, port).whole("/"))["body"] == "hello"
    assert "is its invoke mode response_stream?" in served.get().problem[0]


# The sandbox around it, with a runtime that takes each event for a shell command


@pytest.fixture
def shell_layer(tmp_path: Path) -> Path:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "bootstrap").write_text(SHELL_BOOTSTRAP)
    (layer / "bootstrap").chmod(0o755)
    return layer


@pytest.fixture
def shell(sandbox_works: None, shell_layer: Path, tmp_path: Path) -> Iterator[Function]:
    (tmp_path / "task").mkdir()
    with Function(
        shell_layer, tmp_path / "task", {"PORT": str(free_ports(1)[0])}, 512, timeout_s=2, is_streaming=True
    ) as made:
        yield made


def said(function: Function, command: str) -> str:
    reply = function.invoke(command.encode())
    assert reply.status == 200
    return reply.body.decode()


def test_the_sandbox_is_the_same(shell: Function) -> None:
    assert said(shell, "id -u; pwd; touch /opt/x 2>&1").split("\n")[:2] == ["993", "/var/task"]
    variables = dict(line.split("=", 1) for line in said(shell, "env").splitlines())
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "test_function"
    assert re.fullmatch(r"127\.\d+\.\d+\.\d+:\d+", variables["AWS_LAMBDA_RUNTIME_API"])
    assert "HOME" not in variables


def test_the_runtime_is_started_again_after_a_crash(shell: Function) -> None:
    assert shell.invoke(b"true").is_cold
    assert not shell.invoke(b"true").is_cold
    reply = shell.invoke(b"kill -9 $runtime")
    assert (reply.status, json.loads(reply.body)["errorType"]) == (502, "Runtime.ExitError")
    assert "signal: killed" in json.loads(reply.body)["errorMessage"]
    assert shell.invoke(b"true").is_cold


def test_a_timeout_ends_the_environment_and_is_told(shell: Function) -> None:
    said(shell, "touch /tmp/x")
    processes = with_descendants(shell.sandbox.pid)
    assert shell.invoke(b"sleep 60").body == b"Task timed out after 2.00 seconds"
    assert eventually(lambda: all_gone(processes))
    assert said(shell, "ls /tmp") == ""


def test_nothing_is_left_after_stop(shell: Function) -> None:
    shell.invoke(b"set -m; sleep 600 >/dev/null 2>&1 &")
    processes, limit = with_descendants(shell.sandbox.pid), shell.sandbox.memory_limit
    assert len(processes) >= 4
    shell.stop()
    assert eventually(lambda: all_gone(processes))
    assert limit is None or not limit.directory.exists()


def test_an_app_that_brings_a_bootstrap_runs_that_one(sandbox_works: None, shell_layer: Path, tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    (task / "bootstrap").write_text("#!/bin/bash\nexit 5\n")
    (task / "bootstrap").chmod(0o755)
    with Function(shell_layer, task, {"PORT": str(free_ports(1)[0])}, is_streaming=True) as function:
        assert function.invoke(b"true")[:2] == (502, b"")
