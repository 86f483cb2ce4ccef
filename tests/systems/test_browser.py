"""A real browser before an app that insists on HTTPS, as an app on AWS may: forms, redirects, cookies, WebSockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.run import Options, Running, running

from .browser import Page, browser
from .conftest import had

pytestmark = [pytest.mark.integration, pytest.mark.systems]

# Its own site is what AWS's fields say. It takes forms from there alone, redirects to the whole address, has a cookie
# that is for HTTPS only, and forbids pages of its own to go back to plain HTTP.
STRICT = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CSP = ("content-security-policy", "upgrade-insecure-requests")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        cookies = dict(part.split("=", 1) for part in self.headers.get("cookie", "").split("; ") if part)
        name = cookies.get("__Host-name")
        if self.path == "/script.js":
            return self.answer(200, "window.ran = true")
        form = '<form method="post" action="/enter"><input name="name"><button>enter</button></form>'
        form += '<script src="/script.js"></script>'
        self.answer(200, f"<p>hello {name}</p>" if name else form)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        site = f"{self.headers['x-forwarded-proto']}://{self.headers['host']}"
        if self.headers["origin"] != site or not self.headers["referer"].startswith(site + "/"):
            return self.answer(403, f"<p>refused {self.headers['origin']} at {site}</p>")
        name = body.partition("=")[2]
        cookie = f"__Host-name={name}; Path=/; Secure; HttpOnly; SameSite=Strict"
        self.answer(303, "", ("location", site + "/welcome"), ("set-cookie", cookie))

    def answer(self, status, page, *fields):
        self.send_response(status)
        kind = "text/javascript" if self.path == "/script.js" else "text/html"
        head = (("content-type", kind), ("content-length", str(len(page))), *fields)
        for name, value in (*head, ("strict-transport-security", "max-age=31536000"), CSP):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
"""
COMMAND = "exec /opt/fairlead/bin/python3 /var/task/app.py"
FAILED = """new Promise(done => {
    const socket = new WebSocket(location.href.replace("http", "ws") + "live");
    socket.onopen = () => done(false);
    socket.onerror = () => done(true);
})"""


@pytest.fixture
def page() -> Iterator[Page]:
    """A tab of a browser that has no cookies yet."""
    with ExitStack() as stack:
        yield had(lambda: stack.enter_context(browser()))


def app(folder: Path) -> Path:
    (folder / "app.py").write_text(STRICT)
    return folder


def named(now: Running, host: str) -> str:
    return now.gateway.address.replace("127.0.0.1", host)


def enter(page: Page, address: str) -> None:
    page.open(address)
    assert page.value("window.ran")
    page.fill("input", "Ada")
    page.click("button")
    page.wait("location.pathname === '/welcome' && document.body.innerText.includes('Ada')")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "shop.localhost"])
def test_a_strict_app_works_at_the_plain_address(tmp_path: Path, page: Page, host: str) -> None:
    with running(Options(app(tmp_path), COMMAND, 0)) as now:
        enter(page, named(now, host))
        assert page.value("location.protocol") == "http:"
        page.open(named(now, host))
        assert page.text() == "hello Ada"
    with running(Options(app(tmp_path), COMMAND, 0)) as now:  # nothing has bound the browser to HTTPS
        page.open(named(now, host))
        assert page.value("location.protocol") == "http:"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_it_works_over_https_too(tmp_path: Path, page: Page, host: str) -> None:
    """As for somebody who has said that the certificate is to be trusted."""
    page._call("Security.setIgnoreCertificateErrors", ignore=True)
    try:
        with running(Options(app(tmp_path), COMMAND, 0, is_https=True)) as now:
            enter(page, named(now, host).replace("https:", "http:"))  # it is led there
            assert page.value("location.protocol") == "https:"
    finally:
        page._call("Security.setIgnoreCertificateErrors", ignore=False)
    with running(Options(app(tmp_path), COMMAND, 0)) as now:
        page.open(named(now, host))
        assert page.value("location.protocol") == "http:"


def test_a_websocket_fails_and_the_terminal_says_why(tmp_path: Path, page: Page) -> None:
    notes: list[str] = []
    with running(Options(app(tmp_path), COMMAND, 0), on_note=notes.append) as now:
        page.open(now.gateway.address + "/")
        assert page.value(FAILED)
    (note,) = notes
    assert "WebSocket at /live:" in note
