"""What the kernel shows of an app that has closed a connection."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.web import processes as listening
from runtime.web.processes import ENDING, describe_status, ending_of
from tests.fakes.children import child, killed_at_the_end

LIMIT_S = 10.0


def listener(kind: str, directory: Path) -> tuple[socket.socket, int, str]:
    """A socket that listens; its port and its path, one of which is none."""
    if kind == "unix":
        path = str(directory / "app.sock")
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
        sock.listen()
        return sock, 8080, path
    family = socket.AF_INET if kind == "IPv4" else socket.AF_INET6
    sock = socket.create_server(("" if kind == "IPv4" else "::", 0), family=family)
    return sock, sock.getsockname()[1], ""


def refuse(_family: int, _port: int) -> bool:
    raise OSError("a kernel that does not list sockets")


@pytest.mark.parametrize("way", ["asked", "read from the tables"])
@pytest.mark.parametrize("kind", ["IPv4", "IPv6", "unix"])
def test_somebody_who_listens_is_seen(kind: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if way != "asked":
        monkeypatch.setattr(listening, "_asked_of_kernel", refuse)
    sock, port, path = listener(kind, tmp_path)
    own = os.getpid()
    with sock:
        assert ending_of(own, port, path) is None
        client = socket.socket(sock.family)
        client.connect(path or ("127.0.0.1" if kind == "IPv4" else "::1", port))
        accepted, _ = sock.accept()
    with client, accepted:  # a connection that is open is not one that is accepted
        assert ending_of(own, port, path) == ENDING


def eventually(seen: Callable[[], str | None], expected: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while seen() != expected:
        assert time.monotonic() < limit, f"waited for {expected!r}, saw {seen()!r}"
        time.sleep(0.001)


def test_a_helper_that_was_killed_counts_only_when_nobody_listens() -> None:
    """Its parent may never ask for its status, and then it is shown as dead for ever."""
    script = "sleep 60 & echo $!; exec sleep 60"  # who has replaced the shell does not know of the first one
    with socket.create_server(("127.0.0.1", 0)) as sock, killed_at_the_end(["sh", "-c", script], stdout=-1) as parent:
        try:
            port = sock.getsockname()[1]
            assert parent.stdout
            helper = int(parent.stdout.readline())
            eventually(lambda: Path(f"/proc/{parent.pid}/comm").read_text(), "sleep\n")
            os.kill(helper, signal.SIGKILL)
            eventually(lambda: Path(f"/proc/{helper}/stat").read_text().rpartition(") ")[2][0], "Z")
            assert ending_of(parent.pid, port) is None
            sock.close()
            assert ending_of(parent.pid, port) == "was killed by SIGKILL (out of memory?)"
        finally:
            parent.kill()


def test_a_leader_that_has_ended_is_told_of_by_its_parent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, child(["sh", "-c", "exit 3"]) as leader:
        eventually(lambda: ending_of(leader.pid, sock.getsockname()[1]), ENDING)
        leader.wait(LIMIT_S)
        assert ending_of(leader.pid, sock.getsockname()[1]) == ENDING


@pytest.mark.parametrize("number", range(1, 65))
def test_a_signal_has_the_name_that_pythons_own_module_gives_it(number: int) -> None:
    name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
    assert describe_status(number).startswith(f"was killed by {name}")
