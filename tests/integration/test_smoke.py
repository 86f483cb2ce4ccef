"""``make smoke`` with an example that is broken says what failed and shows the app's last words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import urllib3

from local import smoke
from local.ports import free_ports
from local.run import Options

pytestmark = pytest.mark.integration

SERVER = """
import http.server, os, sys
print("the app's words", file=sys.stderr, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b"<h1>It runs.</h1>")
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
{more}
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""
PORT = 'int(os.environ["PORT"])'


class Case(NamedTuple):
    """An app, and what is said of it."""

    program: str
    says: Sequence[str]


CASES = {
    "it ends at once": Case(
        'import sys; sys.exit("there is no database")',
        ("WRONG  page: status                    502", "Runtime.AppExited", "there is no database", "left out"),
    ),
    "it does not understand a form": Case(
        SERVER.format(more="", port=PORT),
        ("ok     page: status", "WRONG  form post: status               501", "the app's words", "SQS batch"),
    ),
    "it dies at an upload": Case(
        SERVER.format(more="    def do_POST(self):\n        os._exit(3)", port=PORT),
        ("WRONG  upload: bytes", "POST /upload  502", "the app's words"),
    ),
    "its page fails": Case(
        SERVER.format(more="    def do_GET(self):\n        self.answer(500, b'no template')", port=PORT),
        ("WRONG  page: status                    50", "GET /  502", "the app's words", "left out"),
    ),
    "it listens somewhere else": Case(
        SERVER.format(more="", port="0"),
        ("WRONG  page: status                    50", "the app's words", "left out"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_broken_example_is_explained(
    case: Case,
    sandbox_works: None,
    layer_tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "app.py").write_text(case.program)
    (tmp_path / "run.sh").write_text('#!/bin/sh\nexec /opt/fairlead/bin/python3 "$LAMBDA_TASK_ROOT/app.py"\n')
    (tmp_path / "run.sh").chmod(0o755)
    environment = {"PORT": str(free_ports(1)[0])}
    options = Options(app=tmp_path, port=0, layer=layer_tree, timeout_s=5, environment=environment)
    monkeypatch.setattr(smoke, "options_for", lambda source: options)
    assert smoke.main([]) == 1
    output = capsys.readouterr()
    assert [part for part in case.says if part not in output.out] == [], output.out
    assert "Traceback" not in output.out + output.err


def test_no_answer_at_all_is_a_line_of_the_table() -> None:
    def cut_off(method: str, target: str, **options: object) -> urllib3.BaseHTTPResponse:
        raise urllib3.exceptions.ProtocolError("Connection aborted.")

    (line,) = smoke.run_checks(cut_off, "function-url")
    assert (line.what, line.expected, line.seen) == ("page: answer", "one", "none: Connection aborted.")
