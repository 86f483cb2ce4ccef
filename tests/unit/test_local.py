"""The local tools' parts that need no sandbox: the cache, the checks before the start, the arguments, the server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from local.app import start_script
from local.app.changes import Changes, snapshot
from local.cache import once
from local.environments.pool import Environments
from local.failures import LocalFailure
from local.gateway.conversation import Served
from local.gateway.display import BOOKKEEPING, JsonLines, readable
from local.run import Options, parse_arguments
from local.runtime_api.reply import Reply
from local.sandbox import bubblewrap
from local.sandbox.cgroup import limit_places
from local.sandbox.mounts import Bind


def test_once_makes_a_thing_one_time_only(tmp_path: Path) -> None:
    made = []

    def make(draft: Path) -> None:
        made.append(draft)
        (draft / "file").write_text("content")

    for _ in range(2):
        assert (once(tmp_path / "thing", make) / "file").read_text() == "content"
    assert len(made) == 1


def test_once_leaves_nothing_half_made(tmp_path: Path) -> None:
    def fail(draft: Path) -> None:
        (draft / "half").touch()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        once(tmp_path / "thing", fail)
    assert not (tmp_path / "thing").exists()
    assert list(once(tmp_path / "thing", lambda draft: None).iterdir()) == []


def test_concurrent_callers_of_once_share_what_one_of_them_makes(tmp_path: Path) -> None:
    begun, made = threading.Event(), []

    def make(draft: Path) -> None:
        made.append(draft)
        begun.wait(30)

    threads = [threading.Thread(target=once, args=(tmp_path / "thing", make)) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join(30)
    assert len(made) == 1


Script = Callable[[bytes, int], Path]


@pytest.fixture
def app_with(tmp_path: Path) -> Script:
    def write(content: bytes, mode: int) -> Path:
        (tmp_path / "run.sh").write_bytes(content)
        (tmp_path / "run.sh").chmod(mode)
        return tmp_path

    return write


def test_a_good_start_script_needs_no_words(app_with: Script) -> None:
    assert start_script.check(app_with(b"#!/bin/sh\n", 0o755), "") == []


def test_a_command_needs_no_start_script(tmp_path: Path) -> None:
    assert start_script.check(tmp_path, "./server") == []


def test_a_script_that_is_not_executable_runs_and_is_mentioned(app_with: Script) -> None:
    (notice,) = start_script.check(app_with(b"#!/bin/sh\n", 0o644), "")
    assert "chmod +x" in notice


REFUSED = {
    "windows line ends": (b"#!/bin/sh\r\nexec x\r\n", 0o755, "Windows line ends"),
    "no interpreter": (b"exec x\n", 0o755, "#!/bin/sh"),
    "empty": (b"", 0o755, "#!/bin/sh"),
}


@pytest.mark.parametrize(("content", "mode", "words"), REFUSED.values(), ids=REFUSED)
def test_a_script_that_cannot_run_is_refused(app_with: Script, content: bytes, mode: int, words: str) -> None:
    with pytest.raises(LocalFailure, match=words):
        start_script.check(app_with(content, mode), "")


def test_a_missing_folder_and_a_missing_script_are_different_sentences(tmp_path: Path) -> None:
    with pytest.raises(LocalFailure, match="no folder"):
        start_script.check(tmp_path / "nowhere", "")
    with pytest.raises(LocalFailure, match=r"no run\.sh and no command"):
        start_script.check(tmp_path, "")


class Files(NamedTuple):
    """The parts of a sandbox."""

    root: Path
    task: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for name in ("root/opt", "root/etc", "task/folder"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("root/etc/hosts", "root/etc/resolv.conf", "task/main.py"):
        (tmp_path / name).touch()
    (tmp_path / "task/link").symlink_to("../elsewhere")
    return Files(tmp_path / "root", tmp_path / "task")


def pairs_after(word: str, arguments: list[str]) -> list[tuple[str, str]]:
    return [(arguments[at + 1], arguments[at + 2]) for at, argument in enumerate(arguments) if argument == word]


def test_the_app_is_bound_as_a_whole(files: Files) -> None:
    arguments = bubblewrap.arguments(*files, {"A": "b c"}, [])
    assert (str(files.task), "/var/task") in pairs_after("--ro-bind", arguments)
    assert pairs_after("--setenv", arguments) == [("A", "b c")]


def test_a_bind_into_the_app_composes_it_from_its_entries(files: Files, tmp_path: Path) -> None:
    arguments = bubblewrap.arguments(
        *files, {}, [Bind(tmp_path, "/var/task/python"), Bind(tmp_path, "/var/task/main.py")]
    )
    inside = [pair for pair in pairs_after("--ro-bind", arguments) if pair[1].startswith("/var/task")]
    assert inside == [
        (str(files.task / "folder"), "/var/task/folder"),
        (str(tmp_path), "/var/task/python"),
        (str(tmp_path), "/var/task/main.py"),
    ]
    assert pairs_after("--symlink", arguments) == [("../elsewhere", "/var/task/link")]
    assert arguments[arguments.index("--remount-ro") + 1] == "/var/task"


def test_a_bind_that_has_no_place_names_the_places(files: Files, tmp_path: Path) -> None:
    with pytest.raises(LocalFailure, match="/var/task or /mnt"):
        bubblewrap.arguments(*files, {}, [Bind(tmp_path, "/srv/x")])


MEMBERSHIPS = {
    "v1 beside an empty v2": (
        "9:name=systemd:/\n4:cpu,memory:/jobs/one\n0::/\n",
        "cgroup /c/memory cgroup rw,cpu,memory 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n",
        [("/c/memory/jobs/one", "memory.limit_in_bytes")],
    ),
    "v2: the ancestors whose children have the controller": (
        "0::/user.slice/user@1.service/app.scope\n",
        "cgroup2 /c cgroup2 rw 0 0\n",
        [("/c/user.slice/user@1.service", "memory.max"), ("/c/user.slice", "memory.max")],
    ),
    "no cgroup file system": ("0::/\n", "proc /proc proc rw 0 0\n", []),
}


@pytest.mark.parametrize(("membership", "mounts", "expected"), MEMBERSHIPS.values(), ids=MEMBERSHIPS)
def test_where_a_memory_limit_may_be_made(membership: str, mounts: str, expected: list[tuple[str, str]]) -> None:
    enabled = {Path("/c/user.slice"), Path("/c/user.slice/user@1.service")}
    places = limit_places(membership, mounts, 128, enabled.__contains__)
    assert [(str(parent), next(iter(settings))) for parent, settings in places] == expected


def test_the_emulators_bookkeeping_is_told_from_the_apps_lines() -> None:
    assert BOOKKEEPING.match("END RequestId: 71a9bfad-0ea2-47bf-9cfc-441b9059d0e0")
    assert BOOKKEEPING.match(
        "21 Nov 2026 12:26:31,200 [ERROR] (rapid) Invoke failed error=errResetReceived InvokeID=03"
    )
    assert not BOOKKEEPING.match("21 Nov 2026 12:26:31,200 [ERROR] (rapid) Init failed error=signal: killed InvokeID=")
    assert not BOOKKEEPING.match("END of the story")


def options(*arguments: str) -> Options:
    return parse_arguments(arguments)[0]


def test_the_command_line() -> None:
    given = ["--app", "x", "--cmd", "a b", "--port", "0", "--timeout", "5", "--memory", "256", "--env", "A=b=c"]
    given += ["--source", "rest", "--stage", "dev", "--binary-media-types", "image/png", "*/*", "--environments", "2"]
    given += ["--allowed-hosts", "app.test, .sub.test", "--https"]
    assert options(*given, "--reload", "--host", "0.0.0.0") == Options(
        app=Path("x"),
        command="a b",
        port=0,
        timeout_s=5,
        memory_mb=256,
        environment={"A": "b=c"},
        source="rest",
        stage="dev",
        binary_media_types=("image/png", "*/*"),
        environments=2,
        is_reloading=True,
        host="0.0.0.0",
        allowed_hosts=("app.test", ".sub.test"),
        is_https=True,
    )


def test_without_arguments_the_command_line_is_the_defaults() -> None:
    assert options() == Options(binary_media_types=())


def test_a_variable_without_a_value_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres:///")
    assert options("--env", "DATABASE_URL").environment == {"DATABASE_URL": "postgres:///"}


MEANINGLESS = {
    "a stage of what has none": (["--source", "alb", "--stage", "dev"], "alb has no stages"),
    "a stage with a slash": (["--source", "rest", "--stage", "a/b"], "letters, digits"),
    "binary types of what has none": (["--binary-media-types", "*/*"], "function-url has none"),
    "a host with a port": (["--allowed-hosts", "app.test:3000"], "no host's name"),
    "a host that no browser asks for": (["--allowed-hosts", "a.test café.test"], "'café.test' is no host's name"),
    "a source that does not exist": (["--source", "cloudfront"], "lattice"),
}


@pytest.mark.parametrize(("arguments", "words"), MEANINGLESS.values(), ids=MEANINGLESS)
def test_options_that_mean_nothing_together_are_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(arguments)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--port", "65536"], ["--timeout", "0"], ["--timeout", "2.5"], ["--memory", "x"]]
)
def test_a_wrong_number_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(arguments)
    assert "whole number from" in capsys.readouterr().err


SERVED = Served("GET", "/x?y", 200, 1365, 270.44, True, 2, ("careful",))
LINES = {
    "cold": (SERVED, "12:00:00  #2  GET /x?y  200  1,365 B  270.4 ms  cold\n          careful"),
    "warm": (SERVED._replace(is_cold=False, problem=()), "12:00:00  #2  GET /x?y  200  1,365 B  270.4 ms  warm"),
    "streamed": (
        SERVED._replace(is_cold=False, problem=(), first_byte_ms=12.34),
        "12:00:00  #2  GET /x?y  200  1,365 B  12.3 ms, all after 270.4 ms  warm",
    ),
    "by none": (
        SERVED._replace(is_cold=False, environment=0, problem=()),
        "12:00:00  --  GET /x?y  200  1,365 B  270.4 ms",
    ),
}


@pytest.mark.parametrize(("served", "expected"), LINES.values(), ids=LINES)
def test_a_line_says_which_environment_served_and_whether_it_was_cold(served: Served, expected: str) -> None:
    assert readable(served, "12:00:00") == expected


def test_json_lines_are_one_object_each(capsys: pytest.CaptureFixture[str]) -> None:
    display = JsonLines()
    display.note("careful")
    display.address("app", "http://127.0.0.1:3000")
    display.output(2, 'says "hi"')
    display.served(SERVED)
    note, address, output, request = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {line.pop("time")[10] for line in (note, address, output, request)} == {"T"}
    assert note == {"type": "note", "text": "careful"}
    assert address == {"type": "address", "app": "app", "address": "http://127.0.0.1:3000"}
    assert output == {"type": "output", "environment": 2, "line": 'says "hi"'}
    assert request == {
        "type": "request",
        "method": "GET",
        "target": "/x?y",
        "status": 200,
        "body_bytes": 1365,
        "duration_ms": 270.44,
        "is_cold": True,
        "environment": 2,
        "problem": ["careful"],
        "first_byte_ms": None,
    }


class Held:
    """A function whose invocations last until they are let go; stands where a sandbox does."""

    def __init__(self, number: int, failure: bytes = b"") -> None:
        self.number = number
        self.failure = failure
        self.goes_on = threading.Event()
        self.is_stopped = threading.Event()
        self.payloads: list[bytes] = []

    def invoke(self, payload: bytes, *, on_answer: Callable[[Reply], object]) -> Reply:
        self.payloads.append(payload)
        if self.failure:
            return Reply(502, self.failure, True)
        if payload == b"hold on":
            on_answer(Reply(200, b"early", False))
            payload = b"hold"
        if payload == b"hold":
            assert self.goes_on.wait(10)
        if payload == b"die" or self.is_stopped.is_set():
            raise LocalFailure("the emulator is not running")
        return Reply(200, payload, len(self.payloads) == 1)

    def stop(self) -> None:
        self.is_stopped.set()
        self.goes_on.set()


class Starter:
    """Starts ``Held`` functions and remembers them; ``failures`` of the next starts fail."""

    def __init__(self) -> None:
        self.started: list[Held] = []
        self.alone: list[bool] = []
        self.ended_before: list[list[int]] = []  # for each start, which ones had ended
        self.started_first, self.started_second = threading.Event(), threading.Event()
        self.failures = 0
        self.fails_as = b""  # what the next starts end with at the first invocation
        self.version = 0

    def __call__(self, number: int, is_alone: bool) -> Held:
        if self.failures:
            self.failures -= 1
            raise LocalFailure("run.sh is gone")
        self.alone.append(is_alone)
        self.ended_before.append([function.number for function in self.started if function.is_stopped.is_set()])
        self.started.append(Held(number, self.fails_as))
        (self.started_second if len(self.started) > 1 else self.started_first).set()
        return self.started[-1]


@pytest.fixture
def starter() -> Starter:
    return Starter()


@pytest.fixture
def two(starter: Starter) -> Iterator[Environments]:
    with Environments(starter, 2, lambda: starter.version) as environments:
        yield environments


def number_of(environments: Environments, payload: bytes = b"x") -> int:
    return environments.submit(payload).result(10).environment


def test_one_environment_serves_what_comes_one_after_the_other(two: Environments, starter: Starter) -> None:
    assert [number_of(two) for _ in range(3)] == [1, 1, 1]
    assert [function.number for function in starter.started] == [1]


def test_another_environment_is_started_only_when_all_are_busy(two: Environments, starter: Starter) -> None:
    held = two.submit(b"hold")
    assert [number_of(two), number_of(two)] == [2, 2]
    starter.started[0].goes_on.set()
    assert held.result(10).environment == 1
    assert number_of(two) == 1
    assert starter.alone == [True, False]


def test_an_environment_that_has_answered_early_is_busy_until_the_end(two: Environments, starter: Starter) -> None:
    outcome = two.submit(b"hold on").result(10)
    assert outcome.reply.body == b"early"
    assert number_of(two) == 2
    starter.started[0].goes_on.set()
    assert outcome.end is not None
    assert outcome.end.result(10).body == b"hold"
    assert number_of(two) == 1


def test_a_request_waits_when_as_many_as_allowed_are_busy(two: Environments, starter: Starter) -> None:
    held = [two.submit(b"hold") for _ in range(2)]
    waiting = threading.Thread(target=lambda: waited.append(number_of(two)))
    waited: list[int] = []
    waiting.start()
    assert waited == []
    starter.started[1].goes_on.set()
    waiting.join(10)
    assert waited == [2]
    starter.started[0].goes_on.set()
    assert [future.result(10).environment for future in held] == [1, 2]


def test_a_changed_app_gets_new_environments_and_an_idle_old_one_ends(two: Environments, starter: Starter) -> None:
    assert number_of(two) == 1
    starter.version = 1
    assert number_of(two) == 2
    assert starter.started[0].is_stopped.wait(10)
    assert not starter.started[1].is_stopped.is_set()


def test_a_busy_old_environment_answers_before_it_ends(two: Environments, starter: Starter) -> None:
    held = two.submit(b"hold")
    starter.version = 1
    assert [number_of(two), number_of(two)] == [2, 2]
    assert not starter.started[0].is_stopped.is_set()
    starter.started[0].goes_on.set()
    assert held.result(10).reply.body == b"hold"
    assert number_of(two) == 2
    assert starter.started[0].is_stopped.wait(10)


def test_an_environment_whose_emulator_is_gone_is_replaced(two: Environments, starter: Starter) -> None:
    with pytest.raises(LocalFailure, match="not running"):
        number_of(two, b"die")
    assert starter.started[0].is_stopped.wait(10)
    assert number_of(two) == 2


def test_a_start_that_fails_is_tried_again_with_the_next_request(two: Environments, starter: Starter) -> None:
    starter.failures = 1
    with pytest.raises(LocalFailure, match=r"run\.sh"):
        two.prepare()
    two.prepare()
    assert number_of(two) == 2
    assert [function.number for function in starter.started] == [2]


def start_failure(kind: str = "Runtime.AppExited") -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": "address in use\nand more"}).encode()


def test_an_app_that_does_not_start_beside_itself_is_served_by_the_environment_in_which_it_runs(
    starter: Starter,
) -> None:
    notes: list[str] = []
    with Environments(starter, 4, lambda: starter.version, notes.append) as several:
        assert number_of(several) == 1
        held = several.submit(b"hold")
        starter.fails_as = start_failure()
        waiting = several.submit(b"x")  # fails in the second, and waits for the first
        assert starter.started_second.wait(10)
        starter.started[0].goes_on.set()
        assert (waiting.result(10).environment, waiting.result(10).reply.body) == (1, b"x")
        assert held.result(10).environment == 1
        starter.fails_as = b""
        assert number_of(several) == 1
        assert [function.number for function in starter.started] == [1, 2]
        (note,) = notes
        assert "(Runtime.AppExited: address in use)" in note
        assert "one environment serves from here on, as with ENVIRONMENTS=1" in note
        starter.version = 1  # a changed app may be able to
        assert number_of(several) == 3
        again = several.submit(b"hold")
        assert number_of(several) == 4
        starter.started[2].goes_on.set()
        again.result(10)


def test_an_app_that_starts_nowhere_fails_as_it_does(starter: Starter) -> None:
    starter.fails_as = start_failure("Runtime.AppNotReady")
    notes: list[str] = []
    with Environments(starter, 4, on_note=notes.append) as several:
        outcome = several.submit(b"x").result(10)
        assert (outcome.environment, outcome.reply.status) == (1, 502)
    assert notes == []


def test_where_one_environment_is_all_the_next_one_starts_when_nothing_is_left_of_the_last(starter: Starter) -> None:
    """An app with a port of its own choice could not open it before."""
    with Environments(starter, 1, lambda: starter.version) as one:
        held = one.submit(b"hold")
        starter.version = 1
        waiting = threading.Thread(target=lambda: waited.append(number_of(one)))
        waited: list[int] = []
        waiting.start()
        assert len(starter.started) <= 1
        starter.started_first.wait(10)
        starter.started[0].goes_on.set()
        waiting.join(10)
        assert held.result(10).environment == 1
        assert waited == [2]
    assert starter.ended_before == [[], [1]]
    assert starter.alone == [True, True]


def test_a_changed_app_has_lambdas_port_again_when_nobody_else_runs(two: Environments, starter: Starter) -> None:
    assert number_of(two) == 1
    starter.version = 1
    assert number_of(two) == 2
    assert starter.ended_before == [[], [1]]
    assert starter.alone == [True, True]


def test_stop_ends_what_is_running_and_refuses_what_comes(starter: Starter) -> None:
    with Environments(starter, 1) as one:
        held = one.submit(b"hold")
    with pytest.raises(LocalFailure):
        held.result(10)
    assert all(function.is_stopped.is_set() for function in starter.started)
    with pytest.raises(LocalFailure, match="have ended"):
        one.submit(b"x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("main.py", "pages/index.html", ".git/index", "node_modules/x/index.js", "__pycache__/main.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    return tmp_path


def test_the_files_that_are_the_app(folder: Path) -> None:
    assert sorted(snapshot(folder)) == ["main.py", "pages/index.html"]


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda folder: None, []),
    "written": (lambda folder: (folder / "main.py").write_text("22"), ["main.py"]),
    "new": (lambda folder: (folder / "pages/new.html").touch(), ["pages/new.html"]),
    "gone": (lambda folder: (folder / "pages/index.html").unlink(), ["pages/index.html"]),
    "what tools write": (lambda folder: (folder / "__pycache__/other.pyc").touch(), []),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_app_is_seen_and_named_once(
    folder: Path, change: Callable[[Path], object], told: list[str]
) -> None:
    names: list[str] = []
    changes = Changes(folder, names.append)
    assert changes() == 0
    change(folder)
    assert [changes(), changes()] == [len(told)] * 2
    assert names == told
