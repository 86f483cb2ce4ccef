"""The gateway: an HTTP server on this machine that stands where a Function URL, an API or a load balancer does in AWS.

Its one port speaks HTTP and HTTPS. To the app all is HTTPS, as it is on AWS: ``local.gateway.plain_http`` says how.
"""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Self

from runtime.messages import header_values

from .. import sources
from ..environments.pool import Outcome
from ..hosts import Hosts, parse_authority
from ..ports import LOOPBACK, HeldPort, hold, hold_free, shut_down
from ..runtime_api.streamed_answer import AnswerCut, ClientGone
from ..sources.reply import own_page
from ..sources.request import absolute_authority
from ..sources.values import ClientRequest, Front, Refused, Source
from . import certificate
from .conversation import Conversation, Served, Service
from .websockets import WebSocketNotes

IDLE_S = 60.0
AS_ON_AWS = Front()
HELLO = b"\x16"  # the first byte of TLS (RFC 8446 section 5.1), which no HTTP request begins with
FAREWELL_S = 1.0
PROTOCOLS = ("HTTP/1.1", "HTTP/1.0")


class Gateway:
    """``with Gateway(environments.submit, port=3000, on_served=show): ...`` serves until the block ends.

    Each connection has a thread of its own; the queueing is ``submit``'s. ``front`` has what the browser cannot know.
    ``host`` is the address to listen on. Requests for another host are refused, except for those in ``allowed_hosts``.
    ``is_https``: who comes without TLS is sent to the address with it. ``on_note`` gets sentences about what clients
    try in vain. Raises ``OSError`` when the port is taken.
    """

    def __init__(
        self,
        submit: Callable[[bytes], Future[Outcome]],
        port: int = 0,
        on_served: Callable[[Served], object] = repr,
        source: Source = sources.DEFAULT,
        front: Front = AS_ON_AWS,
        host: str = LOOPBACK,
        allowed_hosts: Sequence[str] = (),
        is_https: bool = False,
        on_note: Callable[[str], object] = repr,
    ) -> None:
        self._hosts = Hosts(host, allowed_hosts)
        self._is_https = is_https
        self._tls: ssl.SSLContext | None = None
        source = source._replace(check=self._checking(source, on_note))
        self._service = Service(submit, on_served, source, front, is_https, lambda: self.port)
        self._host = host
        self._listener, self._held = _listening(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        if is_https:
            self._context()  # what is wrong with it should be known before the first request

    @property
    def address(self) -> str:
        return f"http{'s' if self._is_https else ''}://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for open_socket in (self._listener, *self._connections):
                shut_down(open_socket)
        self._acceptor.join()  # no limit: its socket is shut down
        self._listener.close()
        self._held.release()

    def move(self, port: int) -> None:
        """Listen on ``port`` from now on; a request that has failed meanwhile is sent there. Raises ``OSError``."""
        listener, held = _listening(self._host, port)
        with self._lock:
            old, self._listener = self._listener, listener
            self.port = port
        shut_down(old)
        old.close()
        self._held.release()
        self._held = held

    def _accept(self) -> None:
        while True:
            listener = self._listener
            try:
                connection, address = listener.accept()
            except OSError:
                if listener is self._listener:
                    return
                continue  # it has moved
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection, address[0]), daemon=True).start()

    def _serve(self, connection: socket.socket, client_ip: str) -> None:
        try:
            with connection:
                connection.settimeout(IDLE_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if connection.recv(1, socket.MSG_PEEK) == HELLO:
                    self._serve_over_tls(connection, client_ip)
                else:
                    Conversation(self._service, connection, client_ip).serve()
        except (OSError, ClientGone):
            pass  # the browser went away, which is its right
        except AnswerCut:
            pass  # by closing without an end, the browser sees that there was none
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _serve_over_tls(self, connection: socket.socket, client_ip: str) -> None:
        # Of the plain socket nothing is left once it is wrapped: it is the other that has to be woken at the end.
        with self._context().wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secured:
            with self._lock:
                self._connections.discard(connection)
                self._connections.add(secured)
            try:
                secured.do_handshake()
                Conversation(self._service, secured, client_ip).serve()
                # Told by TLS: the end of a connection alone may be anybody's, and is no end of an answer.
                secured.settimeout(FAREWELL_S)
                secured.unwrap()
            finally:
                with self._lock:
                    self._connections.discard(secured)

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = certificate.context(certificate.ensure(self._hosts.names))
            return self._tls

    def _checking(self, source: Source, on_note: Callable[[str], object]) -> Callable[[ClientRequest], None]:
        """The check of a request's head: the rules of this machine, then those of ``source``."""

        websockets = WebSocketNotes()

        def check(request: ClientRequest) -> None:
            if request.protocol not in PROTOCOLS:
                raise Refused(505, f"{request.protocol} is not spoken here: {' and '.join(PROTOCOLS)} are")
            if request.method == "CONNECT":
                raise Refused(405, "CONNECT is for proxies, and no front end is one")
            for host in hosts_of(request):
                self._check_host(host)
            if words := websockets.of(request):
                on_note(words)
            source.check(request)

        return check

    def _check_host(self, host: str) -> None:
        named = parse_authority(host)
        if named is None:
            raise Refused(400, f"{host!r} is no host that a request can be for")
        if not self._hosts.admit(named):
            words = (
                f"a request for the host {named.name} is none for this gateway; if that is a name of yours, "
                f"ALLOWED_HOSTS={named.name} (--allowed-hosts {named.name}) lets it in"
            )
            raise Refused(403, words, own_page(403, "text/plain; charset=utf-8", words + "\n"))


def _listening(host: str, port: int) -> tuple[socket.socket, HeldPort]:
    """A listener at ``port`` (0: at any free one) and its hold. Raises ``OSError``, for a port held by others too."""
    held = hold(port) if port else hold_free(host)
    if held is None:
        raise OSError(errno.EADDRINUSE, "another run of Fairlead has it")
    try:
        return socket.create_server((host, held.number), backlog=64), held
    except OSError:
        held.release()
        raise


def hosts_of(request: ClientRequest) -> list[str]:
    """The names that the client calls this server, in Host and in a target in absolute form."""
    return [*header_values(request.headers, "host"), *absolute_authority(request.target)]
