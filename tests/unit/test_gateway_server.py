"""The gateway as a server: connections, what it refuses, HTTP and HTTPS on one port, WebSockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.client import HTTPSConnection
from ipaddress import ip_address
from pathlib import Path

import pytest
import urllib3

from local.environments.pool import Outcome
from local.failures import LocalFailure
from local.gateway import certificate
from local.gateway.conversation import Served
from local.gateway.server import Gateway
from local.gateway.wire import HEAD_BYTES
from local.ports import free_ports, is_free
from local.run import Options, open_gateway
from local.runtime_api.reply import Reply
from local.sources import SOURCES
from runtime.invocation import PAYLOAD_LIMIT

from .fixed_function import FixedFunction, Server, done


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server({"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "hello"})
    with made.gateway:
        yield made


def test_a_connection_serves_one_request_after_the_other(server: Server) -> None:
    with urllib3.HTTPConnectionPool("127.0.0.1", server.gateway.port, maxsize=1, retries=False) as client:
        answers = [client.request("GET", f"/{number}").data for number in range(3)]
        assert client.num_connections == 1
    assert answers == [b"hello"] * 3
    assert [event["rawPath"] for event in server.function.events] == ["/0", "/1", "/2"]
    assert [(line.target, line.status, line.body_bytes, line.is_cold) for line in server.served] == [
        ("/0", 200, 5, True),
        ("/1", 200, 5, False),
        ("/2", 200, 5, False),
    ]


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    raw = server.raw(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert raw.count(b"HTTP/1.1 200 OK") == 2
    assert [event["rawPath"] for event in server.function.events] == ["/a", "/b"]


def test_head_has_the_length_and_no_body(server: Server) -> None:
    raw = server.raw(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"content-length: 5" in raw.lower()
    assert raw.endswith(b"\r\n\r\n")


def test_what_is_not_http_is_answered_400(server: Server) -> None:
    assert server.raw(b"\x00\x03\x01 TLS\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert (server.served[0].method, server.served[0].status) == ("-", 400)


NOT_SERVED = {
    "a proxy's method": (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n", 405),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9 with a version": (b"GET / HTTP/0.9\r\n\r\n", 505),
    "a version to come": (b"GET / HTTP/1.2\r\n\r\n", 505),
}


@pytest.mark.parametrize(("raw", "status"), NOT_SERVED.values(), ids=NOT_SERVED)
def test_what_no_front_end_serves_is_refused(server: Server, raw: bytes, status: int) -> None:
    assert server.raw(raw).startswith(b"HTTP/1.1 %d " % status)
    assert server.function.events == []


def test_a_body_that_no_event_can_carry_is_answered_413_though_it_is_still_being_sent(server: Server) -> None:
    raw = server.raw(b"POST /big HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7000000\r\n\r\n", bytes(7_000_000))
    assert raw.startswith(b"HTTP/1.1 413 ")
    assert (server.served[0].target, server.served[0].status) == ("/big", 413)
    assert server.function.events == []


def test_a_body_that_is_too_large_as_base64_is_answered_413(server: Server) -> None:
    size = PAYLOAD_LIMIT - 1000
    raw = server.raw(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size, bytes(size))
    assert raw.startswith(b"HTTP/1.1 413 ")
    assert server.function.events == []


def test_upgrade_is_not_followed(server: Server) -> None:
    raw = server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 ")


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    raw = server.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert raw.endswith(b"hello")
    (event,) = server.function.events
    context = event["requestContext"]
    assert isinstance(context, dict)
    assert context["http"]["protocol"] == "HTTP/1.0"


def test_an_emulator_that_is_gone_is_502() -> None:
    def gone(payload: bytes) -> Future[Outcome]:
        raise LocalFailure("the emulator is not running")

    served: list[Served] = []
    with Gateway(gone, on_served=served.append) as gateway:
        assert urllib3.request("GET", gateway.address, retries=False).status == 502
    assert served[0].problem == ("the emulator is not running",)


def test_the_next_free_port_is_taken_when_the_wanted_one_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        with open_gateway(FixedFunction({}).submit, Options(port=taken), repr) as gateway:
            assert gateway.port > taken


def test_a_front_end_that_waits_no_longer_answers_504_and_says_that_the_function_goes_on() -> None:
    """The limit of a source is data, so a shorter one shows the same."""
    never: Future[Outcome] = Future()
    impatient = SOURCES["rest"]._replace(patience_s=0.01)
    served: list[Served] = []
    with Gateway(lambda payload: never, on_served=served.append, source=impatient) as gateway:
        response = urllib3.request("GET", gateway.address, retries=False)
    assert (response.status, response.data) == (504, b'{"message": "Endpoint request timed out"}')
    assert "the function goes on" in served[0].problem[0]


def test_what_a_source_refuses_is_answered_in_its_words_and_explained() -> None:
    function = FixedFunction({})
    served: list[Served] = []
    with Gateway(function.submit, on_served=served.append, source=SOURCES["alb"]) as gateway:
        response = urllib3.request("POST", gateway.address, body=bytes(1024 * 1024 + 1), retries=False)
    assert (response.status, response.headers["server"]) == (413, "awselb/2.0")
    assert "alb takes 1,048,576" in served[0].problem[0]
    assert function.events == []


def head_of(size: int) -> bytes:
    """A request's head of ``size`` bytes."""
    start, end = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


HEADS = {
    "the largest": ([head_of(HEAD_BYTES)], [200]),
    "one byte more": ([head_of(HEAD_BYTES + 2)], [431]),
    "100 kB": ([head_of(100_000)], [431]),
    "100 kB behind a request on the same connection": ([head_of(1000) + head_of(100_000)], [200, 431]),
    "the largest behind another": ([head_of(HEAD_BYTES) + head_of(HEAD_BYTES)], [200, 200]),
    "100 kB in lines": ([b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 12_000 + b"\r\n"], [431]),
    "a target of 100 kB": ([b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"], [431]),
}


@pytest.mark.parametrize(("requests", "statuses"), HEADS.values(), ids=HEADS)
def test_a_head_has_a_limit_however_it_arrives(server: Server, requests: list[bytes], statuses: list[int]) -> None:
    server.raw(*requests)
    assert [line.status for line in server.served] == statuses


# Whose requests are taken

ADMITTED = {
    "the printed address": "Host: 127.0.0.1:3000",
    "any of the loopback": "Host: 127.3.2.1",
    "localhost": "Host: localhost:3000",
    "localhost in capitals": "Host: LOCALHOST",
    "localhost as a full name": "Host: localhost.",
    "a name below localhost": "Host: shop.localhost:3000",
    "the loopback of IPv6": "Host: [::1]:3000",
    "a page of another site asks the app, which says by CORS what it allows": (
        "Host: localhost:3000\r\nOrigin: https://elsewhere.example"
    ),
}
REFUSED = {
    "a name that was pointed here": ("Host: evil.example", 403),
    "one that looks like us": ("Host: localhost.evil.example", 403),
    "one that ends like us": ("Host: evillocalhost", 403),
    "an address within a name": ("Host: 127.0.0.1.evil.example", 403),
    "another address": ("Host: 192.168.0.7:3000", 403),
    "every address": ("Host: 0.0.0.0:3000", 403),
    "another address of IPv6": ("Host: [fe80::1]", 403),
    "a mapped address": ("Host: [::ffff:192.168.0.7]", 403),
    "nothing": ("Host:", 400),
    "a user": ("Host: localhost@evil.example", 400),
    "a path": ("Host: localhost/x", 400),
    "two in one": ("Host: localhost, evil.example", 400),
    "two": ("Host: localhost\r\nHost: localhost", 400),
    "no port": ("Host: localhost:99999", 400),
    "an address of IPv6 without brackets": ("Host: ::1", 400),
    "none": ("X-A: b", 400),
}
TARGETS = {
    "for this machine": (b"http://localhost:3000/x", 200),
    "for another": (b"http://evil.example/x", 403),
    "for another with a user of ours": (b"http://localhost@evil.example/x", 400),
    "for nobody": (b"http:///x", 400),
}


@pytest.mark.parametrize("lines", ADMITTED.values(), ids=ADMITTED)
def test_a_request_for_this_machine_is_taken(server: Server, lines: str) -> None:
    assert server.raw(f"GET / HTTP/1.1\r\n{lines}\r\n\r\n".encode()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("lines", "status"), REFUSED.values(), ids=REFUSED)
def test_a_request_for_another_host_is_refused_before_its_body_is_read(server: Server, lines: str, status: int) -> None:
    raw = server.raw(f"POST / HTTP/1.1\r\n{lines}\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n".encode())
    assert raw.startswith(b"HTTP/1.1 %d " % status)
    assert server.function.events == []


@pytest.mark.parametrize(("target", "status"), TARGETS.values(), ids=TARGETS)
def test_the_host_of_a_target_in_absolute_form_counts_too(server: Server, target: bytes, status: int) -> None:
    raw = server.raw(b"GET " + target + b" HTTP/1.1\r\nHost: localhost:3000\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 %d " % status)


def test_both_sides_are_told_how_a_host_is_let_in(server: Server) -> None:
    raw = server.raw(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
    assert b"ALLOWED_HOSTS=app.test" in raw
    assert "ALLOWED_HOSTS=app.test" in server.served[0].problem[0]


ALLOWED = {
    "by name": ({"allowed_hosts": ("app.test",)}, {"app.test": 200, "sub.app.test": 403, "localhost": 200}),
    "all below a name": ({"allowed_hosts": (".app.test",)}, {"a.b.app.test": 200, "app.test": 403, "x": 403}),
    "on every address": ({"host": "0.0.0.0"}, {"192.168.0.7": 200, "[fe80::1]": 200, "evil.example": 403}),
    "this machine by its name": ({"host": "0.0.0.0"}, {socket.gethostname(): 200}),
    "the address that is listened on": ({"host": "127.0.0.5"}, {"127.0.0.5": 200, "192.168.0.7": 403}),
}


@pytest.mark.parametrize(("options", "statuses"), ALLOWED.values(), ids=ALLOWED)
def test_what_the_developer_names_is_taken_too(options: dict[str, object], statuses: dict[str, int]) -> None:
    made = Server({"statusCode": 200}, **options)
    with made.gateway:
        seen = {
            host: int(made.raw(f"GET / HTTP/1.1\r\nHost: {host}:3000\r\n\r\n".encode()).split()[1]) for host in statuses
        }
    assert seen == statuses


# HTTP before an app that is to see HTTPS


def test_to_the_app_all_is_https_at_the_address_that_the_browser_used(server: Server) -> None:
    server.raw(b"GET /x HTTP/1.1\r\nHost: localhost:3000\r\n\r\n")
    headers = server.headers()
    assert headers["host"] == "localhost:3000"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("https", "3000")
    assert headers["x-amzn-tls-version"] == "TLSv1.3"


def test_a_browser_that_names_no_port_is_at_the_port_of_https(server: Server) -> None:
    server.raw(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert server.headers()["x-forwarded-port"] == "443"


SITES = {
    "its own origin": ("Origin: http://localhost:3000", "origin", "https://localhost:3000"),
    "its own page": ("Referer: http://localhost:3000/a?b", "referer", "https://localhost:3000/a?b"),
    "another port": ("Origin: http://localhost:5173", "origin", "http://localhost:5173"),
    "a port that begins as its own": ("Origin: http://localhost:30001", "origin", "http://localhost:30001"),
    "another site": ("Referer: http://elsewhere.example/", "referer", "http://elsewhere.example/"),
    "https already, behind a tunnel": ("Origin: https://localhost:3000", "origin", "https://localhost:3000"),
    "none": ("Origin: null", "origin", "null"),
    "elsewhere in the head": ("X-A: http://localhost:3000", "x-a", "http://localhost:3000"),
}


@pytest.mark.parametrize(("line", "name", "value"), SITES.values(), ids=SITES)
def test_the_browsers_own_site_is_https_to_the_app(server: Server, line: str, name: str, value: str) -> None:
    server.raw(f"GET / HTTP/1.1\r\nHost: localhost:3000\r\n{line}\r\n\r\n".encode())
    assert server.headers()[name] == value


REDIRECTS = {
    "to its own site": ("https://localhost:3000/a", "http://localhost:3000/a"),
    "to the root of it": ("https://LOCALHOST:3000", "http://localhost:3000"),
    "without the port, which AWS has none of": ("https://localhost/a?b#c", "http://localhost:3000/a?b#c"),
    "to the port of https": ("https://localhost:443/", "http://localhost:3000/"),
    "to another port": ("https://localhost:3001/", "https://localhost:3001/"),
    "to another site": ("https://localhost.example/", "https://localhost.example/"),
    "by path": ("/a", "/a"),
    "a path that looks like it": ("/a?to=https://localhost:3000/", "/a?to=https://localhost:3000/"),
}


@pytest.mark.parametrize(("location", "followed"), REDIRECTS.values(), ids=REDIRECTS)
def test_a_redirect_leads_back_to_where_the_browser_is(location: str, followed: str) -> None:
    made = Server({"statusCode": 303, "headers": {"location": location}})
    with made.gateway:
        raw = made.raw(b"GET / HTTP/1.1\r\nHost: localhost:3000\r\n\r\n")
    assert f"\r\nlocation: {followed}\r\n".encode() in raw


# HTTPS


@pytest.fixture(scope="module")
def trusted() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate.ensure() / certificate.CERTIFICATE)


@contextmanager
def secured(server: Server, host: str, trusted: ssl.SSLContext) -> Iterator[HTTPSConnection]:
    client = HTTPSConnection(host, server.gateway.port, timeout=30, context=trusted)
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_same_port_speaks_https_with_a_certificate_for_this_machine(
    server: Server, host: str, trusted: ssl.SSLContext
) -> None:
    with secured(server, host, trusted) as client:
        for _ in range(2):
            client.request("POST", "/x", b"body", {"Origin": f"https://{host}:{server.gateway.port}"})
            assert client.getresponse().read() == b"hello"
    for event in server.function.events:
        headers = event["headers"]
        assert isinstance(headers, dict)
        assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("https", str(server.gateway.port))
        assert headers["origin"] == f"https://{host}:{server.gateway.port}"


def test_over_https_a_redirect_stays_as_it_is_and_no_page_binds_the_browser_to_https(trusted: ssl.SSLContext) -> None:
    made = Server(
        {
            "statusCode": 303,
            "headers": {"location": "https://localhost:3000/", "strict-transport-security": "max-age=9"},
        }
    )
    with made.gateway, secured(made, "localhost", trusted) as client:
        client.request("GET", "/")
        response = client.getresponse()
        assert response.headers["location"] == "https://localhost:3000/"
        assert "strict-transport-security" not in response.headers


def test_a_client_that_does_not_trust_the_certificate_harms_nobody(server: Server) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), secured(server, "localhost", ssl.create_default_context()) as it:
        it.request("GET", "/")
    assert server.raw(b"\x16\x03\x01\x00\x05hello")[:1] in (b"", b"\x15")  # closed, or TLS's own alert
    assert server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_refusal_and_an_answer_to_http_1_0_end_as_tls_says(server: Server, trusted: ssl.SSLContext) -> None:
    def said(request: bytes) -> bytes:
        raw = socket.create_connection(("127.0.0.1", server.gateway.port), timeout=30)
        with trusted.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))

    assert said(b"GET / HTTP/1.0\r\n\r\n").endswith(b"hello")
    with socket.create_connection(("127.0.0.1", server.gateway.port), timeout=30) as raw:
        client = trusted.wrap_socket(raw, server_hostname="localhost")
        client.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 403 ")
        client.close()


def test_the_end_of_the_gateway_does_not_wait_for_an_open_connection_with_tls(trusted: ssl.SSLContext) -> None:
    made = Server({"statusCode": 200})
    with secured(made, "localhost", trusted) as client:
        with made.gateway:
            client.request("GET", "/")
            client.getresponse().read()
        assert client.sock.recv(1) == b""


def test_with_https_asked_for_who_comes_without_is_sent_there() -> None:
    made = Server({"statusCode": 200}, is_https=True)
    with made.gateway:
        raw = made.raw(b"POST /a?b HTTP/1.1\r\nHost: localhost:3000\r\nContent-Length: 0\r\n\r\n")
        assert made.gateway.address == f"https://127.0.0.1:{made.gateway.port}"
    assert raw.startswith(b"HTTP/1.1 307 ")  # not for ever: browsers would keep to it at this port
    assert b"\r\nlocation: https://localhost:3000/a?b\r\n" in raw
    assert made.function.events == []


def test_the_certificate_can_sign_no_other_and_its_key_is_the_developers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography import x509

    monkeypatch.setattr(certificate, "CACHE", tmp_path)
    folder = certificate.ensure(["app.test", ".sub.test", "192.0.2.7"])
    made = x509.load_pem_x509_certificate((folder / certificate.CERTIFICATE).read_bytes())
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "*.localhost", "app.test", "*.sub.test"} == set(names.get_values_for_type(x509.DNSName))
    assert ip_address("192.0.2.7") in names.get_values_for_type(x509.IPAddress)
    assert (folder / certificate.KEY).stat().st_mode & 0o777 == 0o600
    assert certificate.ensure([".sub.test", "192.0.2.7", "app.test"]) == folder


# WebSockets


def handshake(path: str, method: str = "GET") -> bytes:
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def test_a_page_that_wants_a_websocket_is_named_once_for_each_path_and_gets_what_aws_gives(server: Server) -> None:
    for path in ("/_stcore/stream", "/queue/join?a=1", "/queue/join?a=2"):
        assert server.raw(handshake(path)).startswith(b"HTTP/1.1 200 ")
    first, second = server.notes
    assert "WebSocket at /_stcore/stream:" in first
    assert "WebSocket at /queue/join:" in second
    for known in ("Streamlit", "Gradio", "socket.io", "ENVIRONMENTS=1"):
        assert known in first
    assert all("upgrade" not in event["headers"] for event in server.function.events)  # type: ignore[operator]


def test_the_note_comes_before_the_app_answers() -> None:
    notes: list[str] = []
    never: Future[Outcome] = Future()
    impatient = SOURCES["rest"]._replace(patience_s=0.01)
    with (
        Gateway(lambda payload: never, source=impatient, on_note=notes.append) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client,
    ):
        client.sendall(handshake("/socket.io/?transport=websocket"))
        assert client.recv(12) == b"HTTP/1.1 504"
    assert len(notes) == 1


def test_a_load_balancer_refuses_a_websocket_and_the_note_says_why() -> None:
    made = Server({"statusCode": 200}, source=SOURCES["alb"])
    with made.gateway:
        assert made.raw(handshake("/x")).startswith(b"HTTP/1.1 400 ")
    assert len(made.notes) == 1


NO_HANDSHAKES = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "another method": handshake("/x", "POST").replace(b"Host", b"Content-Length: 0\r\nHost"),
}


@pytest.mark.parametrize("raw", NO_HANDSHAKES.values(), ids=NO_HANDSHAKES)
def test_what_is_no_handshake_needs_no_words(server: Server, raw: bytes) -> None:
    server.raw(raw)
    assert server.notes == []


def test_many_paths_do_not_fill_the_terminal(server: Server) -> None:
    server.raw(b"".join(handshake(f"/{number}") for number in range(300)))
    assert len(server.notes) == 200
    assert len(server.served) == 300


# Another port


class Mover:
    """Moves its gateway with each invocation, and answers with ``reply``."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.gateway: Gateway | None = None
        self.ports = free_ports(2)

    def submit(self, payload: bytes) -> Future[Outcome]:
        assert self.gateway is not None
        self.gateway.move(self.ports.pop())
        return done(Outcome(self.reply, 1))


FAILED = Reply(502, b'{"errorType":"Runtime.AppExited","errorMessage":"x"}', True)
ANSWERED = Reply(200, b'{"statusCode":200,"body":"hello"}', False)


@pytest.mark.parametrize(
    ("reply", "status"), [(FAILED, 307), (ANSWERED, 200)], ids=["what has failed is asked there", "an answer stays one"]
)
def test_a_gateway_moves_while_it_serves(reply: Reply, status: int) -> None:
    mover = Mover(reply)
    with Gateway(mover.submit) as gateway:
        mover.gateway = gateway
        for _ in range(2):
            before = gateway.port
            with socket.create_connection(("127.0.0.1", before), timeout=10) as client:
                client.sendall(b"POST /a?b HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 0\r\n\r\n")
                raw = b"".join(iter(lambda: client.recv(65536), b""))  # until the gateway closes
            assert raw.startswith(b"HTTP/1.1 %d " % status)
            assert (f"location: http://localhost:{gateway.port}/a?b".encode() in raw) == (status == 307)
            assert gateway.port != before
            assert is_free(before)
    assert is_free(gateway.port)
