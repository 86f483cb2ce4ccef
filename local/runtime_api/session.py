"""The states of the Runtime API, without a socket: one runtime process from its start to its end.

Two sides meet here. The runtime's requests come in threads of the server: ``next``, ``begin_answer``, ... The platform
is whoever calls ``invoke``. https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import signal
import threading
import time
import uuid
from collections.abc import Callable

from runtime.invocation import PAYLOAD_LIMIT, Invocation

from ..failures import LocalFailure
from .reply import TIMED_OUT, Reply
from .streamed_answer import TOO_LARGE, TRUNCATED, StreamedAnswer, error_document

ARN = "arn:aws:lambda:us-east-1:012345678912:function:test_function"
# A runtime asks for its next invocation within a millisecond of its answer. Waiting for that keeps a client that asks
# again at once in this environment; who still works by then is not waited for.
SETTLE_S = 0.2
EXITED = "Runtime.ExitError"


class Refusal(Exception):
    """The answer to a request of the runtime that is against the rules, or too large."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = json.dumps({"errorMessage": message, "errorType": error_type}).encode()


class Gone(Exception):
    """The runtime will not get an answer to this request: it has ended, or asked again."""


class TimedOut(Exception):
    """The function has had its time, and the process must end; ``reply`` is what the invocation ends with."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body.decode())
        self.reply = reply


def timed_out(timeout_s: float) -> Reply:
    """The end of an invocation that was not answered in time, in the emulator's words."""
    return Reply(200, TIMED_OUT + b"%.2f seconds" % timeout_s)


class Session:
    """One runtime process. Its states: ``init``, ``idle``, ``busy``, ``answering``, ``answered``, ``idle``, and so on.

    ``broken`` is the end: what was answered made no sense, and ``next`` is refused from then on.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state = "init"
        self._to_hand_over: Invocation | None = None
        self._invocation: Invocation | None = None  # until it is over: answered, and the next one asked for
        self._answer: Reply | None = None
        self._init_error: bytes | None = None
        self._exit: str | None = None  # how the process ended
        self._is_leaving = False  # it has ended, and what it sent may still be read
        self._is_stopped = False
        self._was_refused = False
        self._poller = 0  # the request for the next invocation that counts: the last one
        self._extensions: dict[str, str] = {}  # identifier: name
        self._listening: set[str] = set()

    # The runtime's side

    def next(self) -> Invocation:
        """Wait for the next invocation. An unanswered one is given again, as the emulator does."""
        with self._changed:
            if self._state in ("answering", "broken") or self._init_error is not None:
                self._was_refused = True
                raise self._wrong_state()
            if self._state == "busy" and self._invocation:
                return self._invocation
            self._poller += 1
            number = self._poller
            self._go("idle")
            self._invocation = None
            self._changed.wait_for(lambda: self._to_hand_over or self._poller != number or self._is_leaving)
            if self._poller != number or not self._to_hand_over:
                raise Gone
            self._invocation, self._to_hand_over = self._to_hand_over, None
            self._go("busy")
            return self._invocation

    def begin_answer(self, request_id: str, invocation_id: str = "") -> None:
        """Raises ``Refusal`` unless that is the invocation to be answered now."""
        with self._changed:
            invocation = self._invocation
            if invocation is None or request_id != invocation.request_id:
                raise Refusal(400, "InvalidRequestID", "Invalid request ID")
            if invocation_id not in ("", invocation.invocation_id):  # the nonce against answers that come late
                raise Refusal(400, "InvalidInvocationID", "Invalid invocation ID")
            if self._state != "busy":
                raise self._wrong_state()
            self._go("answering")

    def answer(self, body: bytes) -> None:
        """Take the whole answer, or the document of an error."""
        self._conclude(Reply(200, body))

    def answer_is_too_large(self, size: int) -> Refusal:
        """Ends the invocation with an error, and returns the runtime's."""
        words = f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes)."
        self._conclude(Reply(200, error_document(TOO_LARGE, words)))
        return Refusal(413, "RequestEntityTooLarge", words)

    def answer_has_a_wrong_mode(self, mode: str) -> Refusal:
        """Ends the invocation because its response mode does not exist, and returns the runtime's error."""
        words = f"invalid value {mode!r} of Lambda-Runtime-Function-Response-Mode: streaming, or no such header"
        self._break(error_document("Runtime.InvalidResponseModeHeader", words))
        return Refusal(400, "InvalidFunctionResponseMode", words)

    def answer_is_streamed(self, stream: StreamedAnswer) -> None:
        """Note that a streamed answer has begun."""
        with self._changed:
            self._answer = Reply(200, b"", stream=stream)
            self._changed.notify_all()

    def stream_has_ended(self, failure: bytes | None) -> None:
        """Note that the stream has its end; ``failure`` is the error document that came with it."""
        self._conclude(Reply(200, failure or b""))

    def stream_was_cut(self, failure: bytes | None) -> None:
        """Note that the stream has no end: by a ``failure`` of the runtime, or (None) because nobody reads the rest."""
        if failure is None:
            self._conclude(Reply(200, b""))
        else:
            self._break(failure)

    def answer_broke_off(self) -> None:
        """Note that the end of an answer in one piece is missing."""
        self._break(error_document(TRUNCATED, "the runtime closed its connection in the middle of the answer"))

    def fail_init(self, body: bytes) -> None:
        """Take the error of a runtime that cannot start."""
        with self._changed:
            if self._state != "init" or self._init_error is not None:
                raise self._wrong_state()
            self._init_error = body
            self._changed.notify_all()

    def register(self, name: str, events: list[str]) -> str:
        """Register an internal extension; returns its identifier."""
        with self._changed:
            if not name:
                raise Refusal(400, "Extension.InvalidExtensionName", "Lambda-Extension-Name is missing")
            if self._state != "init":
                raise Refusal(403, "Extension.RegistrationClosed", "Extension registration is closed")
            if name in self._extensions.values():
                raise Refusal(403, "Extension.AlreadyRegistered", f"Extension {name} is registered already")
            if events:  # Managed Instances refuse every event to an internal extension, and everybody SHUTDOWN
                raise Refusal(403, "Extension.InvalidEventType", f"No events for internal extensions: {events}")
            identifier = str(uuid.uuid4())
            self._extensions[identifier] = name
            return identifier

    def next_event(self, identifier: str) -> None:
        """Waits until the runtime has ended: no event is for an internal extension."""
        with self._changed:
            if identifier not in self._extensions:
                raise Refusal(403, "Extension.UnknownExtensionIdentifier", "Unknown extension identifier")
            self._listening.add(identifier)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_leaving)
            raise Gone

    # The platform's side

    @property
    def has_extension(self) -> bool:
        """Whether the runtime gets a SIGTERM and some time before it is killed."""
        return bool(self._extensions)

    def invoke(self, payload: bytes, timeout_s: float, on_answer: Callable[[Reply], object]) -> Reply:
        """Hand the event over; returns when the runtime has asked for the next one, or has ended.

        ``on_answer`` gets the answer that is there earlier: one that is streamed as soon as it begins, one that the
        runtime still works after as soon as that is noticed. ``timeout_s`` is for the rest of the start, and again for
        the invocation. Raises ``TimedOut``, and ``LocalFailure`` when ``stop`` was called.
        """
        late = timed_out(timeout_s)
        if not self._await(timeout_s, self._is_ready):
            if self._exit is None:
                raise TimedOut(late)
            return Reply(502, self._init_error or b"")
        until = time.monotonic() + timeout_s
        invocation = self._hand_over(payload, timeout_s)
        if not self._await(timeout_s, lambda: self._answer is not None) and self._exit is None:
            raise TimedOut(late)
        begun = self._answer
        if begun and (begun.stream or not self._await(SETTLE_S, self._is_over)):
            on_answer(begun)
        is_over = self._await(until - time.monotonic(), self._is_over)
        return self._outcome(invocation, late, is_over)

    def leave(self) -> None:
        """Note that the process has ended, so nobody need wait for something to send to it. ``end`` follows."""
        with self._changed:
            self._is_leaving = True
            self._changed.notify_all()

    def end(self, status: int) -> None:
        """Note that the process has ended, with this exit status as a shell counts it, and all it sent was read."""
        with self._changed:
            self._is_leaving = True
            self._exit = exit_words(status)
            self._changed.notify_all()

    def stop(self) -> None:
        """Serve no more invocations: whoever waits in ``invoke`` gets a ``LocalFailure``."""
        with self._changed:
            self._is_stopped = self._is_leaving = True
            self._changed.notify_all()
            stream = self._answer.stream if self._answer else None
        if stream:
            stream.interrupt()

    def _is_ready(self) -> bool:
        # Registered and not listening, an extension keeps the init from its end.
        return self._state == "idle" and self._extensions.keys() <= self._listening

    def _is_over(self) -> bool:
        return self._state == "idle" and self._to_hand_over is None

    def _await(self, timeout_s: float, what: Callable[[], bool]) -> bool:
        """Wait for ``what``; returns whether it came true in this time and before the process ended."""
        with self._changed:
            self._changed.wait_for(lambda: what() or self._exit is not None or self._is_stopped, max(timeout_s, 0))
            if self._is_stopped:
                raise LocalFailure("the function was stopped")
            return what()

    def _hand_over(self, payload: bytes, timeout_s: float) -> Invocation:
        now = time.time()
        request_id = str(uuid.uuid4())
        invocation = Invocation(
            request_id,
            payload,
            int((now + timeout_s) * 1000),
            ARN,
            trace_id=f"Root=1-{int(now):08x}-{uuid.uuid4().hex[:24]};Parent={uuid.uuid4().hex[:16]};Sampled=0",
            invocation_id=str(uuid.uuid4()),
        )
        with self._changed:
            self._answer = None
            self._to_hand_over = invocation
            self._changed.notify_all()
        return invocation

    def _outcome(self, invocation: Invocation, late: Reply, is_over: bool) -> Reply:
        with self._changed:
            answer = self._answer
            is_streaming = bool(answer and answer.stream)
            if self._exit is not None and (answer is None or is_streaming or self._state == "broken"):
                # Of both reasons, the one that came first.
                return answer if answer and not is_streaming and self._was_refused else self._crash(invocation)
            if is_over or self._exit is not None:
                assert answer is not None
                return answer
        raise TimedOut(late if answer is None or is_streaming else answer)

    def _crash(self, invocation: Invocation) -> Reply:
        return Reply(502, error_document(EXITED, f"RequestId: {invocation.request_id} Error: {self._exit}"))

    def _conclude(self, answer: Reply) -> None:
        with self._changed:
            self._answer = answer
            self._go("answered")

    def _break(self, failure: bytes) -> None:
        with self._changed:
            self._answer = Reply(200, failure)
            self._go("broken")

    def _go(self, state: str) -> None:
        self._state = state
        self._changed.notify_all()

    def _wrong_state(self) -> Refusal:
        return Refusal(403, "InvalidStateTransition", f"Transition from {self._state} is not allowed")


def exit_words(status: int) -> str:
    """The emulator's words for an exit status, as a shell counts it."""
    if status > 128:
        name = signal.strsignal(status - 128)
        return f"Runtime exited with error: signal: {name.lower() if name else status - 128}"
    if status:
        return f"Runtime exited with error: exit status {status}"
    return "Runtime exited without providing a reason"
