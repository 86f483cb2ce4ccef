"""One connection: what is sent when, and never twice. The peer is a real socket that follows a script.

Every case holds for both ways of waiting: that which keeps the process, and that which suspends.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

import pytest

from runtime.connection import Connection, address_of
from runtime.errors import BodyTooLarge, ConnectionLost, ConnectRefused, ExchangeTimeout, ProtocolError
from runtime.messages import HttpRequest, HttpResponse
from runtime.multiplexer import Multiplexer
from runtime.waiting import Blocking, run_blocking

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(method: str = "GET", body: bytes = b"") -> HttpRequest:
    return HttpRequest(method, "/", (("host", "x"), ("content-length", str(len(body)))), body)


class Peer:
    """Accepts connections one after another; each is handed to the next step of the script."""

    def __init__(self, *steps: Callable[[socket.socket, Peer], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heads: list[bytes] = []  # every request head that arrived, over all connections
        self.go = threading.Event()
        self._steps = steps
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for step in self._steps:
            client, _ = self.listener.accept()
            with client, contextlib.suppress(OSError):
                step(client, self)

    def read_head(self, client: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            part = client.recv(65536)
            if not part:
                raise OSError
            data += part
        self.heads.append(data.partition(b"\r\n\r\n")[0])
        return data.partition(b"\r\n\r\n")[2]

    def finish(self) -> None:
        """Wait for the end of the script."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.listener.close()


class Asked:
    """A connection that is asked by ordinary calls."""

    def __init__(self, waiting: Blocking | Multiplexer, port: int, **options: float) -> None:
        self.waiting = waiting
        self.connection = Connection("127.0.0.1", port, waiting=waiting, **options)

    def exchange(self, request: HttpRequest, **options: Any) -> HttpResponse:
        response: HttpResponse = finished(self.waiting, self.connection.exchange(request, **options))
        return response

    def close(self) -> None:
        self.connection.close()


def finished(waiting: Blocking | Multiplexer, exchange: Coroutine[Any, Any, Any]) -> Any:
    answers = []

    async def ask() -> None:
        answers.append(await exchange)

    if isinstance(waiting, Multiplexer):
        waiting.run([ask()])
    else:
        run_blocking(ask())
    return answers[0]


@pytest.fixture(params=[Blocking, Multiplexer], ids=["blocking", "suspending"])
def waiting(request) -> Blocking | Multiplexer:
    return request.param()


@pytest.fixture
def peer_of(waiting: Blocking | Multiplexer) -> Iterator[Callable[..., tuple[Peer, Asked]]]:
    opened = []

    def build(*steps: Callable[[socket.socket, Peer], None]) -> tuple[Peer, Asked]:
        peer = Peer(*steps)
        connection = Asked(waiting, peer.port)
        opened.append((peer, connection))
        return peer, connection

    yield build
    for peer, connection in opened:
        connection.close()
        peer.go.set()
        peer.finish()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def answer(*responses: bytes) -> Callable[[socket.socket, Peer], None]:
    def step(client: socket.socket, peer: Peer) -> None:
        for response in responses:
            peer.read_head(client)
            client.sendall(response)

    return step


def answer_then_close_when_told(client: socket.socket, peer: Peer) -> None:
    answer(OK)(client, peer)
    peer.go.wait(5)


def answer_then_die_on_the_next(client: socket.socket, peer: Peer) -> None:
    answer(OK)(client, peer)
    peer.read_head(client)


def test_one_connection_serves_many_exchanges(peer_of) -> None:
    peer, connection = peer_of(answer(OK, OK, OK))
    assert [connection.exchange(get()).body for _ in range(3)] == [b"ok"] * 3
    assert len(peer.heads) == 3


def calls_of(run: Callable[[], object]) -> list[str]:
    """The functions of `runtime` that are called while ``run`` is, in order."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_globals["__name__"].startswith("runtime."):
            calls.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("deadline_s", [None, 60])
def test_the_usual_exchange_is_a_straight_line(deadline_s: float | None) -> None:
    """Each Python call costs 300 instructions, a coroutine 1,200, and each invocation has three exchanges."""
    peer = Peer(answer(OK, OK, OK))
    connection = Connection("127.0.0.1", peer.port)

    def post() -> HttpResponse:
        head = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"
        deadline = deadline_s and time.time() + deadline_s
        return run_blocking(connection.exchange_bytes("POST", head, b"body", deadline))

    assert post().body == b"ok"
    assert calls_of(post) == [
        *("exchange_bytes", "__init__", "run_blocking"),
        *("_exchange", "_is_usable", "_feed", "feed", "_split_head"),
    ]
    assert post().body == b"ok"
    connection.close()
    peer.finish()


def wait_for_end_of_stream(asked: Asked) -> None:
    connection = asked.connection
    limit = time.monotonic() + 30
    while connection._socket is not None and connection._is_usable(time.time()):
        finished(asked.waiting, asked.waiting.sleep(0.001))  # a turn, in which it is heard of
        assert time.monotonic() < limit


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stale_connection_is_noticed_before_anything_is_sent(peer_of, method: str) -> None:
    peer, connection = peer_of(answer_then_close_when_told, answer(OK))
    connection.exchange(get())
    peer.go.set()
    wait_for_end_of_stream(connection)
    assert connection.exchange(get(method)).body == b"ok"
    assert len(peer.heads) == 2


def test_a_connection_that_was_idle_for_too_long_is_not_tried(peer_of, waiting) -> None:
    """The peer may be about to close it, and a POST could not be sent again."""
    peer, _ = peer_of(answer(OK), answer(OK))
    connection = Asked(waiting, peer.port, idle_limit_s=0)
    for _ in range(2):
        assert connection.exchange(get("POST", b"order")).body == b"ok"
    connection.close()
    assert len(peer.heads) == 2


def test_bytes_that_nobody_asked_for_are_not_the_next_answer(peer_of) -> None:
    peer, connection = peer_of(answer(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"), answer(OK))
    assert connection.exchange(get()).body == b"ok"
    assert connection.exchange(get()).body == b"ok"


def answer_and_see_that_it_is_the_only_one(client: socket.socket, peer: Peer) -> None:
    answer(OK)(client, peer)
    assert client.recv(1) == b""
    peer.heads.append(b"end")


def test_a_peer_that_sent_bytes_which_nobody_asked_for_is_not_trusted_again(peer_of) -> None:
    """The next time they may come in the moment between the look at the connection and the request."""

    def answer_and_say_more(client: socket.socket, peer: Peer) -> None:
        answer_then_close_when_told(client, peer)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        client.recv(1)

    peer, connection = peer_of(answer_and_say_more, *[answer_and_see_that_it_is_the_only_one] * 3)
    connection.exchange(get())
    peer.go.set()
    wait_for_end_of_stream(connection)
    assert [connection.exchange(get("POST", b"order")).body for _ in range(3)] == [b"ok"] * 3
    peer.finish()
    assert peer.heads[2::2] == [b"end"] * 3


def test_a_peer_whose_body_was_longer_than_its_length_is_not_trusted_again(peer_of) -> None:
    peer, connection = peer_of(answer(OK + b"longer"), *[answer_and_see_that_it_is_the_only_one] * 2)
    assert [connection.exchange(get("POST", b"order")).body for _ in range(3)] == [b"ok"] * 3
    peer.finish()
    assert peer.heads[2::2] == [b"end"] * 2


@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200"), ("GET", b"204"), ("GET", b"304")])
def test_after_an_answer_that_may_be_followed_by_a_body_comes_another_connection(
    peer_of, method: str, status: bytes
) -> None:
    head = OK.removesuffix(b"ok").replace(b"200", status)

    def answer_with_the_head(client: socket.socket, peer: Peer) -> None:
        answer(head)(client, peer)
        assert client.recv(1) == b""

    peer, connection = peer_of(answer_with_the_head, answer(OK, OK))
    assert connection.exchange(get(method)).body == b""
    assert [connection.exchange(get("POST", b"order")).body for _ in range(2)] == [b"ok"] * 2


def test_a_reused_connection_that_dies_unanswered_is_tried_once_more_for_an_idempotent_method(peer_of) -> None:
    peer, connection = peer_of(answer_then_die_on_the_next, answer(OK))
    connection.exchange(get())
    assert connection.exchange(get()).body == b"ok"
    assert len(peer.heads) == 3


def test_no_post_is_ever_sent_twice(peer_of) -> None:
    peer, connection = peer_of(answer_then_die_on_the_next)
    connection.exchange(get())
    with pytest.raises(ConnectionLost):
        connection.exchange(get("POST", b"order"))
    peer.finish()
    assert [head.split()[0] for head in peer.heads] == [b"GET", b"POST"]


def test_a_new_connection_that_dies_is_not_tried_again(peer_of) -> None:
    peer, connection = peer_of(lambda client, peer: peer.read_head(client))
    with pytest.raises(ConnectionLost):
        connection.exchange(get())
    assert len(peer.heads) == 1


def test_an_answer_that_has_begun_is_not_asked_for_again(peer_of) -> None:
    def half(client: socket.socket, peer: Peer) -> None:
        answer(OK)(client, peer)
        peer.read_head(client)
        client.sendall(b"HTTP/1.1 200")
        reset(client)

    peer, connection = peer_of(half)
    connection.exchange(get())
    with pytest.raises(ConnectionLost):
        connection.exchange(get())
    assert len(peer.heads) == 2


def test_a_refused_retry_does_not_look_as_if_nothing_was_sent(peer_of) -> None:
    def last(client: socket.socket, peer: Peer) -> None:
        answer(OK)(client, peer)
        peer.listener.close()
        peer.read_head(client)

    peer, connection = peer_of(last)
    connection.exchange(get())
    with pytest.raises(ConnectionLost):
        connection.exchange(get())


def test_nobody_listens(waiting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectRefused):
        Asked(waiting, port).exchange(get())


@pytest.mark.parametrize("ending", [socket.socket.close, reset], ids=["close", "reset"])
def test_an_early_answer_to_a_large_upload_is_received(peer_of, ending) -> None:
    """413 and gone, with the upload half sent: what counts is what the peer said."""

    def refuse(client: socket.socket, peer: Peer) -> None:
        peer.read_head(client)
        client.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        peer.go.wait(5)
        ending(client)

    peer, connection = peer_of(refuse)
    response = connection.exchange(get("POST", bytes(20_000_000)))
    assert (response.status, response.body) == (413, b"big")


def test_a_large_body_arrives_whole_both_ways(peer_of) -> None:
    size = 5_000_000

    def mirror(client: socket.socket, peer: Peer) -> None:
        body = peer.read_head(client)
        while len(body) < size:
            body += client.recv(1 << 20)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)

    peer, connection = peer_of(mirror)
    sent = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert connection.exchange(get("POST", sent), deadline=time.time() + 30).body == sent


def test_an_app_that_answers_while_it_reads_is_read_while_it_is_sent_to(peer_of) -> None:
    size = 8_000_000

    def stream_back(client: socket.socket, peer: Peer) -> None:
        part = peer.read_head(client)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        left = size
        while left:
            client.sendall(part)
            left -= len(part)
            part = client.recv(100_000) if left else b""

    peer, connection = peer_of(stream_back)
    sent = bytes(range(250)) * (size // 250)
    assert connection.exchange(get("POST", sent), deadline=time.time() + 30).body == sent


@pytest.mark.parametrize("started", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
def test_the_deadline_ends_a_silent_exchange(peer_of, started: bytes) -> None:
    def silent(client: socket.socket, peer: Peer) -> None:
        peer.read_head(client)
        client.sendall(started)
        peer.go.wait(5)

    peer, connection = peer_of(silent)
    with pytest.raises(ExchangeTimeout):
        connection.exchange(get(), deadline=time.time() + 0.05)


@pytest.mark.parametrize("pause_s", [0.01, 0])
def test_the_deadline_ends_an_answer_that_drips(peer_of, pause_s: float) -> None:
    """Each byte in time does not make the whole be in time, not even where there is always one to read."""

    def drip(client: socket.socket, peer: Peer) -> None:
        peer.read_head(client)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while not peer.go.wait(pause_s):
            client.sendall(b"x")

    peer, connection = peer_of(drip)
    with pytest.raises(ExchangeTimeout):
        connection.exchange(get(), deadline=time.time() + 0.2)


def test_the_deadline_ends_a_send_that_nobody_reads(peer_of) -> None:
    peer, connection = peer_of(lambda client, peer: peer.go.wait(5))
    with pytest.raises(ExchangeTimeout):
        connection.exchange(get("POST", bytes(30_000_000)), deadline=time.time() + 0.1)


def test_the_deadline_ends_a_send_that_is_read_slowly(peer_of) -> None:
    """Each piece in time does not make the whole be in time."""

    def sip(client: socket.socket, peer: Peer) -> None:
        while not peer.go.wait(0.001) and client.recv(200_000):
            pass

    peer, connection = peer_of(sip)
    with pytest.raises(ExchangeTimeout):
        connection.exchange(get("POST", bytes(300_000_000)), deadline=time.time() + 0.2)


def test_after_an_exchange_with_a_deadline_the_next_without_one_has_none(peer_of) -> None:
    def late(client: socket.socket, peer: Peer) -> None:
        answer(OK)(client, peer)
        peer.read_head(client)
        peer.go.wait(0.3)
        client.sendall(OK)

    peer, connection = peer_of(late)
    connection.exchange(get(), deadline=time.time() + 0.1)
    assert connection.exchange(get()).body == b"ok"


def test_a_body_above_the_limit_is_refused_as_soon_as_it_is_announced(peer_of) -> None:
    peer, connection = peer_of(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"))
    with pytest.raises(BodyTooLarge) as caught:
        connection.exchange(get(), max_body=99)
    assert (caught.value.size, caught.value.limit) == (100, 99)


@pytest.mark.parametrize(("text", "address"), [("127.0.0.1:9001", ("127.0.0.1", 9001)), ("[::1]:80", ("::1", 80))])
def test_address(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "localhost", ":80", "a:b", "a:"])
def test_an_address_that_is_none(text: str) -> None:
    with pytest.raises(ProtocolError):
        address_of(text)
