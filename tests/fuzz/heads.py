"""Whatever user code says, and whatever a hook gives back: one request goes out, and nothing stands in it but its own.

``HandlerSide`` is a Python handler and ``HookSide`` an app with hooks, each in one process that lives through all
examples. What is judged is what came over the wire.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Self

from hypothesis import strategies as st

from tests.events import function_url
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.process import CHECKOUT

from .app_side import UNDUE, AppRequest, AppSide
from .examples import AppAnswer
from .properties import ERROR_TYPE, check_request
from .strategies import json_values

WAYS = (
    *("call", "property", "swallowed", "dict", "head", "lists", "prelude", "status", "raise", "raise late"),
    *("raise late in http", "frame", "cause", "group", "exit", "plain"),
)
# The fields that may stand in a post to the Runtime API, each once.
OWN_FIELDS = {
    "Host",
    "User-Agent",
    "Content-Type",
    "Content-Length",
    "Transfer-Encoding",
    "Trailer",
    "Lambda-Runtime-Function-Response-Mode",
    "Lambda-Runtime-Function-Error-Type",
    "Lambda-Runtime-Function-XRay-Error-Cause",
    "Lambda-Runtime-Invocation-Id",
}
OWN_TRAILERS = {"Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"}
CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
SECOND_REQUEST = (
    "POST /2018-06-01/runtime/invocation/other/response HTTP/1.1\r\nHost: other\r\nContent-Length: 2\r\n\r\n{}"
)
PIECES = (
    *("\r\n", "\n", "\r", "\0", "\x7f", "\x0b", "\x85", "\u2028", "\ud800", "\t", " ", ":", "é", "", "a"),
    *(
        "\r\n\r\n",
        "X-Injected: yes",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "\r\n 0\r\n\r\n",
        SECOND_REQUEST,
    ),
    *("text/csv", "Runtime.Name", "Function.", "Name", "HTTP/1.1 200 OK", "/path", "GET", "host", "content-length"),
)
texts = (
    st.sampled_from(PIECES)
    | st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=5).map("".join)
    | st.sampled_from(("a" * 70_000, "é" * 30_000, "\n" * 5_000))
)


class Spoken(NamedTuple):
    """What a handler says, and where; ``nonce`` is the platform's, with which it comes."""

    way: str
    text: str
    other: str
    nonce: str

    def __repr__(self) -> str:
        """Short, as Hypothesis wants it."""
        return f"Spoken({self.way!r}, {self.text!r:.1500}, {self.other!r:.1500}, {self.nonce!r})"


spoken = st.builds(
    Spoken,
    st.sampled_from(WAYS),
    texts,
    texts,
    st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\r\0\t"), max_size=20),
)


class Wished(NamedTuple):
    """What hooks give back, part by part: a value for each, or nothing for "as it was"."""

    request: dict[str, Any]
    answer: dict[str, Any]  # of on_request, in place of the app's
    response: dict[str, Any]
    lines: list[str]  # of the app's own answer

    def __repr__(self) -> str:
        """Short, as Hypothesis wants it."""
        return f"Wished({self.request!r:.1500}, {self.answer!r:.1500}, {self.response!r:.1500}, {self.lines!r:.1500})"


def _often(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly of the right type."""
    return st.one_of(usual, usual, usual, json_values)


_fields = _often(
    st.lists(
        st.tuples(st.sampled_from(("host", "x-a", "content-length", "Connection", "transfer-encoding")) | texts, texts)
        | st.tuples(texts, json_values)
        | st.lists(texts, max_size=3),
        max_size=4,
    )
)
_parts = {"headers": _fields, "body": _often(texts)}
_status = _often(st.sampled_from((200, 204, 302, 99, 101, 999, "200", True)))
wished = st.builds(
    Wished,
    st.fixed_dictionaries({}, optional={"method": _often(texts), "target": _often(texts), **_parts, "added": _fields}),
    st.just({}) | st.fixed_dictionaries({"status": _status, "reason": _often(texts), **_parts}),
    st.just({}) | st.fixed_dictionaries({"status": _status, "reason": _often(texts), **_parts}),
    st.lists(texts.map(lambda text: re.sub("[\r\n]", "", text)), max_size=3),
)


class HandlerSide:
    """A handler's process. ``with`` it, and ``check`` example after example."""

    def __init__(self) -> None:
        self._api = FakeRuntimeApi()
        environment = {
            "LAMBDA_TASK_ROOT": str(CHECKOUT / "tests" / "handlers_web"),
            "FAIRLEAD_SHUTDOWN_GRACE_MS": "0",
        }
        self._process = start_bootstrap(self._api, handler="heads.handler", environment=environment)
        self._api.wait_idle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._api.__exit__(None)

    def check(self, example: Spoken) -> None:
        """One invocation with the example, and one more. Raises AssertionError when a property is broken."""
        event = {"way": example.way, "text": example.text, "other": example.other}
        nonce = {"Lambda-Runtime-Invocation-Id": example.nonce}
        answer = invoked_in_step(self._api, self._process, event, {"way": "", "text": 1, "other": ""}, b"1", nonce)
        # A CR or NUL in a value that came in a head is a space, and a value's ends are trimmed.
        echoed = re.sub("[\r\0]", " ", example.nonce).strip(" \t")
        assert answer.request.header_values("Lambda-Runtime-Invocation-Id") == ([echoed] if echoed else [])


HOOKS = """
import json

from fairlead.messages import HttpRequest, HttpResponse

wish = {}


def lines(value):
    return [tuple(line) if isinstance(line, list) else line for line in value] if isinstance(value, list) else value


def octets(value):
    return value.encode("utf-8", "replace") if isinstance(value, str) else value


def answer_of(parts):
    return HttpResponse(parts["status"], parts["reason"], lines(parts["headers"]), octets(parts["body"]))


def on_request(request):
    global wish
    wish = json.loads(request.body) if request.method == "PUT" else {}
    if wish.get("answer"):
        return answer_of(wish["answer"])
    parts = wish.get("request")
    if parts is None:
        return None
    headers = lines(parts["headers"]) if "headers" in parts else request.headers
    if isinstance(parts.get("added"), list):
        headers = [*request.headers, *lines(parts["added"])]
    body = octets(parts["body"]) if "body" in parts else b""
    return HttpRequest(parts.get("method", "POST"), parts.get("target", request.target), headers, body)


def on_response(request, response):
    return answer_of(wish["response"]) if wish.get("response") else None
"""


class HookSide:
    """A web server's process with hooks, whose answers are streamed. ``with`` it, and ``check``."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="fuzz-"))
        (self._directory / "fairlead_hooks.py").write_text(HOOKS)
        self._side = AppSide(self._directory / "control")
        self._api = FakeRuntimeApi()
        environment = {
            "PUPPET_CONTROL": str(self._side.control),
            "LAMBDA_TASK_ROOT": str(self._directory),
            "FAIRLEAD_INVOKE_MODE": "response_stream",
            "FAIRLEAD_SHUTDOWN_GRACE_MS": "0",
        }
        self._process = start_bootstrap(self._api, command=app("puppet.py"), environment=environment)
        self._api.wait_idle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._api.__exit__(None)
        finally:
            self._side.__exit__()
            shutil.rmtree(self._directory, ignore_errors=True)

    def check(self, example: Wished) -> None:
        """One invocation with the example, and one more. Raises AssertionError when a property is broken."""
        lines = [line.encode("utf-8", "replace") for line in example.lines]
        head = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"content-length: 2", b"", b""])
        self._side.expect(AppAnswer((head + b"{}",)))
        body = json.dumps(example._replace(lines=[])._asdict())
        answer = invoked_in_step(
            self._api, self._process, function_url("PUT", "/", body), function_url("GET", "/usual")
        )
        assert answer.kind == "response", f"an HTTP client got an invocation error: {answer.body!r}"
        self._check_prelude(answer)
        requests, problems = self._side.take()
        self._side.expect(UNDUE)
        assert not problems, problems
        assert len(requests) <= 2, f"{len(requests)} requests for two events: {requests}"
        assert [request.target for request in requests][-1] == "/usual"
        for request in requests:
            check_app_request(request)

    def _check_prelude(self, answer: Answer) -> None:
        prelude = json.loads(answer.body.partition(b"\0" * 8)[0])
        assert prelude.keys() <= {"statusCode", "headers", "cookies"}
        assert 200 <= prelude["statusCode"] <= 599
        for name, value in prelude["headers"].items():
            assert re.fullmatch(r"[-!#$%&'*+.^_`|~0-9a-z]+", name), f"header name {name!r}"
            assert not re.search(r"[\r\n\0]", value), f"header value {value!r}"


def check_app_request(request: AppRequest) -> None:
    """One request with one end, which is where its body ends."""
    assert request.is_complete
    check_request(request, is_from_a_hook=True)
    names = [name for name, _ in request.headers]
    assert names.count("host") == 1
    assert names.count("content-length") <= 1
    assert "transfer-encoding" not in names


def invoked_in_step(
    api: FakeRuntimeApi,
    process: BootstrapProcess,
    event: object,
    sentinel: object,
    expected: bytes | None = None,
    fields: dict[str, str] | None = None,
) -> Answer:
    """What the event was answered with, once the sentinel after it was answered too, and each in one request."""
    seen = len(api.requests)
    answer = api.wait_answer(api.add_event(event, headers=fields))
    second = api.wait_answer(api.add_event(sentinel))
    api.wait_idle()
    assert second.kind == "response", f"the next event failed: {second.body!r}"
    assert expected is None or second.body == expected, f"the next event got {second.body!r}"
    posts = [request for request in api.requests[seen:] if request.method == "POST"]
    assert len(api.requests) - seen == 4, f"{[request.target for request in api.requests[seen:]]} for two events"
    assert [posts[0], posts[1]] == [answer.request, second.request]
    for request in posts:
        check_post(request.headers, request.trailers)
    assert not api.violations, f"the Runtime API's rules were broken: {api.violations}"
    assert not process.has_exited()
    return answer


def check_post(headers: list[tuple[str, str]], trailers: list[tuple[str, str]]) -> None:
    """Judge the head of a post by what may stand in it."""
    names = [name for name, _ in headers]
    assert len(names) == len(set(names)), f"a field came twice: {names}"
    assert set(names) <= OWN_FIELDS, f"a field that is not ours: {names}"
    assert {name for name, _ in trailers} <= OWN_TRAILERS
    assert len(trailers) <= len(OWN_TRAILERS)
    fields = dict(headers)
    for name, value in (*headers, *trailers):
        assert not CONTROLS.search(value), f"{name}: {value!r}"
    assert re.fullmatch(r"fairlead/\S+", fields["User-Agent"])
    assert ("Content-Length" in fields) != ("Transfer-Encoding" in fields)
    told = fields.get("Lambda-Runtime-Function-Error-Type") or dict(trailers).get("Lambda-Runtime-Function-Error-Type")
    assert told is None or ERROR_TYPE.fullmatch(told), f"error type {told!r}"
