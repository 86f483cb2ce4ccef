"""The examples with a whole page: a form that redirects, a file there and back, and what a queue sends."""

from __future__ import annotations

import hashlib
import html
import os
import re
from urllib.parse import urlencode

import pytest
from urllib3.filepost import encode_multipart_formdata

from .conftest import examples
from .system import System
from .test_express_sqs import batch

pytestmark = examples("fastapi", "flask", "flask app:app")

FORM = {"content-type": "application/x-www-form-urlencoded"}
EVERY_BYTE = bytes(range(256))
FILES = {
    "100 KB of anything": ("photo.jpg", os.urandom(100_000)),
    "every byte": ("every byte.bin", EVERY_BYTE),
    "line ends": ("lines.txt", b"\r\n--\r\n\n\r" * 100),
    "4 MB": ("large.bin", os.urandom(4_000_000)),
    "nothing": ("empty.txt", b""),
}


def fields(page: bytes) -> dict[str, str]:
    """The hidden fields of the page's first form, such as a token against forged requests."""
    first = page.decode().partition("</form>")[0]
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', first))


@pytest.mark.parametrize("name", ["Zoë", "a&b=c", "<b>", "50 %+1"])
def test_a_form_leads_to_a_page_that_greets(system: System, name: str) -> None:
    page = system.ask("GET", "/")
    cookies = "; ".join(field.partition(";")[0] for field in page.headers.getlist("set-cookie"))
    sent = urlencode({**fields(page.data), "name": name})
    answer = system.ask("POST", "/greet", {**FORM, "cookie": cookies, "origin": system.address}, sent)
    assert answer.status == 303, (answer.data, system.output)
    target = answer.headers["location"].removeprefix(system.address)
    assert target.startswith("/?name=")
    greeting = re.findall("<h1>(.*?)</h1>", system.ask("GET", target).data.decode())
    assert [html.unescape(line) for line in greeting] == [f"Hello, {name}."]
    assert "<b>" not in greeting[0]


@pytest.mark.parametrize(("name", "content"), FILES.values(), ids=FILES)
def test_a_file_is_uploaded(system: System, name: str, content: bytes) -> None:
    body, kind = encode_multipart_formdata({"file": (name, content, "application/octet-stream")})
    seen = system.json("POST", "/upload", {"content-type": kind, "origin": system.address}, body)
    assert seen == {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_file_is_downloaded(system: System) -> None:
    answer = system.ask("GET", "/download")
    assert (answer.status, answer.data) == (200, EVERY_BYTE * 4)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="every-byte.bin"'


def test_the_messages_of_a_queue_that_fail_are_delivered_again_alone(system: System) -> None:
    assert system.invoke(batch("fine", "fail", "fine")) == {"batchItemFailures": [{"itemIdentifier": "message-2"}]}


def test_a_batch_from_outside_is_refused(system: System) -> None:
    """Whoever reaches the function's URL cannot pass for the queue, not even with the header."""
    headers = {"content-type": "application/json", "x-fairlead-event-source": "aws:sqs"}
    assert system.ask("POST", "/events", headers, batch("fine")).status == 403


def test_none_of_this_was_a_problem(system: System) -> None:
    assert [served.problem for served in system.served if served.problem] == []
    assert [line for line in system.output if "WARN" in line or "ERROR" in line] == []
