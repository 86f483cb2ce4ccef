"""The app and the bootstrap under fire: killed, stopped, slow to end, noisy; and no secret in what is logged or posted.

What is killed when is drawn from seeds, so each run does the same things, though not to the microsecond: what is
asserted holds for every order of events. ``tests/apps/recorder.py`` writes down what it has processed, in a file that
survives it; ``FIRE_SEEDS=20`` tries more seeds (a few seconds each).
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runtime.connection import Connection
from runtime.logs import Log
from runtime.web.app_process import AppProcess, start_time
from runtime.web.shared_app import AppOwner, Board
from tests.events import function_url
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, app, is_running, start_bootstrap
from tests.fakes.process import CHECKOUT, PYTHON, free_port

Start = Callable[..., BootstrapProcess]
SEEDS = range(1, 1 + int(os.environ.get("FIRE_SEEDS", "2")))
LIMIT_S = 30.0


class Record:
    """What the recorder app has written down."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / "record"

    def names(self, word: str) -> list[str]:
        """Of each line that begins with ``word``, the rest."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [name for found, name in (line.split(" ", 1) for line in lines) if found == word]

    @property
    def began(self) -> list[str]:
        return self.names("began")

    @property
    def done(self) -> list[str]:
        return self.names("done")


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path)


def eventually(holds: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < limit, f"waited for {what}"
        time.sleep(0.001)


def app_pid(process: BootstrapProcess, directory: Path | None = None) -> int:
    """The app's, as the bootstrap notes it for its successor; 0 while there is none."""
    try:
        return int(((directory or process.directory / "tmp") / ".fairlead-app").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return 0


def event_of(kind: str, name: str, **members: Any) -> dict[str, Any]:
    """A batch of a queue, or a POST of a client's, that the recorder knows by its name."""
    if kind == "queue":
        return {"Records": [{"eventSource": "aws:sqs"}], "name": name, **members}
    return function_url("POST", "/orders", json.dumps({"name": name, **members}))


def was_acknowledged(answer: Answer) -> bool:
    """Whether the sender takes it for processed."""
    if answer.kind == "error":
        return False
    document = answer.document
    return "statusCode" not in document or 200 <= document["statusCode"] <= 299


# ---- the app is killed


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_acknowledged_that_a_killed_app_has_not_processed(
    api: FakeRuntimeApi, record: Record, seed: int
) -> None:
    """Nor is anything sent to it twice: it may have processed it."""
    process = start_bootstrap(api, command=app("recorder.py"), environment={"RECORD_DIRECTORY": str(record.directory)})
    api.wait_idle()
    dice = random.Random(seed)
    acknowledged, kills, may_kill = [], 0, True
    names = [f"{dice.choice(('queue', 'post'))}-{number}" for number in range(60)]
    for name in names:
        moment = dice.choice(("idle", "began", "soon", "never", "never")) if may_kill else "never"
        if moment == "idle":
            kill_app(process)
        posts = len(api.posts)
        request_id = api.add_event(event_of(name.partition("-")[0], name, work_ms=dice.choice((0, 0, 2))))
        if moment == "began":
            # An app that was killed a moment ago may have lost the request before it could begin.
            eventually(lambda n=name, p=posts: n in record.began or len(api.posts) > p, "its begin")  # type: ignore[misc]
            kill_app(process)
        elif moment == "soon":
            time.sleep(dice.random() * 0.003)
            kill_app(process)
        answer = api.wait_answer(request_id)
        may_kill = was_acknowledged(answer)  # three starts in a row that fail are the end, and rightly so
        acknowledged += [name] * may_kill
        kills += moment != "never"
    assert kills > 10
    assert len(acknowledged) > len(names) / 2
    assert set(acknowledged) <= set(record.done)
    assert set(record.done) <= set(names)
    assert len(record.began) == len(set(record.began)), "a request was sent twice"
    assert not process.has_exited()


def kill_app(process: BootstrapProcess) -> None:
    pid = app_pid(process)
    if pid:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # killed already, and not noticed yet


@pytest.mark.parametrize("seed", SEEDS)
def test_several_invocations_at_once_lose_nothing_that_they_acknowledge(record: Record, seed: int) -> None:
    """Managed Instances: one app, several pollers, and the app is killed under all of them."""
    dice = random.Random(seed)
    with FakeRuntimeApi(concurrency=4) as api:
        environment = {"RECORD_DIRECTORY": str(record.directory), "AWS_LAMBDA_MAX_CONCURRENCY": "4"}
        process = start_bootstrap(api, command=app("recorder.py"), environment=environment)
        api.wait_idle()
        names = [f"{dice.choice(('queue', 'post'))}-{number}" for number in range(60)]
        ids = {name: api.add_event(event_of(name.partition("-")[0], name, work_ms=3)) for name in names}
        for _ in range(4):
            settled = len(api.posts) + dice.randrange(4, 12)
            eventually(lambda settled=settled: len(api.posts) >= min(settled, 60), "some answers")  # type: ignore[misc]
            kill_app(process)
        answers = {name: api.wait_answer(request_id) for name, request_id in ids.items()}
        acknowledged = {name for name, answer in answers.items() if was_acknowledged(answer)}
        assert len(api.posts) == 60
        assert acknowledged <= set(record.done)
        assert len(record.began) == len(set(record.began)), "a request was sent twice"
        assert len(acknowledged) > 20
        assert not process.has_exited()


class WatchedConnection(Connection):
    """A connection to a port where nobody listens, which tells when it is done with."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", free_port())
        self.is_done = threading.Event()

    def close(self) -> None:
        super().close()
        self.is_done.set()


class RestartedApp:
    """What the owner of an app starts again."""

    restarts = 0

    def restart(self) -> None:
        self.restarts += 1

    def await_init(self) -> None:
        """It is ready."""


def test_the_end_of_an_app_is_not_lost_to_a_doubt_about_it(tmp_path: Path) -> None:
    """Managed Instances: a poller doubts the app just when it dies. The owner looks before it hears of the death."""
    process = AppProcess(
        ("/bin/sh", "-c", "exit 3"), lambda: {"PATH": os.environ["PATH"]}, str(tmp_path / "record"), Log()
    )
    app, probe = RestartedApp(), WatchedConnection()
    reader, writer = os.pipe()
    process.start()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    pid = process.pid
    try:
        AppOwner(app, process, Board(), Log()).watch_suspicions(reader, probe)  # type: ignore[arg-type]
        os.write(writer, b"?")
        assert probe.is_done.wait(LIMIT_S)
        try:
            is_told = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            is_told = False
        assert is_told or app.restarts
    finally:
        os.close(writer)
        process.kill()


# ---- the bootstrap is killed


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_bootstrap_has_a_successor_that_takes_over(record: Record, seed: int) -> None:
    """As a queue does it: what was not acknowledged is delivered again, to the next environment on the same machine."""
    dice = random.Random(seed)
    shared = {
        "RECORD_DIRECTORY": str(record.directory),
        "TMPDIR": str(record.directory),
        "FAIRLEAD_PORT": str(free_port()),
    }
    waiting = [f"queue-{number}" for number in range(24)]
    acknowledged: list[str] = []
    leftover, born = 0, 0  # numbers are given again, and soon on a busy machine: the start tells who it is
    with ExitStack() as stack:
        for settled in [dice.randrange(1, 5) for _ in range(6)] + [24]:
            if not waiting:  # more were answered than were waited for
                break
            api = stack.enter_context(FakeRuntimeApi())
            ids = {api.add_event(event_of("queue", name, work_ms=dice.choice((0, 3)))): name for name in waiting}
            process = start_bootstrap(api, command=app("recorder.py"), environment=shared)
            enough = min(settled, len(waiting))
            eventually(lambda api=api, enough=enough: len(api._answers) >= enough, "answers")  # type: ignore[misc]
            gone = lambda pid=leftover, at=born: start_time(pid) != at or not is_running(pid)  # noqa: E731
            eventually(gone, "the death of a killed bootstrap's app")
            time.sleep(dice.random() * 0.004)
            leftover = app_pid(process, record.directory)
            born = start_time(leftover)
            process.kill()
            assert is_running(leftover)  # a group of its own outlives the bootstrap's
            eventually(lambda api=api: not api._connections, "the end of its connections")  # type: ignore[misc]
            now = [ids[request_id] for request_id, answer in api._answers if was_acknowledged(answer)]
            acknowledged += now
            waiting = [name for name in waiting if name not in now]
    assert not waiting
    assert len(acknowledged) == len(set(acknowledged)) == 24
    assert set(acknowledged) <= set(record.done)


def test_a_bootstrap_that_is_killed_while_it_loads_python_leaves_an_app_that_is_found(record: Record) -> None:
    """The app, which was started first, kills it: long before the interpreter is there."""
    once = record.directory / "first"
    command = f"test -e {once} || {{ touch {once}; kill -9 $PPID; }}; {app('recorder.py')}"
    shared = {"RECORD_DIRECTORY": str(record.directory), "TMPDIR": str(record.directory)}
    shared["FAIRLEAD_PORT"] = str(free_port())
    with FakeRuntimeApi() as first, FakeRuntimeApi() as second:
        killed = start_bootstrap(first, command=command, environment=shared)
        assert killed.wait() == -signal.SIGKILL
        killed.kill()
        eventually(lambda: accepts(int(shared["FAIRLEAD_PORT"])), "the app to listen")
        start_bootstrap(second, command=command, environment=shared)
        assert was_acknowledged(second.wait_answer(second.add_event(event_of("queue", "one"))))


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# ---- freeze and thaw


class Frozen:
    """The bootstrap and its app, stopped as Lambda freezes an environment: in the middle of anything."""

    def __init__(self, process: BootstrapProcess) -> None:
        self._groups = (process.pid, app_pid(process))

    def __enter__(self) -> None:
        for group in self._groups:
            os.killpg(group, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        for group in self._groups:
            os.killpg(group, signal.SIGCONT)


@pytest.mark.parametrize("seed", SEEDS)
def test_freeze_and_thaw_cost_nothing(api: FakeRuntimeApi, record: Record, seed: int) -> None:
    """Between invocations, for longer than a connection may rest, and within them."""
    dice = random.Random(seed)
    environment = {"RECORD_DIRECTORY": str(record.directory), "FAIRLEAD_POOL_IDLE_TIMEOUT_SECONDS": "0.02"}
    process = start_bootstrap(api, command=app("recorder.py"), environment=environment)
    api.wait_idle()
    pid, names = app_pid(process), [f"{dice.choice(('queue', 'post'))}-{number}" for number in range(25)]
    for name in names:
        event = event_of(name.partition("-")[0], name, work_ms=20)
        if dice.random() < 0.5:
            with Frozen(process):
                request_id = api.add_event(event)  # it comes while everything stands still
                time.sleep(dice.choice((0.005, 0.03)))
        else:
            request_id = api.add_event(event)
            eventually(lambda name=name: name in record.began, "the app to begin")  # type: ignore[misc]
            with Frozen(process):
                time.sleep(dice.choice((0.005, 0.03)))
        assert was_acknowledged(api.wait_answer(request_id))
    assert record.done == names
    assert app_pid(process) == pid
    assert "[ERROR]" not in process.stderr


def test_an_invocation_that_is_frozen_beyond_its_deadline_is_given_up_and_the_next_one_served(
    api: FakeRuntimeApi, record: Record
) -> None:
    process = start_bootstrap(api, command=app("recorder.py"), environment={"RECORD_DIRECTORY": str(record.directory)})
    api.wait_idle()
    for attempt, limit_ms in enumerate((2000, 8000, 20_000)):  # a busy machine may need more to get to the app at all
        name, deadline_ms = f"late-{attempt}", int(time.time() * 1000) + limit_ms
        posts = len(api.posts)
        request_id = api.add_event(event_of("queue", name, work_ms=400), deadline_ms=deadline_ms)
        eventually(lambda n=name, p=posts: n in record.began or len(api.posts) > p, "its begin")  # type: ignore[misc]
        if name in record.began:
            break
    with Frozen(process):
        eventually(lambda: time.time() * 1000 > deadline_ms, "the deadline")
    answer = api.wait_answer(request_id)
    assert was_acknowledged(answer) or answer.document["errorType"] == "Runtime.AppTimeout"
    assert not was_acknowledged(answer) or name in record.done
    assert was_acknowledged(api.wait_answer(api.add_event(event_of("queue", "next"))))


# ---- noise


def test_bursts_of_stderr_while_nobody_asks_block_neither_side(api: FakeRuntimeApi, record: Record) -> None:
    """The loop sits in next, and all that the app writes comes through, to the byte."""
    environment = {"RECORD_DIRECTORY": str(record.directory), "NOISE_EVERY_MS": "1"}
    process = start_bootstrap(api, command=app("recorder.py"), environment=environment)
    sizes = [300_000, 1_000_000, 100, 700_000]
    for number, size in enumerate(sizes):
        event = event_of("queue", f"queue-{number}", stderr=1000, later_stderr=size)
        assert was_acknowledged(api.wait_answer(api.add_event(event)))
    wanted = sum(sizes) + 1000 * len(sizes)
    eventually(lambda: len(process.stderr) >= wanted, "all of it")
    assert was_acknowledged(api.wait_answer(api.add_event(event_of("queue", "last"))))
    assert "[ERROR]" not in process.stderr


def test_an_app_that_dies_in_a_burst_is_replaced_and_the_burst_comes_through(
    api: FakeRuntimeApi, record: Record
) -> None:
    process = start_bootstrap(api, command=app("recorder.py"), environment={"RECORD_DIRECTORY": str(record.directory)})
    for number in range(3):
        event = event_of("queue", f"queue-{number}", later_stderr=50_000_000)
        assert was_acknowledged(api.wait_answer(api.add_event(event)))
        pid, size = app_pid(process), len(process.stderr)
        eventually(lambda size=size: len(process.stderr) > size + 100_000, "noise")  # type: ignore[misc]
        kill_app(process)
        eventually(lambda pid=pid: not is_running(pid), "its death")  # type: ignore[misc]  # which SIGKILL only begins
        assert was_acknowledged(api.wait_answer(api.add_event(event_of("queue", f"after-{number}"))))
        assert app_pid(process) != pid


# ---- the end


class End(NamedTuple):
    """How the app takes SIGTERM, and whether it gets to say goodbye."""

    environment: dict[str, str]
    says_goodbye: bool


LONGEST_GRACE_MS = 1500
PATIENT = {"FAIRLEAD_SHUTDOWN_GRACE_MS": str(LONGEST_GRACE_MS)}  # a busy machine may not let the app run for 400 ms
ENDS = {
    "quick": End({"GOODBYE_MS": "1", **PATIENT}, True),
    "slow-and-in-time": End({"GOODBYE_MS": "150", **PATIENT}, True),
    "too-slow": End({"GOODBYE_MS": "60000"}, False),
    "ignores-sigterm": End({"IGNORE_SIGTERM": "1"}, False),
    "ignores-sigterm-and-has-a-child": End({"IGNORE_SIGTERM": "1", "FORK_CHILD": "1"}, False),
    "gets-no-grace": End({"GOODBYE_MS": "1", "FAIRLEAD_SHUTDOWN_GRACE_MS": "0"}, False),
    "noisy-to-the-end": End({"GOODBYE_MS": "100", "NOISE_EVERY_MS": "1", **PATIENT}, True),
}


@pytest.mark.parametrize("during", ["idle", "invocation"])
@pytest.mark.parametrize("name", ENDS)
def test_at_the_end_nothing_is_left(api: FakeRuntimeApi, record: Record, name: str, during: str) -> None:
    """Whatever the app does with SIGTERM, and whatever it has forked: the bootstrap exits 0 and leaves no process."""
    environment = {"RECORD_DIRECTORY": str(record.directory), **ENDS[name].environment}
    process = start_bootstrap(api, command=app("recorder.py"), environment=environment)
    assert was_acknowledged(api.wait_answer(api.add_event(event_of("queue", "forks", fork=1))))
    if during == "invocation":
        api.add_event(event_of("queue", "unfinished", work_ms=60_000))
        eventually(lambda: "unfinished" in record.began, "the app to begin")
    else:
        api.wait_idle()
    assert len(process.app_pids) >= 2
    asked = time.monotonic()
    process.terminate()
    assert process.wait() == 0
    had_its_grace = time.monotonic() - asked > LONGEST_GRACE_MS / 1000
    eventually(lambda: not process.app_pids, "the end of all that was forked")
    said_goodbye = "goodbye" in process.stderr
    assert said_goodbye == ENDS[name].says_goodbye or (had_its_grace and not said_goodbye)
    assert not (process.directory / "tmp" / ".fairlead-app").exists()


@pytest.mark.parametrize("moment", ["between two invocations", "while it answers"])
def test_an_app_that_is_dead_while_what_it_forked_holds_its_sockets_is_replaced(
    api: FakeRuntimeApi, record: Record, moment: str
) -> None:
    """A forked child has the listening socket and the open connection: requests get in, and nobody answers them."""
    process = start_bootstrap(api, command=app("recorder.py"), environment={"RECORD_DIRECTORY": str(record.directory)})
    assert was_acknowledged(api.wait_answer(api.add_event(event_of("queue", "forks", fork=1))))
    family = process.app_pids
    assert len(family) == 2
    if moment == "while it answers":
        request_id = api.add_event(event_of("queue", "one", work_ms=60_000))
        eventually(lambda: "one" in record.began, "the app to begin")
    os.kill(leader := app_pid(process), signal.SIGKILL)
    eventually(lambda: not is_running(leader), "its death")
    if moment != "while it answers":
        request_id = api.add_event(event_of("queue", "one"))
    answer = api.wait_answer(request_id)
    assert was_acknowledged(answer) or answer.document["errorType"] == "Runtime.AppExited"
    assert not [pid for pid in family if is_running(pid)]


# ---- no secret in anything that is logged, measured, traced or posted as an error


def marked(place: str) -> str:
    """A secret that tells where it came from."""
    return f"s3cret.{place}.Zx9"


MARK = re.compile(r"s3cret\.([a-z-]+)\.Zx9|" + re.escape("czNjcmV0"))  # the latter: in base64
SECRET_FIELDS = {
    "authorization": f"Bearer {marked('authorization')}",
    "cookie": f"session={marked('cookie')}",
    "x-api-key": marked("key"),
    "referer": f"https://example.org/?token={marked('referer')}",
}
# As Lambda and a function's owner set them; the app has to get them.
SECRET_VARIABLES = {
    "AWS_SECRET_ACCESS_KEY": marked("access-key"),
    "AWS_SESSION_TOKEN": marked("session-token"),
    "AWS_LAMBDA_METADATA_TOKEN": marked("metadata-token"),
    "DATABASE_URL": f"postgres://user:{marked('variable')}@db/shop",
}
SECRET_CONTEXT = {
    "Lambda-Runtime-Client-Context": json.dumps({"custom": {"token": marked("client-context")}}),
    "Lambda-Runtime-Cognito-Identity": json.dumps({"cognitoIdentityId": marked("identity")}),
}
HOOKS = """
def on_request(request):
    what = dict(request.headers).get("x-hook", "")
    if what == "raise":
        raise LookupError("no such thing")
    if what == "nonsense":
        return request.headers
    if what == "target":
        return request._replace(target=request.target + " x")
    if what == "name":
        return request._replace(headers=[*request.headers, ("x bad", dict(request.headers)["authorization"])])
    if what == "value":
        return request._replace(headers=[*request.headers, ("x-bad", "a\\r\\n" + request.target)])

def on_response(request, response):
    if dict(request.headers).get("x-hook") == "answer":
        return request
"""


def secret_post(path: str, **fields: str) -> dict[str, Any]:
    """A POST with a secret wherever a client may put one."""
    event = function_url("POST", f"{path}?token={marked('query')}", json.dumps({"password": marked("body")}))
    event["headers"].update(SECRET_FIELDS, **{name.replace("_", "-"): value for name, value in fields.items()})
    event["cookies"] = [f"session={marked('cookies')}"]
    event["queryStringParameters"] = {"token": marked("parameters")}
    event["requestContext"]["authorizer"] = {"jwt": {"claims": {"email": marked("claims")}}}
    return event


def broken_base64() -> dict[str, Any]:
    return {**secret_post("/orders"), "body": f"%{marked('broken')}%", "isBase64Encoded": True}


def odd_method() -> dict[str, Any]:
    event = secret_post("/orders")
    event["requestContext"]["http"]["method"] = "G T"
    return event


# Everything that goes wrong, and what goes right; each is invoked once as a client's and once as a queue's.
PATHS = (
    *("/orders", "/status/404", "/status/500", "/close-before", "/reset-middle", "/truncated", "/garbage", "/die"),
    *("/bad-chunk-size", "/both-lengths", "/switching-protocols", "/large/6400000", "/silence", "/refuse", "/orders"),
)
ODD: dict[str, Callable[[], object]] = {
    "broken-base64": broken_base64,
    "odd-method": odd_method,
    "no-json": lambda: b'{"token":"' + marked("no-json").encode() + b'",}',
    "no-json-at-all": lambda: marked("no-json").encode(),
    "large-context": lambda: {
        **secret_post("/orders"),
        "requestContext": {"http": {"method": "GET"}, "x": marked("large") * 900},
    },
    "odd-fields": lambda: secret_post("/orders", **{"x\r\ny": marked("name"), "z": f"{marked('value')}\r\nq: 1"}),
    **{
        f"hook-{what}": lambda what=what: secret_post("/orders", x_hook=what)
        for what in ("raise", "nonsense", "answer")
    },
}
LOUD = {
    "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
    "FAIRLEAD_REQUEST_LOG": "true",
    "FAIRLEAD_METRICS": "emf",
    "FAIRLEAD_TRACING": "xray",
    "FAIRLEAD_ENABLE_COMPRESSION": "true",
    "AWS_LWA_AUTHORIZATION_SOURCE": "x-api-key",
}
SETTINGS = {
    "text": {},
    "json": {"AWS_LAMBDA_LOG_FORMAT": "JSON"},
    "json-faults-are-errors": {"AWS_LAMBDA_LOG_FORMAT": "JSON", "FAIRLEAD_APP_FAULTS": "error"},
    "text-failing-statuses": {"FAIRLEAD_ERROR_STATUS_CODES": "400-599"},
    "text-streamed": {"FAIRLEAD_INVOKE_MODE": "response_stream"},
    "json-raw": {"AWS_LAMBDA_LOG_FORMAT": "JSON", "FAIRLEAD_EVENT_MODE": "raw"},
    "text-work-after-the-answer": {"FAIRLEAD_AFTER_RESPONSE_PATH": "/status/500"},
}


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        yield listener


def datagrams(daemon: socket.socket) -> Iterator[str]:
    while True:
        try:
            yield daemon.recv(65536).decode()
        except BlockingIOError:
            return


def reported(api: FakeRuntimeApi) -> Iterator[str]:
    """Everything in posts that is not an answer to whoever sent the secret: errors, and the trailers of streams."""
    for request in api.of_kind("error", "init_error", "register"):
        yield f"{request.target} {request.headers} {request.body.decode('utf-8', 'replace')}"
    for request in api.of_kind("response"):
        yield f"{request.target} {request.headers} {request.trailers}"


@pytest.mark.parametrize("name", SETTINGS)
def test_no_secret_is_told(api: FakeRuntimeApi, daemon: socket.socket, tmp_path: Path, name: str) -> None:
    """Allowed are: the path, the request id, the size, and what the app itself writes or answers as its error."""
    (tmp_path / "fairlead_hooks.py").write_text(HOOKS)
    environment = {
        **LOUD,
        **SECRET_VARIABLES,
        **SETTINGS[name],
        "LAMBDA_TASK_ROOT": str(tmp_path),
        "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}",
        "FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS": "2",  # so long an app that refuses connections is waited for
    }
    process = start_bootstrap(api, command=app("faults.py"), environment=environment)
    seen: list[str] = []
    for path in PATHS:
        for event in (
            secret_post(path),
            {"fault": path, "token": marked("event"), "Records": [{"body": marked("event")}]},
        ):
            deadline_s = 1 if path == "/silence" else 30
            api.wait_answer(api.add_event(event, deadline_s=deadline_s, headers=SECRET_CONTEXT))
            seen += datagrams(daemon)
    for make in ODD.values():
        api.wait_answer(api.add_event(make(), headers=SECRET_CONTEXT))
    api.wait_idle()
    seen += datagrams(daemon)
    assert not process.has_exited()
    process.terminate()
    assert process.wait() == 0
    told = [*process.output.splitlines(), *seen, *reported(api)]
    assert not [line[:300] for line in told if MARK.search(line)]
    assert len(seen) > 10
    assert process.stdout.count('"type":"request"') > 20
    assert process.stdout.count('"_aws"') > 20


@pytest.mark.parametrize("what", ["target", "name", "value"])
def test_a_request_that_a_hook_has_spoiled_is_explained_without_its_secrets(
    api: FakeRuntimeApi, tmp_path: Path, what: str
) -> None:
    (tmp_path / "fairlead_hooks.py").write_text(HOOKS)
    process = start_bootstrap(api, command=app("faults.py"), environment={"LAMBDA_TASK_ROOT": str(tmp_path)})
    answer = api.wait_answer(api.add_event(secret_post("/orders", x_hook=what)))
    assert "Function.HookFailed" in answer.document["body"]
    api.wait_idle()
    assert not [line for line in process.output.splitlines() if MARK.search(line)]


STARTS_THAT_FAIL = {
    "app-exits": ({"EXIT_AT_ONCE_MS": "0"}, None, "Runtime.AppExited"),
    "app-is-not-ready": (
        {"LISTEN_OTHER_PORT": str(free_port()), "FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS": "1"},
        None,
        "Runtime.AppNotReady",
    ),
    "settings-are-wrong": (
        {"FAIRLEAD_ASYNC_INIT": "maybe", "FAIRLEAD_SECRET": marked("setting")},
        None,
        "Runtime.InvalidConfig",
    ),
    "hooks-cannot-be-loaded": (
        {},
        f'TOKEN = "{marked("source")}"\nprint(TOKEN.nothing)\n',
        "Function.HookFailed",
    ),
}


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("name", STARTS_THAT_FAIL)
def test_no_secret_is_told_of_a_start_that_fails(api: FakeRuntimeApi, tmp_path: Path, name: str, as_json: bool) -> None:
    """Of a setting that is none only the name is told, and of a hook file the line that failed."""
    environment, hooks, error_type = STARTS_THAT_FAIL[name]
    if hooks:
        (tmp_path / "fairlead_hooks.py").write_text(hooks)
    given = {**SECRET_VARIABLES, **environment, "LAMBDA_TASK_ROOT": str(tmp_path), "AWS_LAMBDA_LOG_LEVEL": "DEBUG"}
    given |= {"AWS_LAMBDA_LOG_FORMAT": "JSON"} if as_json else {}
    process = start_bootstrap(api, command=app("faults.py"), environment=given)
    assert json.loads(api.wait_init_error().body)["errorType"] == error_type
    assert process.wait() == 1
    told = [*process.output.splitlines(), *reported(api)]
    assert not [line[:300] for line in told if MARK.search(line)]


# ---- behind other runtimes, wrappers and preloaded libraries


MANAGED = ("/var/lang/bin/node", "--max-http-header-size", "81920", "/var/runtime/index.mjs")
FOREIGN = {
    "PYTHONHOME": "/nonexistent",
    "PYTHONSTARTUP": "/nonexistent/startup.py",
    "PYTHONWARNINGS": "error",
    "PYTHONINSPECT": "1",
    "PYTHONMALLOC": "nonsense",
    "PYTHONHASHSEED": "nonsense",
    "NODE_OPTIONS": "--require /nonexistent.js",
    "JAVA_TOOL_OPTIONS": "-javaagent:/nonexistent.jar",
    "LD_PRELOAD": "/nonexistent/preload.so",
    "BASH_ENV": "/nonexistent/rc",
    "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x",
}


def managed(root: Path, script: str = "run.sh") -> dict[str, str]:
    """The environment of a managed runtime whose exec wrapper is `bootstrap`, with what spoils an interpreter."""
    spoiled = root / "python"
    spoiled.mkdir()
    for name in ("sitecustomize", "usercustomize", "posix", "time", "json", "encodings", "runtime", "fairlead"):
        (spoiled / f"{name}.py").write_text("raise SystemExit('a module of the function was imported')\n")
    start_script(root / script)
    return {
        **FOREIGN,
        "PYTHONPATH": str(spoiled),
        "AWS_LAMBDA_EXEC_WRAPPER": str(CHECKOUT / "bootstrap"),
        "LAMBDA_TASK_ROOT": str(root),
        "_HANDLER": script,
    }


def start_script(path: Path) -> None:
    """A start script whose server tells what it was started with; it runs whatever the environment does to Python."""
    unset = "env -u PYTHONHOME"  # it could not start otherwise; what it was given is kept aside
    path.write_text(
        f'#!/bin/sh\nexport SEEN="$(env)"\nexec {unset} {PYTHON} -I -S {CHECKOUT}/tests/apps/state.py "$@"\n'
    )
    path.chmod(0o755)


def started_with(api: FakeRuntimeApi) -> tuple[dict[str, str], list[str]]:
    """The app's environment as its start script saw it, and the arguments it was given."""
    document = json.loads(api.wait_answer(api.add_event({"Records": []})).body)
    lines = [line.partition("=") for line in document["environment"]["SEEN"].splitlines()]
    return {name: value for name, _, value in lines}, document["arguments"]


@pytest.mark.parametrize("way", ["early", "by-python"])
def test_as_exec_wrapper_of_a_managed_runtime_the_handler_is_the_start_script(
    api: FakeRuntimeApi, tmp_path: Path, way: str
) -> None:
    """The managed runtime's own command is not run; its variables, and those of agents, reach the app alone."""
    environment = managed(tmp_path) | {"TMPDIR": str(tmp_path)}
    if way == "by-python":
        (tmp_path / ".fairlead-app").write_text("not a record\n")
    process = start_bootstrap(api, arguments=MANAGED, environment=environment)
    seen, arguments = started_with(api)
    assert arguments == []
    assert {name: seen.get(name) for name in FOREIGN} == FOREIGN
    assert seen["PYTHONPATH"] == environment["PYTHONPATH"]
    assert not {"AWS_LAMBDA_EXEC_WRAPPER", "AWS_LAMBDA_RUNTIME_API", "_HANDLER"} & set(seen)
    assert "a module of the function was imported" not in process.output
    loaded = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    assert b"LD_PRELOAD=" + FOREIGN["LD_PRELOAD"].encode() not in loaded


def test_an_app_that_is_started_again_behind_a_wrapper_gets_the_same(api: FakeRuntimeApi, tmp_path: Path) -> None:
    process = start_bootstrap(api, arguments=MANAGED, environment=managed(tmp_path) | {"TMPDIR": str(tmp_path)})
    noise = {"_", "SHLVL", "PWD", "OLDPWD"}
    first, _ = started_with(api)
    os.killpg(pid := app_pid(process, tmp_path), signal.SIGKILL)
    eventually(lambda: not is_running(pid), "its death")
    second, arguments = started_with(api)
    assert app_pid(process, tmp_path) != pid
    assert arguments == []
    assert {k: v for k, v in second.items() if k not in noise} == {k: v for k, v in first.items() if k not in noise}


def test_on_provided_the_wrapper_of_an_agent_is_run_around_the_app_once(api: FakeRuntimeApi, tmp_path: Path) -> None:
    """As those of tracing agents do: it sets variables and ends with exec "$@"."""
    wrapper = tmp_path / "agent"
    wrapper.write_text('#!/bin/sh\nexport AGENT="on$AGENT" NODE_OPTIONS="--require /opt/agent.js"\nexec "$@"\n')
    wrapper.chmod(0o755)
    start_script(tmp_path / "run.sh")
    environment = {
        "LAMBDA_TASK_ROOT": str(tmp_path),
        "_HANDLER": "run.sh",
        "AWS_LAMBDA_EXEC_WRAPPER": str(wrapper),
    }
    start_bootstrap(api, environment=environment)
    seen, _ = started_with(api)
    assert (seen["AGENT"], seen["NODE_OPTIONS"]) == ("on", "--require /opt/agent.js")


def test_behind_a_wrapper_a_handler_that_is_nothing_to_run_is_named(api: FakeRuntimeApi, tmp_path: Path) -> None:
    """The managed runtime's handler was left as it was."""
    environment = managed(tmp_path) | {"_HANDLER": "index.handler", "PYTHONPATH": ""}
    process = start_bootstrap(api, arguments=MANAGED, environment=environment)
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.ImportModuleError"
    assert "index" in document["errorMessage"]
    assert process.wait() == 1
