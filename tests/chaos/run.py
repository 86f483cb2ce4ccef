"""A queue, Lambda and a monkey: deliveries to one environment after the other, and what is wrong with their answers.

Everything is drawn from a seed, so that the same things are done in the same order; what the machine makes of it is
another matter, and whatever it is, this has to hold:

- what is acknowledged was done, and the answer is whole (but see ``Delivery.may_be_cut``);
- nothing is handed to the app twice, unless its method allows that, so nothing that was acknowledged is done twice;
- each answer is that to its own question;
- an environment that was not killed serves on, and one that was has a successor that serves.
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.connection import IDEMPOTENT
from tests.fakes import Answer, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.process import free_port

from .orders import Delivery, Message, delivery_of, new_message

COMMAND = app("chaotic.py")
# The command, what CHAOS_STYLE says, and how answers to clients are sent.
STYLES = {
    "alone": (COMMAND, "alone", "buffered"),
    "streamed": (COMMAND, "alone", "response_stream"),
    "under a shell": (f"{COMMAND.removeprefix('exec ')}; exit $?", "alone", "buffered"),
    "recycled": (COMMAND, "recycled", "buffered"),
    "forked": (COMMAND, "forked", "buffered"),
}
# The one reason for an environment to end by itself: a fresh one is wanted then (docs/app.md).
WORN_OUT = "starts in a row have failed"
SEPARATOR = b"\0" * 8
STRIKES = (
    "kill app",
    "kill app",
    "kill one",
    "kill one",
    "kill bootstrap",
    "stop app",
    "stop bootstrap",
    "kill poller",
)
STRIKE_SHARE = 0.4
CALM_AFTER = 4  # so many deliveries of a message, and nothing happens to the next one
MOST_DELIVERIES = 12
PATIENCE_S = 60.0
DEADLINE_S = 40


class Environment:
    """A bootstrap and the Runtime API that it has for itself."""

    def __init__(self, command: str, concurrency: int, settings: Mapping[str, str]) -> None:
        self.was_killed = False
        self.api = FakeRuntimeApi(concurrency)
        environment = {**settings, "AWS_LAMBDA_MAX_CONCURRENCY": str(concurrency)}
        self.process = start_bootstrap(self.api, command=command, environment=environment)

    def close(self) -> str:
        """End it. Returns what it has done against the rules of the platform."""
        try:
            self.api.__exit__(None)
        except AssertionError as error:
            return str(error)
        finally:
            while pids := self.process.app_pids:  # a supervisor may have forked once more before it was killed
                for pid in pids:
                    send(pid, signal.SIGKILL, os.kill)
        return ""

    def strike(self, how: str, dice: random.Random) -> None:
        """Kill something of it, or stop it for some milliseconds."""
        verb, what = how.split()
        own = self.process.pid
        others = {pid: group for pid in self.process.app_pids if (group := group_of(pid))}
        apps = [pid for pid, group in others.items() if group != own]
        pollers = [pid for pid, group in others.items() if group == own]
        if what == "bootstrap" and verb == "kill":
            self.was_killed = True
            self.process.kill()
        elif what == "bootstrap":
            stop_for(own, dice.choice((0.002, 0.02)))
        elif what == "app" and apps:
            group = others[apps[0]]
            stop_for(group, dice.choice((0.002, 0.02))) if verb == "stop" else send(group, signal.SIGKILL, os.killpg)
        elif pids := pollers if what == "poller" else apps:
            send(dice.choice(pids), signal.SIGKILL, os.kill)


def parts_of(answer: Answer) -> tuple[dict[str, Any], bytes]:
    """Status and headers of an answer to a client, and its body."""
    prelude, separator, body = answer.body.partition(SEPARATOR)
    if separator:
        return json.loads(prelude), body
    document = answer.document
    return document, base64.b64decode(document["body"]) if document["isBase64Encoded"] else document["body"].encode()


def group_of(pid: int) -> int:
    """The process group; 0 when there is no such process any more."""
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def send(pid: int, number: int, how: Callable[[int, int], None]) -> None:
    """Send a signal to what may have ended."""
    try:
        how(pid, number)
    except OSError:
        pass


def stop_for(group: int, seconds: float) -> None:
    """Have a process group stand still."""
    send(group, signal.SIGSTOP, os.killpg)
    try:
        time.sleep(seconds)
    finally:
        send(group, signal.SIGCONT, os.killpg)


class Chaos:
    """One run."""

    def __init__(self, style: str, concurrency: int, seed: int) -> None:
        self.name = f"--style '{style}' --concurrency {concurrency} --seed {seed}"
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._command, self._style, self._mode = STYLES[style]
        self._concurrency = concurrency
        self._dice = random.Random(f"{style} {concurrency} {seed}")
        self._deliveries: list[Delivery] = []
        self._acknowledged: list[Delivery] = []

    def run(self, count: int) -> None:
        """Deliver so many messages of triggers, and requests of clients in between, until all are acknowledged."""
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            self._folder = Path(folder)
            self._settings = {
                "CHAOS_STYLE": self._style,
                "FAIRLEAD_INVOKE_MODE": self._mode,
                "RECORD_DIRECTORY": folder,
                "TMPDIR": folder,
                "FAIRLEAD_PORT": str(free_port()),
            }
            environment = self._started()
            try:
                waiting = deque(self._messages(count))
                while waiting:
                    sent = [waiting.popleft() for _ in range(min(self._concurrency, len(waiting)))]
                    waiting.extend(self._delivered(environment, sent))
                    if environment.process.has_exited():
                        environment = self._successor_of(environment)
            finally:
                self._close(environment)
            self._check_journal((self._folder / "journal").read_text().splitlines())

    def _messages(self, count: int) -> Iterator[Message]:
        number = 0
        while count:
            number += 1
            message = new_message(self._dice, number)
            count -= message.source != "web"
            yield message

    def _started(self) -> Environment:
        environment = Environment(self._command, self._concurrency, self._settings)
        try:
            environment.api.wait_idle(timeout=PATIENCE_S)
        except AssertionError as error:
            environment.close()
            raise AssertionError(f"{self.name}: a successor does not start: {error}") from None
        return environment

    def _successor_of(self, environment: Environment) -> Environment:
        """What Lambda would start. Only then is cleared away what is left: to find that is the successor's business."""
        self.counts["environments that were replaced"] += 1
        if not environment.was_killed:
            self.counts["environments that ended by themselves"] += 1
            if WORN_OUT not in environment.process.stderr:
                self.problems.append(f"{self.name}: an environment ends by itself: {environment.process.describe()}")
        successor = self._started()
        self._close(environment)
        return successor

    def _close(self, environment: Environment) -> None:
        if violations := environment.close():
            self.problems.append(f"{self.name}: {violations}")

    def _delivered(self, environment: Environment, messages: Sequence[Message]) -> list[Message]:
        """Hand some over at once; what has to be delivered again."""
        dice = self._dice
        deliveries = [delivery_of(message, dice, self._style) for message in messages]
        is_calm = any(message.attempt > CALM_AFTER for message in messages) or dice.random() >= STRIKE_SHARE
        strike, moment_s = dice.choice(STRIKES), dice.random() * 0.006
        deadline_ms = int((time.time() + DEADLINE_S) * 1000)
        is_early = strike == "kill poller"  # the invocation of a killed one is nobody's: Lambda waits for its timeout
        if is_early and not is_calm and self._concurrency > 1:
            self._kill_idle_poller(environment)
        ids = [environment.api.add_event(delivery.event, deadline_ms=deadline_ms) for delivery in deliveries]
        self._deliveries += deliveries
        if not (is_early or is_calm):
            time.sleep(moment_s)
            environment.strike(strike, dice)
        self.counts["calm" if is_calm else strike] += 1
        answers = environment.api.wait_answers(ids, timeout=PATIENCE_S)
        again = []
        for delivery, request_id in zip(deliveries, ids, strict=True):
            answer = answers.get(request_id)
            if answer and self._is_acknowledged(delivery, answer):
                self._acknowledged.append(delivery)
            elif not delivery.is_web:
                again.append(delivery.message._replace(attempt=delivery.message.attempt + 1))
                if delivery.message.attempt > MOST_DELIVERIES:
                    self._problem(delivery, f"is never acknowledged: {answer.body[:300] if answer else 'no answer'!r}")
                    again.pop()
        return again

    def _kill_idle_poller(self, environment: Environment) -> None:
        environment.api.wait_polling(timeout=PATIENCE_S)
        before = environment.api.polling
        environment.strike("kill poller", self._dice)
        environment.api.wait_polling(before, timeout=PATIENCE_S)

    def _is_acknowledged(self, delivery: Delivery, answer: Answer) -> bool:
        """Whether the sender takes it for processed. It has to be the answer to this question then."""
        self.counts["web" if delivery.is_web else "trigger"] += 1
        if answer.kind == "error":
            self.counts[answer.document["errorType"]] += 1
            if delivery.is_web and WORN_OUT not in answer.document["errorMessage"]:
                self._problem(delivery, f"a client gets an invocation error: {answer.body!r}")
            return False
        if delivery.is_web:
            return self._is_web_success(delivery, answer)
        if answer.body != delivery.body:
            self._problem(delivery, f"is answered with {answer.body[:300]!r}")
        return True

    def _is_web_success(self, delivery: Delivery, answer: Answer) -> bool:
        document, body = parts_of(answer)
        status = document["statusCode"]
        if answer.request.trailers:
            self.counts["web, broken off with trailers"] += 1
            return False
        if status in (502, 504) and "x-token" not in document["headers"]:
            self.counts[f"web {status}"] += 1
            return False
        wanted = b"" if delivery.method == "HEAD" or status in (204, 304) else delivery.body
        is_whole = body == wanted
        if not is_whole and delivery.may_be_cut and self._style != "alone" and wanted.startswith(body):
            self.counts["web, cut where nothing tells"] += 1
            is_whole = True
        if not is_whole or document["headers"].get("x-token") != delivery.message.token:
            self._problem(delivery, f"is answered with {answer.body[:300]!r}")
        if str(status) != delivery.words["status"]:
            self._problem(delivery, f"is answered with status {status}")
        return status < 300

    def _check_journal(self, lines: Sequence[str]) -> None:
        done = Counter(line.removeprefix("done ") for line in lines if line.startswith("done "))
        began = Counter(line.removeprefix("began ") for line in lines if line.startswith("began "))
        for delivery in self._acknowledged:
            if missing := delivery.to_do - done.keys():
                self._problem(delivery, f"was acknowledged, and not done: {missing}")
        for delivery in self._deliveries:
            times = began[delivery.message.token]
            if times > 1 + (delivery.method in IDEMPOTENT):
                self._problem(delivery, f"was handed to the app {times} times")
        self.counts["acknowledged"] = len(self._acknowledged)

    def _problem(self, delivery: Delivery, what: str) -> None:
        self.problems.append(f"{self.name}: {delivery.message} ({delivery.method} {delivery.words}) {what}")
