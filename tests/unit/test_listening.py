"""Where a process group listens, by what the kernel says of this very process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from runtime.web import processes as listening
from runtime.web.processes import addresses_of, described
from tests.fakes.children import killed_at_the_end


def test_the_ports_of_a_group_are_found_for_each_kind_of_address() -> None:
    group = os.getpgrp()
    sockets = [
        socket.create_server(("127.0.0.1", 0)),
        socket.create_server(("127.0.0.2", 0)),
        socket.create_server(("0.0.0.0", 0)),
        socket.create_server(("::1", 0), family=socket.AF_INET6),
    ]
    try:
        ports = [listener.getsockname()[1] for listener in sockets]
        expected = {
            f"127.0.0.1:{ports[0]}",
            f"127.0.0.2:{ports[1]}",
            f"port {ports[2]} of every address",
            f"::1:{ports[3]}",
        }
        assert expected <= set(addresses_of(group))
    finally:
        for listener in sockets:
            listener.close()


def test_a_group_that_listens_nowhere_is_said_to() -> None:
    assert described(2**22 - 3) == "It listens on no TCP port."


def refuse(_family: int, _port: int) -> Iterator[bytes]:
    raise OSError("a kernel that does not list sockets")


@pytest.mark.parametrize("way", ["asked", "read from the tables"])
def test_who_listens_on_a_port_is_found_at_every_address(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way != "asked":
        monkeypatch.setattr(listening, "_asked_of_kernel", refuse)
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        with (
            socket.create_server(("127.0.0.2", port)) as two,
            socket.create_server(("::1", port), family=socket.AF_INET6) as three,
            socket.create_connection(one.getsockname(), 10),  # which does not listen
        ):
            inodes = {b"%d" % os.fstat(sock.fileno()).st_ino for sock in (one, two, three)}
            assert set(listening.listeners(port)) == inodes
            assert listening.stranger_at(port, os.getpid(), dict) == ""


def test_a_process_that_is_not_the_apps_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, killed_at_the_end(["sleep", "60"]) as app:
        stranger = listening.stranger_at(sock.getsockname()[1], app.pid, lambda: {"PORT": "1"})
    assert stranger.endswith(f"(pid {os.getpid()})")
