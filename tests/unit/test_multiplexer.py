"""Several coroutines in one process: none waits for another. Real sockets, no clocks but those of the cases."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from runtime.connection import Connection
from runtime.errors import ConnectionLost, ConnectRefused, ExchangeTimeout
from runtime.messages import HttpRequest
from runtime.multiplexer import Multiplexer
from runtime.waiting import run_blocking

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = 30_000_000
To = Callable[["Peer"], Connection]


@pytest.fixture
def multiplexer() -> Multiplexer:
    return Multiplexer()


class Peer:
    """A server with a thread for each connection. ``/held`` is answered when ``released``, ``/deaf`` is not read."""

    def __init__(self, address: tuple[str, int] | str = ("127.0.0.1", 0), backlog: int = 16) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.bind(address)
        self.listener.listen(backlog)
        self.address = self.listener.getsockname()
        self.released = threading.Event()
        self.clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def serve(self) -> Self:
        self._start(self._accept)
        return self

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.clients.append(client)
                self._start(self._answer, client)

    def _answer(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while head := client.recv(65536):
                if b" /held" in head or b" /deaf" in head:
                    self.released.wait(10)
                client.sendall(OK)

    def close(self) -> None:
        self.released.set()
        _shut(self.listener)
        if self._threads:
            self._threads[0].join(10)  # it begins the others
        for client in self.clients:
            _shut(client)
        for thread in self._threads:
            thread.join(10)
        for closed in (self.listener, *self.clients):
            closed.close()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def peer_of() -> Iterator[Callable[..., Peer]]:
    with contextlib.ExitStack() as stack:

        def build(*options: Any) -> Peer:
            peer = Peer(*options)
            stack.callback(peer.close)
            return peer

        yield build


@pytest.fixture
def connection_to(multiplexer: Multiplexer) -> Iterator[To]:
    with contextlib.ExitStack() as stack:

        def build(peer: Peer) -> Connection:
            host, port = (peer.address, 0) if isinstance(peer.address, str) else peer.address
            connection = Connection(host, port, waiting=multiplexer)
            stack.callback(connection.close)
            return connection

        yield build


def get(path: str = "/") -> HttpRequest:
    return HttpRequest("GET", path, (("host", "x"),))


def together(multiplexer: Multiplexer, *coroutines: Coroutine[Any, Any, object]) -> list[object]:
    """What each of them returns, in the order of their ends."""
    returned: list[object] = []

    async def keep(coroutine: Coroutine[Any, Any, object]) -> None:
        returned.append(await coroutine)
        while len(returned) < len(coroutines):
            await multiplexer.sleep(0.001)

    multiplexer.run([keep(coroutine) for coroutine in coroutines])
    return returned


def test_while_one_waits_the_other_goes_on(
    multiplexer: Multiplexer, peer_of: Callable[..., Peer], connection_to: To
) -> None:
    """The first is answered after the second has asked, and been answered."""
    peer = peer_of().serve()
    first, second = (connection_to(peer) for _ in range(2))

    async def ask_first() -> str:
        await first.exchange(get("/held"), time.time() + 30)
        return "first"

    async def ask_second() -> str:
        await second.exchange(get(), time.time() + 30)
        peer.released.set()
        return "second"

    assert together(multiplexer, ask_first(), ask_second()) == ["second", "first"]


def test_each_wait_ends_at_its_own_time(multiplexer: Multiplexer) -> None:
    began = time.time()

    async def sleep(seconds: float) -> float:
        await multiplexer.ready((), began + seconds)
        return seconds

    assert together(multiplexer, sleep(0.03), sleep(0.01), sleep(0.02)) == [0.01, 0.02, 0.03]


def test_a_deadline_ends_one_exchange_and_no_other(
    multiplexer: Multiplexer, peer_of: Callable[..., Peer], connection_to: To
) -> None:
    peer = peer_of().serve()
    impatient, patient = (connection_to(peer) for _ in range(2))

    async def in_vain() -> str:
        with pytest.raises(ExchangeTimeout):
            await impatient.exchange(get("/held"), time.time() + 0.05)
        peer.released.set()
        return "late"

    async def with_patience() -> str:
        return str((await patient.exchange(get("/held"), time.time() + 30)).status)

    assert together(multiplexer, with_patience(), in_vain()) == ["late", "200"]


def test_an_upload_that_nobody_reads_stops_nobody_else(
    multiplexer: Multiplexer, peer_of: Callable[..., Peer], connection_to: To
) -> None:
    peer = peer_of().serve()
    stuck, other = (connection_to(peer) for _ in range(2))

    async def upload() -> str:
        with pytest.raises(ExchangeTimeout, match=r"did not take the request|deadline has passed"):
            await stuck.exchange(get("/deaf")._replace(method="POST", body=bytes(LARGE)), time.time() + 0.3)
        return "upload"

    async def small() -> str:
        await other.exchange(get(), time.time() + 30)
        return "small"

    assert together(multiplexer, upload(), small()) == ["small", "upload"]


def fill(peer: Peer) -> None:
    """Connect until the backlog is full."""
    for _ in range(50):
        one = socket.socket(peer.listener.family)
        one.setblocking(False)
        peer.clients.append(one)
        error = one.connect_ex(peer.address)
        if error and not _is_connected_soon(one):
            return
    raise AssertionError("the backlog is never full")


def _is_connected_soon(sock: socket.socket) -> bool:
    limit = time.monotonic() + 0.2
    while time.monotonic() < limit:
        try:
            sock.getpeername()
            return True
        except OSError:
            time.sleep(0.005)
    return False


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_server_that_accepts_nobody_stops_nobody_else(
    multiplexer: Multiplexer, peer_of: Callable[..., Peer], connection_to: To, tmp_path: Path, kind: str
) -> None:
    address = ("127.0.0.1", 0) if kind == "tcp" else str(tmp_path / "socket")
    peer = peer_of(address, 0)
    fill(peer)

    async def connect() -> str:
        with pytest.raises(ExchangeTimeout, match="did not accept a connection in time"):
            await connection_to(peer).connect(time.time() + 0.2)
        return "connect"

    async def other() -> str:
        await multiplexer.sleep(0.05)
        return "other"

    assert together(multiplexer, connect(), other()) == ["other", "connect"]


def test_a_unix_socket_with_room_again_is_connected_to(
    multiplexer: Multiplexer, peer_of: Callable[..., Peer], connection_to: To, tmp_path: Path
) -> None:
    peer = peer_of(str(tmp_path / "socket"), 0)
    fill(peer)
    connection = connection_to(peer)

    async def connect() -> str:
        await connection.connect(time.time() + 30)
        return "connected"

    async def make_room() -> str:
        await multiplexer.sleep(0.01)
        peer.serve()
        return "room"

    assert together(multiplexer, connect(), make_room()) == ["room", "connected"]


def test_a_refused_connection_is_told_as_such(
    multiplexer: Multiplexer, peer_of: Callable[..., Peer], connection_to: To
) -> None:
    peer = peer_of()
    peer.listener.close()

    async def connect() -> str:
        with pytest.raises(ConnectRefused, match="Connection refused"):
            await connection_to(peer).connect(time.time() + 30)
        return "refused"

    assert together(multiplexer, connect(), connect()) == ["refused", "refused"]


def test_an_idle_connection_that_the_peer_closes_does_not_keep_the_process_awake(
    multiplexer: Multiplexer, peer_of: Callable[..., Peer], connection_to: To
) -> None:
    peer = peer_of().serve()
    connection = connection_to(peer)

    async def use_and_leave() -> str:
        await connection.exchange(get(), time.time() + 30)
        peer.clients[0].shutdown(socket.SHUT_RDWR)
        while multiplexer._told:  # until the end of the stream has come, for which nobody waits
            await multiplexer.sleep(0.001)
        return str((await connection.exchange(get(), time.time() + 30)).status)

    assert together(multiplexer, use_and_leave()) == ["200"]


def test_a_descriptor_that_is_used_again_is_watched_again(
    multiplexer: Multiplexer, peer_of: Callable[..., Peer], connection_to: To
) -> None:
    """The kernel gives the number of a closed connection to the next one."""
    peer = peer_of().serve()

    async def ask() -> str:
        for _ in range(20):
            connection = connection_to(peer)
            assert (await connection.exchange(get(), time.time() + 30)).body == b"ok"
            connection.close()
        return "done"

    assert together(multiplexer, ask()) == ["done"]


def test_one_that_fails_ends_the_turn_with_its_error(multiplexer: Multiplexer) -> None:
    async def fail() -> None:
        await multiplexer.sleep(0.01)
        raise ConnectionLost("gone")

    async def wait() -> None:
        await multiplexer.sleep(60)

    with pytest.raises(ConnectionLost, match="gone"):
        multiplexer.run([wait(), fail()])


def test_now_refuses_a_coroutine_that_is_suspended(multiplexer: Multiplexer) -> None:
    with pytest.raises(RuntimeError, match="suspended"):
        run_blocking(multiplexer.sleep(0))
