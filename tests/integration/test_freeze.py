"""Between invocations Lambda freezes the function. With a freezer that is so here, and nothing is lost by it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import urllib3

from local.environments.function import Function
from local.failures import LocalFailure
from local.ports import free_ports
from local.processes import below
from local.sandbox import cgroup
from local.sandbox.cgroup import V1, V2, Freezer, Switch, applicable_freezers, ours
from tests.conformance.test_app_faults import function_url

from .apps import COMMAND, DETACHED, shell_app
from .ends import all_gone, eventually, kill_driver, with_descendants
from .running import run
from .test_function import APPS, FAULTS, bootstrap_pid, command_line

pytestmark = pytest.mark.integration

SWITCHES = {"v1": V1, "v2": V2}
FREEZES = 5
Start = Callable[..., Function]


@pytest.fixture(params=SWITCHES.values(), ids=SWITCHES)
def switch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Switch:
    """One kind of cgroup after the other is the only one that is tried."""
    kind: Switch = request.param
    everywhere = cgroup.freezer_places

    def these(limit: Path | None = None) -> list[tuple[Path, Switch]]:
        return [place for place in everywhere(limit) if place[1] is kind]

    can_freeze(these())
    monkeypatch.setattr(cgroup, "freezer_places", these)
    return kind


def can_freeze(places: list[tuple[Path, Switch]]) -> None:
    """Skips unless one of them takes a freezer."""
    try:
        Freezer.of(places).release()
    except LocalFailure as failure:
        pytest.skip(str(failure))


@pytest.fixture
def start(sandbox_works: None, layer_tree: Path, switch: Switch) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(task: Path, command: str = COMMAND, timeout_s: int = 30, **more: str) -> Function:
            variables = {"FAIRLEAD_COMMAND": command, "PORT": str(free_ports(1)[0]), **more}
            return stack.enter_context(Function(layer_tree, task, variables, 512, timeout_s, freeze=True))

        yield start


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return shell_app(tmp_path / "app")


def ask(function: Function, command: str) -> Any:
    return json.loads(function.invoke(json.dumps(command).encode()).body)


def is_frozen(function: Function) -> bool:
    return function.sandbox.freezer is not None and function.sandbox.freezer.is_frozen


def sockets(pid: int) -> set[str]:
    descriptors = Path(f"/proc/{pid}/fd")
    return {link for fd in os.listdir(descriptors) if (link := os.readlink(descriptors / fd)).startswith("socket:")}


def test_everything_but_the_emulator_is_frozen_between_invocations(start: Start, task: Path) -> None:
    function = start(task)
    ask(function, DETACHED)
    assert is_frozen(function)
    assert function.sandbox.freezer is not None
    assert function.sandbox.freezer.members() == set(function.processes())
    assert len(function.processes()) == 3
    assert function.sandbox.program_pid not in function.sandbox.freezer.members()


def test_a_background_thread_makes_no_progress_while_frozen(start: Start, task: Path) -> None:
    """The gap between two of its ticks is longer than the freeze, by a clock that does not stop."""
    function = start(task)
    ask(function, "state")
    began = time.monotonic()
    time.sleep(0.5)
    frozen_s = time.monotonic() - began
    assert ask(function, "state")["gap"] >= frozen_s


def test_the_same_processes_and_connections_go_on(start: Start, task: Path) -> None:
    function = start(task)
    before = ask(function, "state")
    runtime = bootstrap_pid(function)
    connected = sockets(runtime)
    for _ in range(FREEZES):
        assert is_frozen(function)
        assert ask(function, "echo on") == "on"
    after = ask(function, "state")
    assert (after["pid"], after["connections"]) == (before["pid"], before["connections"])
    assert (bootstrap_pid(function), sockets(runtime)) == (runtime, connected)
    assert connected


def test_an_app_that_closes_an_idle_connection_meanwhile_is_no_fault(start: Start, task: Path) -> None:
    """Its timer has run out when it is thawed, and so it closes just when the next request comes."""
    function = start(task, IDLE_S="0.2")
    for number in range(FREEZES):
        assert ask(function, f"echo {number}") == str(number)
        time.sleep(0.3)


def test_deadlines_after_a_freeze_longer_than_the_timeout_are_those_of_the_new_invocation(start: Start) -> None:
    function = start(APPS, FAULTS, timeout_s=4)
    assert function.invoke(b"[]").body == b"[]"
    time.sleep(4.2)
    assert function.invoke(b"[1]").body == b"[1]"  # not given up as late
    late = json.loads(function.invoke(function_url("/silence", "POST")).body)
    assert late["statusCode"] == 504  # and what is late is given up before the emulator does it
    assert function.invoke(b"[2]").body == b"[2]"


def test_it_is_frozen_again_after_a_fault_and_not_after_a_crash(start: Start) -> None:
    function = start(APPS, FAULTS, timeout_s=10)
    function.invoke(b"[]")
    function.invoke(function_url("/die", "POST"))
    assert is_frozen(function)
    assert function.invoke(b"[1]").body == b"[1]"


def test_stopping_a_frozen_function_tells_the_app_and_leaves_nothing(start: Start, task: Path) -> None:
    function = start(task)
    ask(function, "true")
    assert is_frozen(function)
    assert function.sandbox.freezer is not None
    processes, cgroup = with_descendants(function.sandbox.pid), function.sandbox.freezer.directory
    function.stop()
    assert "goodbye" in function.output
    assert all_gone(processes)
    assert not cgroup.exists()


DRIVER = """
import json, sys
from pathlib import Path
from local.sandbox import cgroup
from local.processes import below
from local.environments.function import Function
everywhere = cgroup.freezer_places
cgroup.freezer_places = lambda limit: [place for place in everywhere(limit) if place[1].file == sys.argv[4]]
with Function(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), freeze=True) as function:
    function.invoke(b'"true"')
    limit = function.sandbox.memory_limit.directory if function.sandbox.memory_limit else ""
    print(json.dumps([function.sandbox.pid, str(limit), str(function.sandbox.freezer.directory)]), flush=True)
    sys.stdin.read()
"""


def test_nothing_is_left_when_the_driver_is_killed_while_it_is_frozen(
    sandbox_works: None, layer_tree: Path, task: Path, switch: Switch
) -> None:
    """With v1 the kernel's SIGKILL waits for the thaw: somebody has to outlive the driver and do it."""
    variables = json.dumps({"FAIRLEAD_COMMAND": COMMAND, "PORT": str(free_ports(1)[0])})
    kill_driver(DRIVER, str(layer_tree), str(task), variables, switch.file)


def stands_still(pid: int) -> bool:
    """Whether a process is in a cgroup that is frozen."""
    membership, mounts = Path(f"/proc/{pid}/cgroup").read_text(), Path("/proc/self/mounts").read_text()
    cgroups = [(V2 if is_v2 else V1, here) for is_v2, _, here in ours(membership, mounts, "freezer")]
    return any(kind.is_frozen(here) for kind, here in cgroups if (here / kind.file).exists())


def test_run_freezes_the_app_between_requests(sandbox_works: None, layer_tree: Path, task: Path) -> None:
    can_freeze(cgroup.freezer_places())
    with run(task, layer_tree, "--freeze", "--cmd", COMMAND) as running:

        def apps() -> list[int]:
            return [pid for pid in below(running.program.pid) if command_line(pid).endswith(b"app.py\x00")]

        for number in range(2):
            body = f'"echo {number}"'
            reply = urllib3.request("POST", running.address + "/", body=body, retries=False, timeout=30)
            assert reply.json() == str(number)
            # The client has its answer a moment before the function is frozen.
            assert eventually(lambda: bool(apps()) and all(map(stands_still, apps())))
        processes = with_descendants(running.program.pid)
        running.ended()
    assert running.program.returncode == 0
    assert all_gone(processes)


def test_without_a_cgroup_it_is_refused_in_a_sentence() -> None:
    with pytest.raises(LocalFailure, match="cannot be frozen between invocations: that needs a cgroup"):
        Freezer.of([])


PLACES: dict[str, tuple[str, str, str, list[tuple[str, Switch]]]] = {
    "v1 and v2 side by side": (
        "6:freezer:/jobs\n4:memory:/\n0::/\n",
        "cgroup /c/freezer cgroup rw,freezer 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n",
        "/c/memory/limit",
        [("/c/freezer/jobs", V1), ("/c/unified", V2)],
    ),
    "v2: inside the memory limit": (
        "0::/user.slice/app.scope\n",
        "cgroup2 /c cgroup2 rw 0 0\n",
        "/c/user.slice/limit",
        [("/c/user.slice/limit", V2)],
    ),
    "v2 without a memory limit": (
        "0::/user.slice/app.scope\n",
        "cgroup2 /c cgroup2 rw 0 0\n",
        "",
        [("/c/user.slice/app.scope", V2)],
    ),
    "mounted read-only": ("0::/\n", "cgroup2 /c cgroup2 ro 0 0\n", "", []),
    "none": ("0::/\n", "proc /proc proc rw 0 0\n", "", []),
}


@pytest.mark.parametrize(("membership", "mounts", "limit", "expected"), PLACES.values(), ids=PLACES)
def test_where_a_freezer_may_be_made(
    membership: str, mounts: str, limit: str, expected: list[tuple[str, Switch]]
) -> None:
    places = applicable_freezers(membership, mounts, Path(limit) if limit else None)
    assert [(str(parent), kind) for parent, kind in places] == expected
