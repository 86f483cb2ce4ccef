"""bubblewrap and an ordinary process: each does what a function needs, and leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from local.cache import CHECKOUT
from local.environments.function import Function
from local.failures import LocalFailure
from local.machine import architecture
from local.ports import free_ports
from local.processes import below
from local.runtime_api.reply import Reply
from local.sandbox import launcher, plain_process
from local.sandbox.cgroup import counter
from local.sandbox.mounts import Bind

from .apps import COMMAND, DETACHED, shell_app
from .ends import all_gone, eventually, kill_driver
from .test_function import command_line

pytestmark = pytest.mark.integration

Start = Callable[..., Function]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shell_app(tmp_path_factory.mktemp("app"))


@contextmanager
def choosing(kind: str) -> Iterator[None]:
    """What starts meanwhile is of this kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(launcher.CHOICE, kind)
        yield


@pytest.fixture(scope="module", params=launcher.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """One after the other, where it is possible."""
    with choosing(request.param):
        try:
            return launcher.best(launcher.Code(Path(), Path(), architecture()))[0]
        except LocalFailure as failure:
            pytest.skip(str(failure))


@pytest.fixture
def start(kind: str, layer_tree: Path, task: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(memory_mb: int = 512, timeout_s: int = 30, binds: tuple[Bind, ...] = (), **more: str) -> Function:
            with choosing(kind):
                return stack.enter_context(Function(layer_tree, task, variables(**more), memory_mb, timeout_s, binds))

        yield start


@pytest.fixture(scope="module")
def function(kind: str, layer_tree: Path, task: Path) -> Iterator[Function]:
    with ExitStack() as stack:
        with choosing(kind):
            function = stack.enter_context(Function(layer_tree, task, variables(GREETING="hello")))
        yield function


def variables(**more: str) -> dict[str, str]:
    return {"FAIRLEAD_COMMAND": COMMAND, "PORT": str(free_ports(1)[0]), **more}


def ask(function: Function, command: str) -> Reply:
    return function.invoke(json.dumps(command).encode())


def said(function: Function, command: str) -> str:
    reply = ask(function, command)
    assert reply.status == 200
    return str(json.loads(reply.body))


def test_it_is_the_kind_that_was_chosen(function: Function, kind: str) -> None:
    assert function.kind == kind


def test_the_layers_own_interpreter_runs_the_app(function: Function, kind: str) -> None:
    """In an ordinary process it is not at /opt, and runs all the same."""
    program = "/fairlead/bin/python3"
    assert said(function, "readlink /proc/$PPID/exe").endswith(program)
    assert said(function, "tr '\\0' '\\n' </proc/$PPID/cmdline | head -1").endswith(program)


def test_only_the_process_says_that_there_is_no_sandbox(function: Function, kind: str) -> None:
    assert (plain_process.NOTICE in function.notices) == (kind == "process")


def test_the_app_starts_in_its_folder(function: Function) -> None:
    assert said(function, '[ "$PWD" -ef "$LAMBDA_TASK_ROOT" ] && cat file') == "the app's own"


def test_the_environment_is_lambdas_and_the_functions_own(function: Function) -> None:
    seen = dict(line.split("=", 1) for line in said(function, "env").splitlines())
    expected = {"GREETING": "hello", "TZ": ":UTC", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024", "AWS_REGION": "us-east-1"}
    assert {name: seen.get(name) for name in expected} == expected
    assert "HOME" not in seen


def test_a_file_for_a_while_has_a_place(function: Function) -> None:
    assert said(function, 'cd "${TMPDIR:-/tmp}" && echo x >file && cat file && rm file') == "x"


def test_what_it_writes_is_captured(function: Function) -> None:
    ask(function, "echo to the log >&2; echo to the log >/proc/$PPID/fd/1")
    assert eventually(lambda: "to the log" in function.output)


def test_the_emulator_is_a_process_of_ours(function: Function) -> None:
    assert b"aws-lambda-rie" in command_line(function.sandbox.program_pid)


def test_the_functions_processes_are_the_runtime_and_the_app(function: Function) -> None:
    ask(function, "true")
    assert [b"app.py" in command_line(pid) for pid in function.processes()] == [False, True]


def test_a_crash_is_survived(function: Function) -> None:
    said(function, "true")
    assert json.loads(ask(function, "kill -9 $PPID").body)["errorType"] == "Runtime.AppExited"
    assert said(function, "echo again") == "again"


def test_a_timeout_is_told_before_it_happens_and_survived(start: Start) -> None:
    function = start(timeout_s=4)
    assert json.loads(ask(function, "sleep 60").body)["errorType"] == "Runtime.AppTimeout"
    assert said(function, "echo again") == "again"


def test_out_of_memory_is_said(start: Start) -> None:
    function = start(memory_mb=128)
    if function.sandbox.memory_limit is None:
        pytest.skip(function.notices[-1])
    reply = ask(function, "head -c 300000000 /dev/zero | tail -c 300000000 >/dev/null")
    assert "ran out of its 128 MB of memory" in reply.notice
    assert reply.notice in function.output
    assert ask(function, "true").notice == ""


COUNTERS = {
    "v1": ("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "oom_kill", 2),
    "v2": ("low 0\nhigh 0\nmax 31\noom 1\noom_kill 1\noom_group_kill 0\n", "oom_kill", 1),
    "a kernel that does not count": ("oom_kill_disable 0\nunder_oom 0\n", "oom_kill", 0),
    "frozen": ("populated 1\nfrozen 1\n", "frozen", 1),
}


@pytest.mark.parametrize(("text", "name", "expected"), COUNTERS.values(), ids=COUNTERS)
def test_the_kernels_counters_are_read(tmp_path: Path, text: str, name: str, expected: int) -> None:
    (tmp_path / "file").write_text(text)
    assert counter(tmp_path / "file", name) == expected


def test_a_new_function_has_no_memory_of_the_old_one(start: Start) -> None:
    assert said(start(), 'ls -A "${TMPDIR:-/tmp}"') in ("", ".fairlead-app")


def test_stopping_tells_the_app_and_leaves_nothing(start: Start) -> None:
    function = start()
    folder = said(function, DETACHED + ' echo "$TMPDIR"')
    assert eventually(lambda: any(command_line(pid) == b"sleep\x00600\x00" for pid in below(function.sandbox.pid)))
    processes, limit = [function.sandbox.pid, *below(function.sandbox.pid)], function.sandbox.memory_limit
    mounts = Path("/proc/self/mounts").read_text()
    function.stop()
    assert "goodbye" in function.output
    assert all_gone(processes)
    assert limit is None or not limit.directory.exists()
    assert not folder or not Path(folder).exists()
    assert Path("/proc/self/mounts").read_text() == mounts


DRIVER = """
import json, sys
from pathlib import Path
from local.environments.function import Function
with Function(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])) as function:
    reply = function.invoke(sys.argv[4].encode())
    limit = function.sandbox.memory_limit.directory if function.sandbox.memory_limit else ""
    print(json.dumps([function.sandbox.pid, str(limit), json.loads(reply.body)]), flush=True)
    sys.stdin.read()
"""


def test_nothing_is_left_when_the_driver_is_killed(kind: str, layer_tree: Path, task: Path) -> None:
    command = json.dumps(f'{DETACHED} echo "$TMPDIR"')
    kill_driver(DRIVER, str(layer_tree), str(task), json.dumps(variables()), command, **{launcher.CHOICE: kind})


ROME = (
    "import datetime, zoneinfo; "
    'print(datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Rome")).utcoffset())'
)
PROMISES = {
    "another user": ("id -u; id -g", "993\n990"),
    "no capabilities": ("grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status | cut -f2 | sort -u", "0" * 16),
    "no way to get them": ("grep NoNewPrivs /proc/self/status | cut -f2", "1"),
    "/ is read-only": ("touch /x 2>&1 | grep -o 'Read-only file system'", "Read-only file system"),
    "/opt is read-only": ("touch /opt/x 2>&1 | grep -o 'Read-only file system'", "Read-only file system"),
    "the app is read-only": ("touch /var/task/x 2>&1 | grep -o 'Read-only file system'", "Read-only file system"),
    "/dev is read-only": ("touch /dev/shm/x /dev/x 2>&1 | grep -c -E 'Read-only|No such'", "2"),
    "/tmp has its size": ("df -B1 --output=size /tmp | tail -1", str(512 * 1024 * 1024)),
    "/tmp is for everybody": ("stat -c %a /tmp", "1777"),
    "devices work": ("head -c 4 /dev/urandom | wc -c; echo x >/dev/null; cat </dev/null", "4"),
    "the process table is private": ("ls -d /proc/1 && ls -d /proc/[0-9]* | wc -l | grep -c -x '.'", "/proc/1\n1"),
    "the hostname is Lambda's kind": ("cat /proc/sys/kernel/hostname", "169-254-10-1"),
    "the machine's files are not there": ("ls -d /home/* /root/.* 2>/dev/null | grep -v '/\\.*$' | wc -l", "0"),
    "the C library knows time zones": ("TZ=Europe/Rome date -d 2026-07-01T00:00Z +%H%z", "02+0200"),
    "the layer's Python knows time zones": (f"/opt/fairlead/bin/python3 -c '{ROME}'", "2:00:00"),
    "the layer's own interpreter": ("readlink /proc/$PPID/exe", "/opt/fairlead/bin/python3"),
}


@pytest.mark.parametrize("kind", ["bubblewrap"], indirect=True, scope="module")
@pytest.mark.parametrize(("command", "expected"), PROMISES.values(), ids=PROMISES)
def test_a_sandbox_keeps_its_promises(function: Function, command: str, expected: str) -> None:
    assert said(function, command) == expected


def test_a_bind_is_seen_read_only_or_said_to_be_missing(start: Start, kind: str, tmp_path: Path) -> None:
    (tmp_path / "module").write_text("installed elsewhere")
    function = start(binds=(Bind(tmp_path, "/var/task/python"), Bind(tmp_path, "/mnt/files")))
    if kind == "process":  # nothing can be mounted: /var/task is composed of links, and /mnt is nowhere
        (notice,) = [notice for notice in function.notices if "takes a sandbox" in notice]
        assert "/mnt/files" in notice
        assert said(function, "cat python/module file") == "installed elsewhere" + "the app's own"
        return
    assert said(function, "cat python/module /mnt/files/module file") == "installed elsewhere" * 2 + "the app's own"
    assert said(function, "touch x python/x /mnt/x 2>&1").count("Read-only file system") == 3


CHOOSE = """
from pathlib import Path
from local import machine
from local.sandbox import launcher
kind, _, reasons = launcher.best(launcher.Code(Path(), Path(), machine.architecture()))
print(kind, *reasons, sep="\\n")
"""


def chosen(*before: str, **variables: str) -> list[str]:
    environment = {**os.environ, **variables}
    environment.pop(launcher.CHOICE, None)
    command = [*before, sys.executable, "-c", CHOOSE]
    result = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return result.stdout.splitlines()


def test_where_the_machines_bubblewrap_is_refused_an_unpacked_one_serves(sandbox_works: None, tmp_path: Path) -> None:
    """As where a security policy is about the program called bwrap."""
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    assert chosen(PATH=f"{tmp_path}:{os.environ['PATH']}") == ["bubblewrap"]


def test_without_user_namespaces_it_is_an_ordinary_process(sandbox_works: None, unshare: None) -> None:
    forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" "$@"'
    kind, *reasons = chosen("unshare", "--user", "--map-root-user", "/bin/sh", "-c", forbid)
    assert kind == "process"
    assert [reason.partition(" (")[0] for reason in reasons] == [
        "the sandbox needs user namespaces, and this machine does not allow them",
    ]


def test_an_architecture_that_does_not_exist_is_refused(task: Path) -> None:
    with pytest.raises(LocalFailure, match="choose x86_64 or arm64"):
        Function(task, task, variables(), architecture="aarch64").start()


def test_a_choice_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch, task: Path) -> None:
    monkeypatch.setenv(launcher.CHOICE, "docker")
    with pytest.raises(LocalFailure, match="it takes bubblewrap, process"):
        Function(task, task, variables()).start()
