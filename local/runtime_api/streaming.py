"""The Runtime API of ``server`` for a function in a sandbox, where the emulator would collect what is streamed.

docs/local.md says what is different from the emulator.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ..sandbox.launcher import Code, Launcher
from ..sandbox.mounts import Bind
from ..sandbox.process import SandboxProcess
from .reply import Reply
from .server import RuntimeApiServer
from .session import Session, TimedOut, timed_out

BOOTSTRAP = "bootstrap"  # in the app's folder, where AWS looks first, or in the layer
EXTENSIONS = "extensions"
WITHOUT_EXTENSIONS = f"the layer's {EXTENSIONS} are not started: a stream takes a Runtime API without them"
# What the emulator grants a runtime that has registered an extension; without one there is no SIGTERM.
GRACE_S = 0.6
# What the emulator adds to the environment, except for empty credentials.
PLATFORM = {
    "AWS_LAMBDA_FUNCTION_NAME": "test_function",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/Functions",
    "AWS_LAMBDA_LOG_STREAM_NAME": "$LATEST",
}


class StreamingRuntimeApi:
    """Serves a function's invocations, and hands a streamed answer on while it comes.

    The runtime is started at once, and again within the next invocation when it has ended or was ended: a sandbox is
    one process and all below it, so ``/tmp`` is empty then.
    """

    def __init__(self, sandbox: SandboxProcess, timeout_s: int, code: Code) -> None:
        self._sandbox = sandbox
        self._timeout_s = timeout_s
        self.notices = [WITHOUT_EXTENSIONS] if (code.layer / EXTENSIONS).is_dir() else []
        own = code.task / BOOTSTRAP
        has_own = os.access(own, os.X_OK) and own.is_file()
        self._bootstrap = f"/var/task/{BOOTSTRAP}" if has_own else f"/opt/{BOOTSTRAP}"
        self._server = RuntimeApiServer()
        self._session: Session | None = None
        self._launcher: Launcher | None = None
        self.is_cold = True

    def program(self) -> Bind | None:
        """None: the server is outside of the sandbox."""
        return None

    def environment(self, configured: dict[str, str]) -> dict[str, str]:
        """The function's variables, with those of the platform."""
        return {**PLATFORM, **configured, "AWS_LAMBDA_RUNTIME_API": self._server.address}

    def start(self, launcher: Launcher) -> None:
        """Start the runtime. Raises ``LocalFailure`` when there is no sandbox for it."""
        self._launcher = launcher
        self._begin(launcher)
        if not self._sandbox.was_made:
            raise self._sandbox.not_started()

    def invoke(self, payload: bytes, headers: Mapping[str, str], on_answer: Callable[[Reply], object]) -> Reply:
        """Send the event; returns when the runtime has asked for the next one, or has ended.

        ``on_answer`` gets an answer that is there before: one that is streamed has to be read by it, or by a thread
        that it has told. Raises ``LocalFailure`` when the sandbox was stopped.
        """
        session = self._running_session()
        is_cold = self.is_cold
        notice = ""
        try:
            reply = session.invoke(payload, self._timeout_s, lambda early: on_answer(early._replace(is_cold=is_cold)))
        except TimedOut as late:
            session.stop()  # what the runtime streams while it ends, nobody gets any more
            self.end()
            reply = late.reply
            if reply != timed_out(self._timeout_s):
                notice = f"after its answer the runtime did not ask for more within {self._timeout_s} s, and was ended"
        self.is_cold = not self._sandbox.is_running
        return reply._replace(is_cold=is_cold, notice=self._sandbox.out_of_memory() or notice)

    def processes(self) -> list[int]:
        """The function's processes."""
        return self._sandbox.processes()

    def end(self) -> None:
        """End the runtime; one that has an extension is told first."""
        self._sandbox.end(is_told=bool(self._session and self._session.has_extension), patience_s=GRACE_S)

    def stop(self) -> None:
        """Break off the invocation that is under way, and end the runtime and its server."""
        if self._session:
            self._session.stop()
        self.end()
        self._server.close()

    def _running_session(self) -> Session:
        if not self._sandbox.is_running:
            self.end()
        with self._sandbox.while_open():
            if self._session is None or not self._sandbox.is_running:
                assert self._launcher is not None
                return self._begin(self._launcher)
            return self._session

    def _begin(self, launcher: Launcher) -> Session:
        self._session = session = self._server.new_session()
        self.is_cold = True
        self._sandbox.launch(launcher, launcher.bootstrap or [self._bootstrap], self._server.end_session)
        return session
