"""``python -m local.smoke [--source NAME]``: real requests through the whole chain, and a table of what came back.

Browser -> gateway -> event -> emulator -> layer -> FastAPI example, and back. Ends non-zero when anything is not as it
should be.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import urlencode

import orjson
import urllib3

from layer.failures import LayerError

from .failures import LocalFailure
from .gateway.conversation import Served
from .gateway.display import BOOKKEEPING, below
from .run import Options, running
from .runtime_api.reply import Reply
from .sources import SOURCES

WARM_REQUESTS = 50
OUTPUT_SHOWN = 40  # lines
FAILURES_SHOWN = 10
EVERY_BYTE = bytes(range(256))
UPLOAD = os.urandom(300_000) + EVERY_BYTE
TARGET = "/echo/a%2Fb//%E2%82%AC?a=1&a=2&b=%20x%2B&c"
# What is left of it when it reaches the app. Where a source takes the query apart, a flag comes back with its "=".
ARRIVES = {
    "function-url": TARGET,
    "http-api": "/echo/a/b//%E2%82%AC?a=1&a=2&b=%20x%2B&c",
    "http-api-1": "/echo/a/b//%E2%82%AC?a=1&a=2&b=%20x%2B&c=",
    "rest": TARGET + "=",
    "alb": "/echo/a%2Fb//%E2%82%AC?a=2&b=%20x%2B&c=",
    "alb-multi": TARGET + "=",
    "lattice": TARGET + "=",
}

Response = urllib3.BaseHTTPResponse
Ask = Callable[..., Response]


class Seen(NamedTuple):
    """One comparison: a line of the table."""

    what: str
    expected: object
    seen: object

    @property
    def is_right(self) -> bool:
        return self.expected == self.seen


def document(response: Response) -> dict[str, object]:
    """The JSON object in the response; what came instead, when it has none."""
    try:
        found = orjson.loads(response.data)
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"instead": response.data[:60]}


def page(ask: Ask) -> list[Seen]:
    response = ask("GET", "/")
    return [
        Seen("page: status", 200, response.status),
        Seen("page: type", "text/html; charset=utf-8", response.headers.get("content-type")),
        Seen("page: text", True, b"<h1>It runs.</h1>" in response.data),
    ]


def form(ask: Ask) -> list[Seen]:
    fields = urlencode({"name": "Zoë & Ωmega+1"})
    response = ask("POST", "/greet", body=fields, headers={"content-type": "application/x-www-form-urlencoded"})
    target = response.headers.get("location", "")
    follows = ask("GET", target).data if target else b""
    return [
        Seen("form post: status", 303, response.status),
        Seen("form post: page that follows", True, "Hello, Zoë &amp; Ωmega+1".encode() in follows),
    ]


def upload(ask: Ask) -> list[Seen]:
    body, content_type = urllib3.encode_multipart_formdata({"file": ("every.bin", UPLOAD)})
    answer = document(ask("POST", "/upload", body=body, headers={"content-type": content_type}))
    return [
        Seen("upload: bytes", len(UPLOAD), answer.get("bytes")),
        Seen("upload: sha256", hashlib.sha256(UPLOAD).hexdigest(), answer.get("sha256")),
    ]


def download(ask: Ask) -> list[Seen]:
    response = ask("GET", "/download")
    return [
        Seen("download: every byte value", True, response.data == EVERY_BYTE * 4),
        Seen("download: length", "1024", response.headers.get("content-length")),
    ]


def cookies(ask: Ask) -> list[Seen]:
    response = ask("GET", "/cookies", headers={"cookie": "one=1; two=2"})
    names = [cookie.partition("=")[0] for cookie in response.headers.getlist("set-cookie")]
    return [
        Seen("cookies: sent", {"one": "1", "two": "2"}, document(response)),
        Seen("cookies: Set-Cookie fields", ["visited", "theme"], names),
    ]


def target(ask: Ask, source: str) -> list[Seen]:
    answer = document(ask("GET", TARGET))
    path, _, query = ARRIVES[source].partition("?")
    return [
        Seen("query: repeats, escapes", query, answer.get("query")),
        Seen("path: escapes, slashes", path, answer.get("raw_path")),
    ]


def errors(ask: Ask) -> list[Seen]:
    return [
        Seen("unknown page: status", 404, ask("GET", "/no/such/page").status),
        Seen("HEAD: status and bytes", (200, 0), _status_and_size(ask("HEAD", "/echo/head"))),
        Seen("forged event: status", 403, ask("POST", "/events", body=b'{"Records":[]}').status),
    ]


def queue(invoke: Callable[[bytes], Reply]) -> list[Seen]:
    event = {"Records": [{"messageId": body, "body": body, "eventSource": "aws:sqs"} for body in ("fine", "fail")]}
    body = invoke(orjson.dumps(event)).body
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = body[:60]
    return [Seen("SQS batch: what failed", {"batchItemFailures": [{"itemIdentifier": "fail"}]}, answer)]


def _status_and_size(response: Response) -> tuple[int, int]:
    return response.status, len(response.data)


CHECKS = (page, form, upload, download, cookies, errors)


def run_checks(ask: Ask, source: str) -> list[Seen]:
    """Asks all checks' requests through a gateway that stands for ``source``, and compares what came back.

    Of an app whose page is not there nothing else is asked: each request could take the function's whole timeout.
    """
    lines = try_check("page", lambda: page(ask))
    if not lines[0].is_right:
        return lines
    for check in CHECKS[1:]:
        lines += try_check(check.__name__, partial(check, ask))
    return lines + try_check("target", lambda: target(ask, source))


def try_check(name: str, check: Callable[[], list[Seen]]) -> list[Seen]:
    """The lines of ``check``, or one line with the reason when no answer came."""
    try:
        return check()
    except (urllib3.exceptions.HTTPError, OSError, LocalFailure, LayerError) as error:
        return [Seen(f"{name}: answer", "one", f"none: {error}")]


def asker(client: urllib3.PoolManager, address: str) -> Ask:
    """How to ask the gateway at ``address``."""

    def ask(method: str, target: str, **options: object) -> Response:
        # The target is given to urllib3 as it is; its URL parser would mend what should arrive unmended.
        pool = client.connection_from_url(address)
        return pool.urlopen(method, target, redirect=False, timeout=60, **options)  # type: ignore[arg-type]

    return ask


def options_for(source: str) -> Options:
    """The example behind ``source``, on any free port."""
    # Every REST API for browsers has them: without, it spoils uploads and downloads.
    return Options(port=0, source=source, binary_media_types=("*/*",) if source == "rest" else ())


def smoke(source: str) -> int:
    """Prints the table; 0 when all is right."""
    served: list[Served] = []
    options = options_for(source)
    with running(options, served.append) as now, urllib3.PoolManager(retries=False) as client:
        ask = asker(client, now.gateway.address)
        print("\n".join([f"{options.app.name} behind {source} at {now.gateway.address}", *now.notices, ""]))
        lines = run_checks(ask, source)
        if lines[0].is_right:
            lines += try_check("queue", lambda: queue(lambda event: now.environments.submit(event).result().reply))
        wrong = sum(not line.is_right for line in lines)
        for _ in range(0 if wrong else WARM_REQUESTS):
            ask("GET", "/echo")
    output = [line for line in now.output if not BOOKKEEPING.match(line)]  # now it is all there
    for line in lines:
        print(f"{'ok   ' if line.is_right else 'WRONG'}  {line.what:30}  {_short(line.seen)}")
        if not line.is_right:
            print(f"       {'expected':30}  {_short(line.expected)}")
    if wrong:
        print("\n".join(explanation(served, output)))
    else:
        warm = sorted(request.duration_ms for request in served[-WARM_REQUESTS:])
        print(f"\ncold {served[0].duration_ms:.0f} ms; warm {statistics.median(warm):.1f} ms (median of {len(warm)})")
    left_out = "" if lines[0].is_right else "; the others were left out, because the app's page is not there"
    print(f"{len(lines) - wrong} of {len(lines)} as they should be{left_out}")
    return 1 if wrong else 0


def explanation(served: Sequence[Served], output: Sequence[str]) -> list[str]:
    """Which requests failed and why, and what the app wrote last."""
    failed = [request for request in served if request.problem or request.status >= 500]
    failures: list[str] = []
    for request in failed[:FAILURES_SHOWN]:
        failures.append(f"{request.method} {request.target}  {request.status}")
        failures += [f"  {line}" for line in request.problem]
    last = [part for line in output[-OUTPUT_SHOWN:] for part in below(line).split("\n")]
    return [*(["", "what failed:", *failures] if failures else []), "", "the app wrote:", *(last or ["nothing"])]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 70 else text[:67] + "..."


def main(arguments: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.smoke", description="Real requests through the whole chain.")
    parser.add_argument("--source", choices=SOURCES, default="function-url", help="what stands before the function")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return smoke(parser.parse_args(arguments).source)
    except (LocalFailure, LayerError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
