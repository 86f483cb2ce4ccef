"""A sandbox whose function can stream: the runtime is started by itself, and our own Runtime API takes the emulator's
place.

What is different from the emulator, docs/local.md says.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping

from ..failures import LocalFailure
from ..processes import below, children
from ..runtime_api.server import STREAM_LIMIT, RuntimeApiServer
from ..runtime_api.session import Answer, Session, TimedOut
from ..sandbox.enclosure import Enclosure
from .sandbox import KILLED_WITHIN_S, Reply, Sandbox

BOOTSTRAP = "bootstrap"  # in the app's folder, where AWS looks first, or in the layer
EXTENSIONS = "extensions"
# What the emulator grants a runtime that has registered an extension; without one there is no SIGTERM.
GRACE_S = 0.6
# What the emulator adds to the environment, except for empty credentials.
PLATFORM = {
    "AWS_LAMBDA_FUNCTION_NAME": "test_function",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/Functions",
    "AWS_LAMBDA_LOG_STREAM_NAME": "$LATEST",
}


class StreamingSandbox(Sandbox):
    """As ``Sandbox``; ``invoke`` hands a streamed answer to its ``on_answer`` while it comes.

    The runtime is started at once, and again within the next invocation when it has ended or was ended: a sandbox is
    one process and all below it, so ``/tmp`` is empty then.
    """

    stream_limit = STREAM_LIMIT  # bytes
    _server: RuntimeApiServer | None = None
    _session: Session | None = None
    _enclosed: Enclosure | None = None

    @property
    def emulator_pid(self) -> int:
        """There is none."""
        return 0

    @property
    def runtime_pid(self) -> int:
        """The runtime's process id as this machine sees it; 0 when it does not run."""
        return next(iter(children(self._init_pid)), 0) if self.is_running else 0

    def processes(self) -> list[int]:
        """The function's processes, as this machine counts them."""
        return below(self._init_pid) if self.is_running else []

    def _ask(self, payload: bytes, headers: Mapping[str, str], on_answer: Callable[[Reply], object]) -> Reply:
        """Send the event; what the invocation ends with, when the runtime has asked for the next one or has ended.

        ``on_answer`` gets an answer that is there before: one that is streamed has to be read by it, or by a thread
        that it has told. Raises ``LocalFailure`` when the sandbox was stopped.
        """
        if self.freezer:
            self.freezer.thaw()
        session = self._running_session()
        is_cold = self._is_cold

        def early(answer: Answer) -> None:
            on_answer(Reply(answer.status, answer.body, is_cold, stream=answer.stream))

        try:
            answer, notice = session.invoke(payload, self._timeout_s, early), ""
        except TimedOut as late:
            session.stop()  # what the runtime streams while it ends, nobody gets any more
            self._end_process()
            answer, notice = late.answer, self._overtime(late)
        self._is_cold = not self.is_running
        reply = Reply(answer.status, answer.body, is_cold, self._out_of_memory() or notice)
        if not self._is_cold:
            self._freeze()
        return reply

    def _is_open(self) -> bool:
        return self._server is not None

    def stop(self) -> None:
        """End everything. The app is told first, as on Lambda; what is left after that is killed."""
        with self._end:
            server, self._server = self._server, None
            if self._session:
                self._session.stop()
        super().stop()
        if server:
            server.close()

    def _overtime(self, late: TimedOut) -> str:
        if late.answer.body == b"Task timed out after %.2f seconds" % self._timeout_s:
            return ""
        return f"after its answer the runtime did not ask for more within {self._timeout_s} s, and was ended"

    def _running_session(self) -> Session:
        if not self.is_running:
            self._end_process()
        with self._end:  # whoever stops all this ends what was started before, and nothing is started after it
            if self._server is None or self._enclosed is None:
                raise LocalFailure("the function is not running")
            if self._session is None or not self.is_running:
                self._session = self._begin(self._server, self._enclosed)
            return self._session

    def _freeze(self) -> None:
        with self._end:
            if self.freezer and self._server:
                self.freezer.freeze(self.processes)

    def _full_environment(self) -> dict[str, str]:
        self._server = self._server or RuntimeApiServer(self.stream_limit)
        return {**PLATFORM, **super()._full_environment(), "AWS_LAMBDA_RUNTIME_API": self._server.address}

    def _start_emulator(self, enclosed: Enclosure) -> None:
        assert self._server is not None
        if self._enclosed is None and (self._function.layer / EXTENSIONS).is_dir():
            self.notices.append(f"the layer's {EXTENSIONS} are not started: a stream takes a Runtime API without them")
        self._enclosed = enclosed
        self._session = self._begin(self._server, enclosed)
        if not self._init_pid:
            raise LocalFailure("the sandbox did not start: " + ("\n".join(self._lines) or "it wrote nothing"))

    def _begin(self, server: RuntimeApiServer, enclosed: Enclosure) -> Session:
        session = server.new_session()
        self._is_cold = True
        self._launch(enclosed, enclosed.bootstrap or [self._bootstrap()])
        return session

    def _bootstrap(self) -> str:
        own = self._function.task / BOOTSTRAP
        return f"/var/task/{BOOTSTRAP}" if os.access(own, os.X_OK) and own.is_file() else f"/opt/{BOOTSTRAP}"

    def _read_output(self, process: subprocess.Popen[bytes]) -> None:
        server = self._server
        super()._read_output(process)  # until the last holder of the pipe has ended: nothing runs any more
        status = process.wait()  # no limit: its output has ended
        if server:
            server.end_session(status)

    def _tell_to_end(self, process: subprocess.Popen[bytes]) -> None:
        pid = self.runtime_pid
        if pid and self._session and self._session.has_extension:
            try:
                os.kill(pid, signal.SIGTERM)
                process.wait(GRACE_S)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        process.terminate()  # takes everything down at once
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(KILLED_WITHIN_S)
