"""The app process, sentence by sentence, against the real `./bootstrap` and a scripted Runtime API.

Where it matters a case runs for both ways of starting the app: early, by bash, and by the interpreter (which is also
how restarts work). What makes the interpreter do it is a file where a predecessor's record would be.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.web.app_process import read_record, start_time
from tests.events import function_url
from tests.fakes import WAIT_SECONDS, BootstrapProcess, FakeRuntimeApi, app, is_running, start_bootstrap
from tests.fakes.bash import KEPT_BY_BASH, OF_BASH, own_names
from tests.fakes.children import child, killed_at_the_end
from tests.fakes.inspection import wait_hung_up
from tests.fakes.process import CHECKOUT, MARK, PYTHON, free_port

EARLY, BY_PYTHON = "early", "by-python"
WAYS = pytest.mark.parametrize("way", [EARLY, BY_PYTHON])
EVENT = b'{"Records":[]}'


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi() as fake:
        yield fake


def temporary(tmp_path: Path, way: str = EARLY) -> dict[str, str]:
    """TMPDIR for one or more runs of `bootstrap`, prepared so that the app is started the given way."""
    directory = tmp_path / "tmp"
    directory.mkdir(exist_ok=True)
    if way == BY_PYTHON:
        (directory / ".fairlead-app").write_text("not a record\n")
    return {"TMPDIR": str(directory)}


def start(api: FakeRuntimeApi, name: str, tmp_path: Path, way: str = EARLY, **environment: str) -> BootstrapProcess:
    return start_bootstrap(api, command=app(name), environment={**temporary(tmp_path, way), **environment})


def state_of_app(api: FakeRuntimeApi) -> dict:
    return json.loads(api.wait_answer(api.add_event(EVENT)).body)


def wait_until(condition, what: str) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < limit, f"waited for: {what}"
        time.sleep(0.005)


# --- how it is started


def test_both_ways_of_starting_give_the_app_the_same(tmp_path: Path) -> None:
    """Descriptors, group, environment, signals, directory: whoever started it, the app cannot tell."""
    states = []
    wrapper = tmp_path / "leaky"  # a platform that leaves descriptors open
    wrapper.write_text(f"#!/bin/bash\nexec 7</dev/null 19</etc/passwd\nexec {CHECKOUT}/bootstrap\n")
    wrapper.chmod(0o755)
    environment = {
        "FAIRLEAD_PORT": str(free_port()),
        "LAMBDA_TASK_ROOT": str(tmp_path),
        "NODE_OPTIONS": "x",
        "PYTHONPATH": "/var/task/python",
        "PYTHONHOME": "",
        "AWS_LAMBDA_METADATA_TOKEN": "secret",
        "_LAMBDA_TELEMETRY_LOG_FD": "62",
        # What a function may call its own variables: bash would export its changes to them.
        **dict.fromkeys(("code", "command", "fd", "handler", "host", "pipe", "port", "python", "root", "self"), "mine"),
        "BOOTSTRAP_TEST_MARK": f"same-{os.getpid()}",
    }
    for way in (EARLY, BY_PYTHON):
        with FakeRuntimeApi() as api:
            environment |= temporary(tmp_path, way)
            # Asked of a program that is not Python: that would ignore SIGPIPE by itself.
            command = f"export IGNORED=$(grep SigIgn /proc/self/status); {app('state.py')}"
            start_bootstrap(api, command=command, environment=environment, bootstrap=wrapper)
            states.append(state_of_app(api))
    early, by_python = states
    for state in states:
        assert state["group"] == state["pid"] != state["session"]
        assert set(state["descriptors"]) == {"0", "1", "2"}
        assert state["descriptors"]["0"] == "/dev/null"
        assert state["descriptors"]["2"].startswith("pipe:")
        assert not int(state["environment"]["IGNORED"].split()[1], 16) & 1 << signal.SIGPIPE - 1
        assert int(state["blocked"], 16) == 0
        assert state["environment"]["PORT"] == environment["FAIRLEAD_PORT"]
        assert list(state["environment"].values()).count("mine") == 10
        assert not {"AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_METADATA_TOKEN", "_LAMBDA_TELEMETRY_LOG_FD"} & set(
            state["environment"]
        )
        assert not [name for name in state["environment"] if name.startswith("_FAIRLEAD_")]
    noise = {"_", "PWD", "IGNORED"}  # of the shell that runs FAIRLEAD_COMMAND
    kept = [{name: text for name, text in s["environment"].items() if name not in noise} for s in states]
    assert kept[0] == kept[1]
    assert early["directory"] == by_python["directory"]


@pytest.mark.parametrize("given", [OF_BASH, {}], ids=["with names of bash", "with little"])
@WAYS
def test_the_app_gets_its_environment_as_it_was_given(
    api: FakeRuntimeApi, tmp_path: Path, way: str, given: dict[str, str]
) -> None:
    """Whatever its variables are called, and nothing more; when it is started again, too."""
    mine = {**dict.fromkeys(own_names(), "mine"), **given}
    forged = {"_FAIRLEAD_APP_PID": "1", "_FAIRLEAD_APP_STDERR": "0", "_FAIRLEAD_SHLVL": "9", "_FAIRLEAD_OTHER": "x"}
    command = [PYTHON, "-S", str(CHECKOUT / "tests/apps/state.py")]
    environment = {**mine, **temporary(tmp_path, way), **forged}
    process = start_bootstrap(api, arguments=command, environment=environment)
    usual = {"PATH", "TMPDIR", "LAMBDA_TASK_ROOT", "FAIRLEAD_PORT", "PORT", MARK}
    usual |= {f"AWS_LAMBDA_FUNCTION_{name}" for name in ("NAME", "MEMORY_SIZE", "VERSION")}
    usual |= {"LC_CTYPE", "PYTHONUNBUFFERED"}  # which the app's interpreter sets for itself
    wanted = {name: value for name, value in mine.items() if name not in KEPT_BY_BASH}
    for _ in range(2):
        state = state_of_app(api)
        got = {name: value for name, value in state["environment"].items() if name not in usual | KEPT_BY_BASH}
        assert got == wanted
        os.kill(state["pid"], signal.SIGKILL)
        wait_hung_up(process.port)


@WAYS
def test_what_a_python_app_prints_is_there_at_once(api: FakeRuntimeApi, tmp_path: Path, way: str) -> None:
    """Without a flush, and while the app runs on; also when it ends without its buffers being written."""
    process = start(api, "printing.py", tmp_path, way)
    assert api.wait_answer(api.add_event(function_url("GET", "/first"))).document["body"] == "1"
    process.wait_output("printed /first\n")
    api.wait_answer(api.add_event(function_url("GET", "/end")))
    process.wait_output("printed /end\n")
    api.wait_answer(api.add_event(function_url("GET", "/again")))  # started again, by Python
    process.wait_output("printed /again\n")


@WAYS
@pytest.mark.parametrize("own", ["", "x"])
def test_the_functions_own_wish_to_buffer_is_kept(api: FakeRuntimeApi, tmp_path: Path, way: str, own: str) -> None:
    start(api, "printing.py", tmp_path, way, PYTHONUNBUFFERED=own)
    assert api.wait_answer(api.add_event(function_url("GET", "/"))).document.get("body", "") == own


@WAYS
def test_the_app_is_started_the_way_the_case_says(api: FakeRuntimeApi, tmp_path: Path, way: str) -> None:
    """Guards the cases above and below: what they rely on is how `bootstrap` chooses."""
    process = start(api, "state.py", tmp_path, way)
    state = state_of_app(api)
    inherited = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert (f"_FAIRLEAD_APP_PID={state['pid']}".encode() in inherited) == (way == EARLY)


def test_the_interpreter_runs_without_the_apps_preload(api: FakeRuntimeApi, tmp_path: Path) -> None:
    library = "/usr/lib/no-such-library.so"  # the loader complains on stderr and goes on
    process = start(api, "state.py", tmp_path, LD_PRELOAD=library)
    assert state_of_app(api)["environment"]["LD_PRELOAD"] == library
    assert b"\0LD_PRELOAD=" not in Path(f"/proc/{process.pid}/environ").read_bytes()


# --- an app that does not come up


@WAYS
@pytest.mark.parametrize("after_ms", [0, 5, 50])
def test_an_app_that_exits_at_once_is_reported_every_time(tmp_path: Path, way: str, after_ms: int) -> None:
    """50 times each way: with its exit status or, where the shell has taken that, at least as gone; with its stderr."""

    def run_once(number: int) -> None:
        own = tmp_path / str(number)
        own.mkdir()
        code = (
            f"echo 'cannot open the database' >&2; sleep {after_ms / 1000}; exit 3"
            if after_ms
            else ("echo 'cannot open the database' >&2; exit 3")
        )
        with FakeRuntimeApi() as api:
            process = start_bootstrap(api, command=code, environment=temporary(own, way))
            error = api.wait_init_error()
            document = json.loads(error.body)
            assert document["errorType"] == "Runtime.AppExited"
            assert "exited with status 3" in document["errorMessage"] or "exited (its" in document["errorMessage"]
            assert "cannot open the database" in document["errorMessage"]
            assert document["requestId"] == ""
            assert process.wait() == 1
            assert not api.nexts

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run_once, range(50)))


@WAYS
def test_each_failure_in_a_row_has_its_status(api: FakeRuntimeApi, tmp_path: Path, way: str) -> None:
    """Also where whoever started the bootstrap ignores the end of child processes, and has it inherit that."""
    wrapper = tmp_path / "ignoring"
    wrapper.write_text(f"#!/bin/sh\ntrap '' CHLD\nexec {CHECKOUT}/bootstrap\n")
    wrapper.chmod(0o755)
    process = start_bootstrap(api, command=app("faults.py"), environment=temporary(tmp_path, way), bootstrap=wrapper)
    for number in range(3):
        api.add_event(b'{"fault":"/die"}', request_id=f"die-{number}")
        assert "exited with status 7" in api.wait_answer(f"die-{number}").document["errorMessage"]
    assert "not known" not in process.stderr


@WAYS
def test_a_command_that_does_not_exist_is_reported(api: FakeRuntimeApi, tmp_path: Path, way: str) -> None:
    process = start_bootstrap(
        api, arguments=["no-such-program", "x"], environment={**temporary(tmp_path, way), "FAIRLEAD_COMMAND": None}
    )
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.AppExited"
    assert "no-such-program" in document["errorMessage"]
    assert process.wait() == 1


@WAYS
def test_a_script_without_an_interpreter_line_runs(api: FakeRuntimeApi, tmp_path: Path, way: str) -> None:
    script = tmp_path / "serve"
    script.write_text(app("state.py"))
    script.chmod(0o755)
    start_bootstrap(api, handler="serve", environment={**temporary(tmp_path, way), "LAMBDA_TASK_ROOT": str(tmp_path)})
    assert state_of_app(api)["pid"]


def test_an_app_that_never_listens_is_reported_with_address_and_setting(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = start_bootstrap(
        api,
        command="echo busy >&2; exec sleep 60",
        environment={**temporary(tmp_path), "FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS": "1"},
    )
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.AppNotReady"
    for part in (f"http://127.0.0.1:{process.port}/", "1 s", "nothing listens", "no TCP port", "FAIRLEAD_PORT", "busy"):
        assert part in document["errorMessage"]
    assert process.wait() == 1  # and FakeRuntimeApi finds no leftover


def test_an_app_that_listens_elsewhere_is_told_so_while_it_is_waited_for(api: FakeRuntimeApi, tmp_path: Path) -> None:
    """Before the function's timeout, which is 3 s unless somebody sets another: after it nobody says anything."""
    other = free_port()
    environment = {**temporary(tmp_path), "LISTEN_OTHER_PORT": str(other)}
    process = start_bootstrap(api, command=app("faults.py"), environment=environment)
    process.wait_output("still waiting for the app: nothing listens at")
    (line,) = [line for line in process.stderr.splitlines() if "still waiting" in line]
    assert f"It should listen on 127.0.0.1, port {process.port} (PORT). It listens on 127.0.0.1:{other}." in line
    assert "FAIRLEAD_HOST" in line
    process.stop()


def test_exit_status_127_is_explained(api: FakeRuntimeApi, tmp_path: Path) -> None:
    start_bootstrap(api, command="exec no-such-program-at-all", environment=temporary(tmp_path))
    assert "is the layer that has it attached?" in json.loads(api.wait_init_error().body)["errorMessage"]


@WAYS
def test_a_port_that_somebody_else_holds_is_named(api: FakeRuntimeApi, tmp_path: Path, way: str) -> None:
    """Also when the foreigner answers HTTP happily, as the emulator on 8080 does."""
    port = free_port()
    command = [PYTHON, "-S", str(CHECKOUT / "tests/apps/state.py")]
    with killed_at_the_end(command, env={"PORT": str(port)}, stderr=subprocess.DEVNULL):
        wait_until(lambda: _accepts(port), "the foreigner listens")
        process = start(api, "state.py", tmp_path, way, FAIRLEAD_PORT=str(port))
        document = json.loads(api.wait_init_error().body)
        assert document["errorType"] == "Runtime.PortInUse"
        assert str(port) in document["errorMessage"]
        assert "FAIRLEAD_PORT" in document["errorMessage"]
        assert process.wait() == 1


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_invalid_settings_end_the_app_that_was_started_early(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = start(api, "state.py", tmp_path, FAIRLEAD_ASYNC_INIT="maybe", FAIRLEAD_APP_FAULTS="x")
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.InvalidConfig"
    assert "FAIRLEAD_ASYNC_INIT" in document["errorMessage"]
    assert "FAIRLEAD_APP_FAULTS" in document["errorMessage"]
    assert process.wait() == 1
    wait_until(lambda: not process.app_pids, "the app is gone")


# --- readiness

READY_SLOWLY = {
    "unhealthy-answers": {"UNREADY_STATUS_COUNT": "3"},
    "listens-late": {"START_DELAY_MS": "120"},
    "stalls-the-first-connection": {"ACCEPT_BUT_SILENT_FIRST": "1"},
    "tcp": {"FAIRLEAD_READINESS_CHECK_PROTOCOL": "tcp", "UNREADY_STATUS_COUNT": "0"},
}


@pytest.mark.parametrize("case", READY_SLOWLY)
def test_an_app_that_needs_time_is_waited_for(api: FakeRuntimeApi, tmp_path: Path, case: str) -> None:
    start(api, "faults.py", tmp_path, **READY_SLOWLY[case])
    api.add_event(EVENT, request_id="one")
    assert api.wait_answer("one").kind == "response"


def test_a_status_that_is_not_healthy_is_not_ready(api: FakeRuntimeApi, tmp_path: Path) -> None:
    settings = {
        "FAIRLEAD_READINESS_CHECK_PATH": "/status/404",
        "FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS": "200-299",
        "FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS": "3",
    }
    start(api, "faults.py", tmp_path, **settings)
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.AppNotReady"
    assert "status 404" in document["errorMessage"]


@pytest.mark.parametrize("concurrency", ["1", "3"])
def test_async_init_goes_to_next_9_8_seconds_after_the_start(
    api: FakeRuntimeApi, tmp_path: Path, concurrency: str
) -> None:
    """The clock runs from the start of `bootstrap`; here the interpreter is told that this was a while ago."""
    api.concurrency = int(concurrency)
    port = free_port()
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from runtime.main import main; main()"
    environment = {
        **os.environ,
        **temporary(tmp_path),
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "FAIRLEAD_COMMAND": app("faults.py"),
        "FAIRLEAD_PORT": str(port),
        "FAIRLEAD_ASYNC_INIT": "true",
        "START_WHEN": str(may_start := tmp_path / "may-start"),
        "AWS_LAMBDA_MAX_CONCURRENCY": concurrency,
        "_FAIRLEAD_STARTED": str(time.time() - 9.7),
    }
    with child([PYTHON, "-ISB", "-c", code, "bootstrap"], env=environment, stdin=subprocess.DEVNULL) as process:
        api.wait_next()
        assert not _accepts(port)  # next came before the app was there
        may_start.touch()
        api.add_event(EVENT, request_id="first")
        assert api.wait_answer("first").kind == "response"  # and the first invocation waited for it
        process.terminate()


# --- stderr


@WAYS
def test_a_burst_on_stderr_while_the_loop_waits_blocks_nothing(api: FakeRuntimeApi, tmp_path: Path, way: str) -> None:
    process = start_bootstrap(
        api,
        command=f"{{ head -c 1000000 /dev/zero | tr '\\0' x >&2; echo done >&2; }} & {app('state.py')}",
        environment=temporary(tmp_path, way),
    )
    api.wait_idle()
    process.wait_output("done")
    assert process.stderr.count("x") >= 1_000_000
    assert state_of_app(api)["pid"]


def test_the_first_2_kib_and_the_last_6_of_stderr_are_reported(api: FakeRuntimeApi, tmp_path: Path) -> None:
    """Java, Ruby and Go name the cause first, Python last."""
    middle = "head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2"
    code = f"echo 'the first line' >&2; {middle}; echo 'the last line' >&2; exit 1"
    start_bootstrap(api, command=code, environment=temporary(tmp_path))
    message = json.loads(api.wait_init_error().body)["errorMessage"]
    assert "Its stderr:\nthe first line\nxxx" in message
    assert message.endswith("the last line")
    assert "bytes left out" in message
    assert 8000 < message.count("x") <= 8192


@pytest.mark.parametrize("size", [1, 2047, 2048, 2049, 8000, 8191, 8192, 8193])
def test_what_was_written_to_stderr_is_reported_once(api: FakeRuntimeApi, tmp_path: Path, size: int) -> None:
    start_bootstrap(api, command=f"head -c {size} /dev/zero | tr '\\0' Z >&2; exit 1", environment=temporary(tmp_path))
    message = json.loads(api.wait_init_error().body)["errorMessage"]
    assert message.count("Z") == min(size, 8192)
    assert ("bytes left out" in message) == (size > 8192)


# --- leftovers of a killed predecessor


@WAYS
@pytest.mark.parametrize("threads", ["0", "16"])  # a leader ends before its threads, which hold the port as well
def test_the_next_start_kills_what_a_killed_predecessor_left(tmp_path: Path, way: str, threads: str) -> None:
    port = str(free_port())
    with FakeRuntimeApi() as api:
        first = start(api, "state.py", tmp_path, way, FAIRLEAD_PORT=port, THREADS=threads)
        old = state_of_app(api)["pid"]
        first.kill()
        assert is_running(old)  # a group of its own outlives the bootstrap's
        with FakeRuntimeApi() as next_api:
            second = start(next_api, "state.py", tmp_path, FAIRLEAD_PORT=port)
            new = state_of_app(next_api)["pid"]
            assert new != old
            assert not is_running(old)
            assert "killed predecessor" in second.output


def test_a_record_that_names_a_stranger_kills_nobody(api: FakeRuntimeApi, tmp_path: Path) -> None:
    with killed_at_the_end(["sleep", "60"]) as stranger:
        record = Path(temporary(tmp_path)["TMPDIR"]) / ".fairlead-app"
        record.write_text(f"{stranger.pid} {start_time(stranger.pid) + 1} 999999 1\n")
        start(api, "state.py", tmp_path)
        assert state_of_app(api)["pid"]
        assert stranger.poll() is None


def test_the_app_of_a_bootstrap_that_lives_is_no_leftover(tmp_path: Path) -> None:
    with FakeRuntimeApi() as one, FakeRuntimeApi() as two:
        start(one, "state.py", tmp_path)
        pid = state_of_app(one)["pid"]
        start(two, "state.py", tmp_path)
        assert state_of_app(two)["pid"] != pid
        assert is_running(pid)


@pytest.mark.parametrize("text", ["", "x y z w\n", "1 1 1 1\n", "-5 1 1 1\n", "12 34\n", "9" * 5000])
def test_a_record_that_is_none_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "record").write_text(text)
    assert read_record(str(tmp_path / "record")) is None


def a_directory(path: Path) -> None:
    path.mkdir()


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [a_directory, a_fifo, a_socket, a_dangling_link, a_device])
def test_a_record_that_is_no_file_is_never_waited_for(
    api: FakeRuntimeApi, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """The start goes on, with a warning."""
    make(Path(temporary(tmp_path)["TMPDIR"]) / ".fairlead-app")
    process = start(api, "state.py", tmp_path)
    assert state_of_app(api)["pid"]
    assert ".fairlead-app cannot be written" in process.stderr
    process.terminate()
    assert process.wait() == 0


def test_a_bootstrap_that_was_killed_while_it_started_the_app_has_left_a_record(
    api: FakeRuntimeApi, tmp_path: Path
) -> None:
    """One without a pid: the app is known by its environment then."""
    port = str(free_port())
    directory = temporary(tmp_path)["TMPDIR"]
    with FakeRuntimeApi() as first:
        killed = start(first, "state.py", tmp_path, FAIRLEAD_PORT=port)
        old = state_of_app(first)["pid"]
        born = start_time(killed.pid)
        killed.kill()
        (Path(directory) / ".fairlead-app").write_text(f"0 0 {killed.pid} {born}\n")
        start(api, "state.py", tmp_path, FAIRLEAD_PORT=port)
        assert state_of_app(api)["pid"] != old
        assert not is_running(old)


def test_the_record_is_gone_after_a_clean_end(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = start(api, "state.py", tmp_path)
    api.wait_idle()
    record = tmp_path / "tmp" / ".fairlead-app"
    assert record.exists()
    process.terminate()
    assert process.wait() == 0
    assert not record.exists()


# --- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@WAYS
def test_the_app_gets_sigterm_and_both_end(api: FakeRuntimeApi, tmp_path: Path, way: str, number: int) -> None:
    goodbye = "import signal, sys; signal.signal(15, lambda *_: (print('goodbye', file=sys.stderr), sys.exit(0)))"
    code = f'{PYTHON} -S -c "{goodbye}; exec(open({str(CHECKOUT / "tests/apps/state.py")!r}).read())"'
    process = start_bootstrap(api, command=f"exec {code}", environment=temporary(tmp_path, way))
    api.wait_idle()
    os.kill(process.pid, number)
    assert process.wait() == 0
    assert "goodbye" in process.stderr
    assert not process.app_pids


def test_the_connection_to_the_app_is_closed_before_sigterm(api: FakeRuntimeApi, tmp_path: Path) -> None:
    """Some servers (gunicorn's threads) wait at their end for their clients to close."""
    code = (
        "import os, signal, socket, sys\n"
        "listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "client, _ = listener.accept()\n"
        "while client.recv(65536):\n"
        "    client.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n')\n"
        "print('the client has closed', file=sys.stderr)\n"
    )
    (tmp_path / "patient.py").write_text(code)
    process = start_bootstrap(
        api, command=f"exec {PYTHON} -S {tmp_path / 'patient.py'}", environment=temporary(tmp_path)
    )
    api.add_event(EVENT, request_id="one")
    assert api.wait_answer("one").kind == "response"
    api.wait_idle()
    process.terminate()
    assert process.wait() == 0
    assert "the client has closed" in process.stderr


def test_sigterm_is_heard_at_any_moment(tmp_path: Path) -> None:
    """Also between the request for next and the wait for its answer, where a signal handler would sleep on it."""
    for _ in range(30):
        with FakeRuntimeApi() as api:
            process = start(api, "state.py", tmp_path)
            api.wait_next()
            process.terminate()
            assert process.wait() == 0


def test_an_app_that_ignores_sigterm_is_killed_with_what_it_forked(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = start(api, "faults.py", tmp_path, IGNORE_SIGTERM="1", FORK_CHILD="1")
    api.wait_idle()
    assert len(process.app_pids) >= 2
    process.terminate()
    assert process.wait() == 0
    wait_until(lambda: not process.app_pids, "the group is gone")


def test_sigterm_in_the_middle_of_an_invocation_ends_both(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = start(api, "faults.py", tmp_path, FAIRLEAD_PASS_THROUGH_PATH="/silence")
    api.add_event(EVENT, request_id="never")
    api.wait_next(1)
    wait_until(lambda: _is_reading(process), "the app has the request")
    process.terminate()
    assert process.wait() == 0


def _is_reading(process: BootstrapProcess) -> bool:
    """A connection to the app is there, beside the one to the Runtime API and the extension's."""
    lines = Path("/proc/net/tcp").read_text()
    return f":{process.port:04X} 01 " in lines


def test_an_extension_is_registered_before_the_first_next_and_asks_for_its_event(
    api: FakeRuntimeApi, tmp_path: Path
) -> None:
    start(api, "state.py", tmp_path)
    assert json.loads(api.wait_registered().body) == {"events": []}
    api.wait_idle()
    kinds = [request.target.rpartition("/")[2] for request in api.of_kind("register", "extension_next", "next")]
    assert kinds[:1] == ["register"]


def test_no_extension_is_registered_when_the_app_gets_no_grace(api: FakeRuntimeApi, tmp_path: Path) -> None:
    start(api, "state.py", tmp_path, FAIRLEAD_SHUTDOWN_GRACE_MS="0")
    api.wait_idle()
    assert not api.of_kind("register")


# --- lost


def test_an_app_that_dies_between_invocations_is_replaced_unseen(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = start(api, "state.py", tmp_path)
    first = state_of_app(api)["pid"]
    api.wait_idle()
    os.kill(first, signal.SIGKILL)
    wait_hung_up(process.port)
    api.add_event(EVENT, request_id="again")
    answer = api.wait_answer("again")
    assert answer.kind == "response"
    assert json.loads(answer.body)["pid"] != first
    assert "was killed by SIGKILL" in process.output


def test_a_lost_app_is_killed_with_what_it_forked(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = start(api, "faults.py", tmp_path, FORK_CHILD="1")
    api.wait_idle()
    family = process.app_pids
    assert len(family) == 2
    api.add_event(b'{"fault":"/die"}', request_id="die")
    assert api.wait_answer("die").document["errorType"] == "Runtime.AppExited"
    wait_until(lambda: not [pid for pid in family if is_running(pid)], "the family is gone")


def test_what_an_app_puts_into_sessions_of_its_own_is_gone_with_it(api: FakeRuntimeApi, tmp_path: Path) -> None:
    """Daemons do that. After 20 restarts there is one app and one daemon of it, and at the end nothing."""
    daemon = "setsid sh -c 'trap \"\" TERM; while :; do sleep 60; done'"
    process = start_bootstrap(api, command=f"{daemon} & {app('faults.py')}", environment=temporary(tmp_path))
    for number in range(20):
        api.add_event(b'{"fault":"/die"}', request_id=f"die-{number}")
        assert api.wait_answer(f"die-{number}").document["errorType"] == "Runtime.AppExited"
    api.add_event(EVENT, request_id="last")
    assert api.wait_answer("last").body == EVENT
    wait_until(lambda: len(process.app_pids) == 3, "one app, one daemon and its sleep")
    process.terminate()
    assert process.wait() == 0
    assert not process.app_pids


def test_what_an_extension_starts_is_not_the_apps(api: FakeRuntimeApi, tmp_path: Path) -> None:
    """It has the function's variables, PORT among them; and it knows the Runtime API."""
    process = start(api, "faults.py", tmp_path)
    api.wait_idle()
    (pid,) = process.app_pids
    given = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    environment = dict(variable.split(b"=", 1) for variable in given if variable)
    environment[b"AWS_LAMBDA_RUNTIME_API"] = api.address.encode()
    del environment[MARK.encode()]
    with killed_at_the_end(["sleep", "60"], env=environment) as extension:
        api.add_event(b'{"fault":"/die"}', request_id="die")
        assert api.wait_answer("die").kind == "error"
        api.add_event(EVENT, request_id="next")
        assert api.wait_answer("next").body == EVENT
        assert extension.poll() is None


def test_an_app_that_has_emptied_its_daemons_environment_takes_them_with_it(
    api: FakeRuntimeApi, tmp_path: Path
) -> None:
    """They descend from it, which can be seen as long as their parents live."""
    command = f"(env -i setsid sleep 1000 & wait) & {app('faults.py')}"
    process = start_bootstrap(api, command=command, environment=temporary(tmp_path))
    api.add_event(EVENT, request_id="one")
    api.wait_answer("one")
    wait_until(lambda: "sleep" in " ".join(map(command_of, children_in_sessions_of_their_own(process))), "the daemon")
    daemons = children_in_sessions_of_their_own(process)
    process.terminate()
    assert process.wait() == 0
    wait_until(lambda: not [pid for pid in daemons if is_running(pid)], "the daemon's end")


def children_in_sessions_of_their_own(process: BootstrapProcess) -> list[int]:
    """Leaders of sessions below the app."""
    found, waiting = [], [process.pid]
    while waiting:
        pid = waiting.pop()
        try:
            children = list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
            found += [child for child in children if os.getsid(child) == child]
        except OSError:
            continue
        waiting += children
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_lost_app_is_started_without_waiting_and_the_next_invocation_waits(
    api: FakeRuntimeApi, tmp_path: Path
) -> None:
    """Until its own deadline: then it is answered, and the app is left to go on starting."""
    (may_start := tmp_path / "may-start").touch()
    process = start(api, "faults.py", tmp_path, START_WHEN=str(may_start))
    api.wait_idle()
    may_start.unlink()
    api.add_event(b'{"fault":"/die"}', request_id="die")
    assert api.wait_answer("die").document["errorType"] == "Runtime.AppExited"
    assert not _accepts(process.port)  # the answer did not wait
    api.add_event(EVENT, request_id="too-early", deadline_s=1)
    assert api.wait_answer("too-early").document["errorType"] == "Runtime.AppNotReady"
    started = process.app_pids
    may_start.touch()
    api.add_event(EVENT, request_id="patient")
    assert api.wait_answer("patient").body == EVENT
    assert process.app_pids == started


def test_three_starts_in_a_row_that_fail_end_the_process(api: FakeRuntimeApi, tmp_path: Path) -> None:
    """The platform then gives a fresh environment; until then each invocation has its own error."""
    marker = tmp_path / "started"
    code = f"test ! -e {marker} || exit 5; touch {marker}; {app('state.py')}"
    process = start_bootstrap(api, command=code, environment=temporary(tmp_path))
    pid = state_of_app(api)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_hung_up(process.port)
    answers = []
    for number in range(3):
        api.add_event(EVENT, request_id=f"r{number}")
        answers.append(api.wait_answer(f"r{number}"))
    assert [answer.kind for answer in answers] == ["error"] * 3
    assert {answer.document["errorType"] for answer in answers} == {"Runtime.AppExited"}
    assert "3 starts in a row" in answers[-1].document["errorMessage"]
    assert process.wait() == 1


if sys.platform != "linux":
    pytest.skip("the app process is looked at through /proc", allow_module_level=True)
