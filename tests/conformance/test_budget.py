"""What an invocation may cost, in things that can be counted: system calls, and copies of a large body.

Time is measured in ``bench/`` and asserted nowhere. What is counted here is the same on a slow machine and on a busy
one: of many invocations the cheapest counts, and memory is counted in bodies. (The modules that a start may load are
counted in ``tests/unit/test_house.py``.)
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from layer.failures import LayerError
from local import machine, tools
from local.failures import LocalFailure
from tests.events import binary, function_url, prose
from tests.fakes import BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.process import free_port

Start = Callable[..., BootstrapProcess]

# Three messages go out (next, the request, the answer) and three come in. Before each of the three that go out a look
# (poll) tells whether the peer has closed the connection. No clock that is a system call, no allocation.
SYSTEM_CALLS = Counter({"sendto": 3, "recvfrom": 3, "poll": 3})
# Of the process that becomes the app, from the fork to its command: signals, descriptors, and the record in /tmp.
CALLS_BEFORE_APP = 150
INVOCATIONS = 60
# The first ones open connections, fill tables and grow the heap.
WARM = 20


@pytest.fixture(scope="session")
def strace() -> Sequence[str]:
    """The start of a command line that runs strace."""
    try:
        command = tools.command("strace", machine.architecture())
    except (LayerError, LocalFailure) as failure:
        pytest.skip(f"no strace can be had: {failure}")
    tried = subprocess.run([*command, "-D", "/bin/true"], capture_output=True, text=True, check=False, timeout=60)
    if tried.returncode:
        pytest.skip(f"strace may trace nothing here: {tried.stderr.strip()[-300:]}")
    return command


def calls_per_invocation(trace: str) -> list[Counter[str]]:
    """The names of the system calls from one ``GET next`` to the one after it."""
    _, *invocations = re.split(r'^(?=sendto\(\d+, "GET /2018-06-01/runtime/invocation/next)', trace, flags=re.MULTILINE)
    return [Counter(re.findall(r"^(\w+)\(", calls, re.MULTILINE)) for calls in invocations[:-1]]


def test_nothing_is_forked_before_the_apps_start(strace: Sequence[str], tmp_path: Path) -> None:
    """Each fork is a millisecond later. In the process that is the app's, few calls come before its command."""
    interpreter = tmp_path / "fairlead" / "bin" / "python3"  # as in the layer: a checkout has to look for one
    interpreter.parent.mkdir(parents=True)
    interpreter.symlink_to("/bin/true")
    bootstrap, trace = tmp_path / "bootstrap", tmp_path / "trace"
    bootstrap.write_bytes(Path("bootstrap").read_bytes())
    bootstrap.chmod(0o755)
    environment = {
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9",
        "FAIRLEAD_COMMAND": "exec /bin/true the-app",
        "FAIRLEAD_PORT": str(free_port()),
        "PATH": "/usr/bin:/bin",
        "TMPDIR": str(tmp_path),
    }
    command = [*strace, "-f", "-o", str(trace), "-e", "signal=none", str(bootstrap)]
    subprocess.run(command, env=environment, timeout=60, check=False, start_new_session=True)
    lines = [line.split(maxsplit=1) for line in trace.read_text().splitlines()]
    calls = [(pid, call) for pid, call in lines if not call.startswith("<...")]  # which is the rest of one
    start = next(number for number, (_, call) in enumerate(calls) if 'execve("/bin/sh", ["/bin/sh", "-c"' in call)
    before = calls[:start]
    forks = [call for _, call in before if re.match(r"(clone3?|v?fork)\(", call)]
    assert len(forks) == 1
    app = calls[start][0]
    made = [call for pid, call in before if pid == app]
    assert len(made) <= CALLS_BEFORE_APP


def test_a_small_invocation_makes_nine_system_calls(api: FakeRuntimeApi, strace: Sequence[str], tmp_path: Path) -> None:
    """Only those of the thread that serves: the app is not traced, nor is the thread that reads its stderr."""
    trace = tmp_path / "trace"
    bootstrap = Path("bootstrap").resolve()
    for _ in range(INVOCATIONS):
        api.add_event(function_url("GET", "/"))
    # -D: strace is not the parent of the bootstrap but its child, so that the platform's process id stays.
    options = ["-D", "-o", str(trace), "-s", "64", "-e", "signal=none", str(bootstrap)]
    process = start_bootstrap(
        api, command=app("faults.py"), bootstrap=Path(strace[0]), arguments=[*strace[1:], *options]
    )
    api.wait_idle()
    process.stop()
    counted = calls_per_invocation(trace.read_text())[WARM:]
    assert len(counted) == INVOCATIONS - WARM
    cheapest = min(counted, key=Counter.total)
    assert cheapest - SYSTEM_CALLS == Counter()


def peak_kb(pid: int) -> int:
    """VmHWM: the most memory that the process ever had (proc(5))."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


# As parts of the event's size. At the worst moment there are, of 4.5 MB that go up: the payload, and the body decoded
# (three quarters of an event). Of 5 MB of prose that go up and come back: the payload and the request's body; the
# answer's body in pieces and whole, and its payload while that is put together; and two for a moment, since to encode
# text that is not ASCII Python reserves twice its length. Half a copy is left for what the allocator does.
@pytest.mark.parametrize(
    ("event", "copies"),
    [
        pytest.param(function_url("POST", "/", binary(4_500_000), is_base64=True), 2.5, id="4.5 MB binary up"),
        pytest.param(function_url("POST", "/events", prose(5_000_000)), 7.4, id="5 MB prose up and down"),
    ],
)
def test_a_large_body_is_held_in_few_copies(
    api: FakeRuntimeApi, start: Start, event: dict[str, object], copies: float
) -> None:
    payload = json.dumps(event, ensure_ascii=False).encode()
    for _ in range(3):
        api.add_event(function_url("GET", "/"))
    process = start()
    api.wait_idle()
    before = peak_kb(process.pid)
    api.wait_answer(api.add_event(payload))
    api.wait_idle()
    assert (peak_kb(process.pid) - before) * 1024 < copies * len(payload)
