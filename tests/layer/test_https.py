"""A verified HTTPS call from the layer's interpreter, with nothing in /etc but Amazon Linux's certificates.

The certificate authority is made for the test and known nowhere else: what is trusted, is trusted because it was found.
"""

from __future__ import annotations

import shlex
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from layer import build, recipe
from tests.fakes import FakeRuntimeApi, start_bootstrap

from .conftest import PYTHON, Run, runner, way_into

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not shutil.which("openssl"), reason="certificates are made with the command openssl"),
]

FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode(), end='')"

# A web app that answers with what the HTTPS server said, or with what failed.
APP = """
import http.server, os, sys, urllib.request

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            self.answer(200, urllib.request.urlopen(sys.argv[1], timeout=30).read())
        except OSError as error:
            self.answer(502, repr(error).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
EVENT: dict[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/",
    "rawQueryString": "",
    "headers": {"host": "a.lambda-url.us-east-1.on.aws"},
    "requestContext": {
        "domainName": "a.lambda-url.us-east-1.on.aws",
        "http": {"method": "GET", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "198.51.100.7", "userAgent": "t"},
    },
    "isBase64Encoded": False,
}


class Greeting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"verified")

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the base class writes to the tests' output."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``ca.pem``, and ``server.pem`` (certificate and key for 127.0.0.1) that it has signed."""
    folder = tmp_path_factory.mktemp("authority")
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    # With the extensions that Python 3.13 insists on (VERIFY_X509_STRICT).
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl(folder, *new, "-subj", "/CN=An authority", *usage, "-keyout", "ca.key", "-out", "ca.pem")
    openssl(
        folder,
        *(
            *new,
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
        ),
        *("-addext", "basicConstraints=critical,CA:false", "-addext", "authorityKeyIdentifier=keyid"),
        *("-keyout", "server.key", "-out", "server.crt"),
    )
    (folder / "server.pem").write_text((folder / "server.crt").read_text() + (folder / "server.key").read_text())
    return folder


def openssl(folder: Path, *command: str) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def url(authority: Path) -> Iterator[str]:
    """An HTTPS server whose certificate that authority has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    server = HTTPServer(("127.0.0.1", 0), Greeting)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def trusting(each: tuple[recipe.Architecture, build.Layer], authority: Path) -> Run:
    """Runs a command where Amazon Linux's bundle holds that authority."""
    return runner(way_into(each[1].tree, each[0], authority / "ca.pem"))


def test_a_certificate_that_the_systems_bundle_vouches_for_is_accepted(trusting: Run, url: str) -> None:
    result = trusting(PYTHON, "-c", FETCH, url)
    assert (result.stdout, result.returncode) == ("verified", 0), result.stderr


def test_a_certificate_that_it_does_not_vouch_for_is_refused(run: Run, url: str) -> None:
    result = run(PYTHON, "-c", FETCH, url)
    assert result.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in result.stderr


def test_an_app_on_the_layers_interpreter_trusts_the_same_with_the_environment_that_fairlead_gives_it(
    layer: build.Layer, authority: Path, url: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    prefix = way_into(layer.tree, bundle=authority / "ca.pem")
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text("#!/bin/sh\nexec " + shlex.join(prefix) + ' /opt/bootstrap "$@"\n')
    bootstrap.chmod(0o755)
    with FakeRuntimeApi() as api:
        request = api.add_event(EVENT)
        start_bootstrap(api, command=f"exec {PYTHON} {tmp_path}/app.py {url}", bootstrap=bootstrap)
        payload = api.wait_answer(request).document
    assert (payload["statusCode"], payload["body"]) == (200, "verified")
