"""One real ``./bootstrap``, a Runtime API and an app, through which example after example goes."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Self

from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, app, start_bootstrap

from .app_side import UNDUE, AppRequest, AppSide
from .examples import AppAnswer, Example
from .properties import check_outcome, check_sentinel

NONCE = "Lambda-Runtime-Invocation-Id"
# What was recorded is kept, and looked through: a session must not go on for ever.
EXAMPLES_PER_PROCESS = 2000
DOMAIN = "abcdefghij.lambda-url.us-east-1.on.aws"


class Outcome(NamedTuple):
    """What came of one invocation."""

    request_id: str
    answer: Answer
    requests: list[AppRequest]  # that reached the app
    problems: list[str]  # with these


class Session:
    """``check`` example after example. A failure ends the process; the next example gets a fresh one. ``with`` it."""

    def __init__(self) -> None:
        self._running: _Running | None = None
        self.executions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def check(self, example: Example) -> None:
        """Invoke with the example, and with a sentinel after it. Raises AssertionError when a property is broken."""
        self.executions += 1
        if self._running and self._running.examples >= EXAMPLES_PER_PROCESS:
            self._end()
        self._running = self._running or _Running()
        try:
            self._running.check(example)
        except BaseException:
            running, self._running = self._running, None
            running.abandon()
            raise

    def _end(self) -> None:
        running, self._running = self._running, None
        if running:
            running.close()


class _Running:
    def __init__(self) -> None:
        self.examples = 0
        self._directory = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._side = AppSide(self._directory / "control")
        self._api = FakeRuntimeApi()
        self._process: BootstrapProcess = start_bootstrap(
            self._api,
            command=app("puppet.py"),
            # A margin that is short, since an app that never ends its answer costs an example the whole of its time.
            environment={"PUPPET_CONTROL": str(self._side.control), "FAIRLEAD_DEADLINE_MARGIN_MS": "10"},
        )
        self._pid = self._process.pid
        self._numbers = itertools.count(1)

    def check(self, example: Example) -> None:
        self.examples += 1
        self._side.expect(example.answer)
        outcome = self._invoke(example)
        try:
            check_outcome(
                example, outcome.request_id, outcome.answer, outcome.requests, outcome.problems, dict(example.fields)
            )
            self._check_step()
            assert not self._api.violations, f"the Runtime API's rules were broken: {self._api.violations}"
            assert not self._process.has_exited()
            assert self._process.pid == self._pid
        except AssertionError as error:
            raise AssertionError(f"{error}\n{_told(outcome)}\nlog: ...{self._process.output[-3000:]}") from None

    def _check_step(self) -> None:
        """The next invocation gets its own answer: what the one before left behind reaches nobody."""
        number = next(self._numbers)
        body = b'{"sentinel":%d}' % number
        is_http = number % 2 == 0
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._side.expect(UNDUE)
        self._side.answer_to(body, AppAnswer((head + body,), "keep"))
        sentinel = Example(_function_url(body) if is_http else body, AppAnswer(()))
        outcome = self._invoke(sentinel)
        check_sentinel(is_http, body, outcome.answer, outcome.requests, outcome.problems)

    def _invoke(self, example: Example) -> Outcome:
        request_id = f"fuzz-{next(self._numbers)}"
        self._api.add_event(
            example.payload,
            request_id=request_id,
            deadline_ms=_deadline(example.deadline),
            headers=dict(example.fields),
        )
        answer = self._api.wait_answer(request_id)
        return Outcome(request_id, answer, *self._side.take())

    def close(self) -> None:
        """End it; what it did against the rules of the Runtime API fails here."""
        try:
            self._api.__exit__(None)
        finally:
            self._side.__exit__()
            shutil.rmtree(self._directory, ignore_errors=True)

    def abandon(self) -> None:
        """End it after a failure."""
        self._api.take_violations()
        try:
            self.close()
        except AssertionError:
            pass  # that something is wrong is known


def _deadline(deadline: int | str) -> int | str:
    return deadline if isinstance(deadline, str) else int(time.time() * 1000) + deadline


def _function_url(body: bytes) -> bytes:
    http = {"method": "POST", "path": "/sentinel", "sourceIp": "203.0.113.9"}
    event = {
        "version": "2.0",
        "rawPath": "/sentinel",
        "rawQueryString": "",
        "headers": {"host": DOMAIN},
        "requestContext": {"domainName": DOMAIN, "http": http},
        "body": body.decode(),
        "isBase64Encoded": False,
    }
    return json.dumps(event).encode()


def _told(outcome: Outcome) -> str:
    answer = outcome.answer
    lines = [f"answered with {answer.kind}, {answer.headers}: {answer.body[:2000]!r}"]
    lines += [f"the app got: {request!r:.3000}" for request in outcome.requests]
    return "\n".join(lines)
