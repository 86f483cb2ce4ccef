"""Where a process group listens, by what the kernel says of this very process."""

from __future__ import annotations

import os
import socket

from runtime.web.listening import addresses_of, described


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
