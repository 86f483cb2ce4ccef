"""Counts the calls, files, changes of file and depth of an invocation, and the size of the code.

Run as ``python -m bench.count`` (``make count``). Nothing here is timed, so that the figures are the same on each
machine with the same Python. Counted are calls of functions in ``runtime/``, from the return of one ``next`` to the
return of the one after it, or from ``main()`` to the end of a process whose init fails; CPython before 3.12 counts
comprehensions as calls. Calls of functions in C are not counted. A change of file is a call in another file than the
call before it; a return is none. The depth is the number of such functions on the stack.
"""

from __future__ import annotations

import ast
import json
import os
import posix
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.config import Config
from runtime.invocation import Invocation
from runtime.logs import Log
from runtime.loop import serve_one
from runtime.python.codec import Codec, decode, encode
from runtime.python.handler import PythonHandler
from runtime.python.lambda_context import Function
from runtime.runtime_api import RuntimeApi
from runtime.waiting import run_blocking
from runtime.web.app_client import OwnedApp
from runtime.web.middleware import HandlerFactory, hooks_of
from tests.events import function_url

if TYPE_CHECKING:
    from runtime.loop import Handler

ROOT = Path(__file__).parents[1]
RUNTIME = f"{ROOT}/runtime/"
FOLDERS = ("runtime", "local", "layer", "bench")
CO_OPTIMIZED = 1  # of functions, and of neither modules nor classes
WARM = 3  # what is remembered and what is imported late is there after so many invocations
LONG, VERY_LONG = 30, 50  # lines of a function
RIDDLES = ("What ", "The same", "As ``")
ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
NEXT = (
    "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c{number:04d}\r\n"
    "Lambda-Runtime-Deadline-Ms: {deadline}\r\n"
    "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:f\r\n"
    "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1\r\n"
    "Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
)
PAGE = b"<html>" + b"a page that is worth compressing " * 40
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n%b" % (
    len(PAGE),
    PAGE,
)
MIDDLEWARE = {
    "FAIRLEAD_ENABLE_COMPRESSION": "true",
    "FAIRLEAD_ERROR_STATUS_CODES": "500-599",
    "FAIRLEAD_SNAPSTART_AFTER_RESTORE_PATH": "/restored",
    "FAIRLEAD_TRACING": "xray",
}
HOOKS = "def on_request(request):\n    return None\n\ndef on_response(request, response):\n    return None\n"


class Count(NamedTuple):
    """The counts between two moments."""

    calls: int
    functions: int
    files: int
    changes: int
    depth: int


class Counter:
    """Counts the calls of functions whose code lies below ``folder``, while its block runs."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._calls: list[tuple[str, str, int]] = []

    def __enter__(self) -> Counter:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, what: str, _argument: object) -> None:
        if what == "call" and self._is_ours(frame):
            code, depth = frame.f_code, 0
            outer: FrameType | None = frame
            while outer:
                depth += self._is_ours(outer)
                outer = outer.f_back
            self._calls.append((code.co_filename, f"{code.co_name}:{code.co_firstlineno}", depth))

    def _is_ours(self, frame: FrameType) -> bool:
        return frame.f_code.co_filename.startswith(self._folder) and bool(frame.f_code.co_flags & CO_OPTIMIZED)

    @property
    def count(self) -> Count:
        """The counts so far."""
        calls = self._calls
        files = [file for file, _, _ in calls]
        changes = sum(one != other for one, other in pairwise(files))
        functions = {(file, name) for file, name, _ in calls}
        return Count(
            len(calls), len(functions), len(set(files)), changes, max((depth for *_, depth in calls), default=0)
        )


# ---- invocations ----------------------------------------------------------------------------------------------------


class LivingProcess:
    """The process of an app that lives: what ``OwnedApp`` asks of one in the usual case."""

    pid = 1

    def ended(self) -> None:
        """Do nothing: the process has not ended."""


def request_body(reader: Any) -> tuple[bytes, bytes]:
    """The request line and the body of the next request, ``b""`` at the end of the connection."""
    line, fields = reader.readline(), {}
    while text := reader.readline().strip():
        name, _, value = text.lower().partition(b":")
        fields[name] = value.strip()
    if fields.get(b"transfer-encoding") != b"chunked":
        return line, reader.read(int(fields.get(b"content-length", 0)))
    while size := int(reader.readline(), 16):
        reader.read(size + 2)
    while reader.readline().strip():
        pass
    return line, b""


def answer_next(listener: socket.socket, payload: bytes) -> None:
    """Play the Runtime API: give the one payload again and again, and accept each answer."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as reader:
        number = 0
        while (request := request_body(reader))[0]:
            number += 1
            head = NEXT.format(number=number, deadline=int(time.time() * 1000) + 60_000, size=len(payload))
            connection.sendall(head.encode() + payload if request[0].startswith(b"GET") else ACCEPTED)


def answer_requests(listener: socket.socket) -> None:
    """Play the app: one page for each request."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as reader:
        while request_body(reader)[0]:
            connection.sendall(ANSWER)


@contextmanager
def served(serve: Callable[..., None], *arguments: object) -> Iterator[int]:
    """The port at which ``serve`` takes one connection, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener, *arguments), daemon=True).start()
        yield listener.getsockname()[1]


def counted(api: RuntimeApi, handler: Handler) -> Count:
    """Count one warm invocation."""

    async def invoke() -> None:
        await serve_one(api, handler, await api.next())
        rest = handler.after_response()
        if rest:
            await rest

    async def invoke_counted() -> Count:
        for _ in range(WARM):
            await invoke()
        invocation = await api.next()
        with Counter(RUNTIME) as counter:
            await serve_one(api, handler, invocation)
            rest = handler.after_response()
            if rest:
                await rest
            await api.next()
        return counter.count

    return run_blocking(invoke_counted())


def web_invocation(settings: dict[str, str], hooks: str = "") -> Count:
    """A GET through web mode with these settings, and with hooks if there is a file of them."""
    event = function_url("GET", "/small")
    event["headers"]["accept-encoding"] = "gzip"
    payload = json.dumps(event, separators=(",", ":")).encode()
    with (
        served(answer_next, payload) as api_port,
        served(answer_requests) as port,
        tempfile.TemporaryDirectory() as root,
    ):
        if hooks:
            (Path(root) / "fairlead_hooks.py").write_text(hooks)
        environ = {"FAIRLEAD_COMMAND": "app", "FAIRLEAD_PORT": str(port), "LAMBDA_TASK_ROOT": root, **settings}
        config, log = Config.from_env(environ), Log()
        app = OwnedApp(config, LivingProcess(), log)  # type: ignore[arg-type]
        app._ready = True
        factory = HandlerFactory(config, environ, log, hooks_of(environ), time.time(), time.time(), lambda: 0)
        return counted(RuntimeApi(f"127.0.0.1:{api_port}", log), factory.handler_of(app))


class SilentLogs:
    """The logs of a handler that writes nothing."""

    def begin(self, invocation: Invocation) -> None:
        """Nothing is to be prepared."""


def handler_invocation() -> Count:
    """A call of a Python handler."""
    with served(answer_next, b'{"key":"value"}') as api_port:
        log = Log()
        api = RuntimeApi(f"127.0.0.1:{api_port}", log)
        codec, logs = Codec(decode, encode), SilentLogs()
        function = Function.from_env({"AWS_LAMBDA_FUNCTION_NAME": "f"})
        handler = PythonHandler(lambda event, context: event, codec, function, logs, api.open_stream, False, log)  # type: ignore[arg-type]
        return counted(api, handler)


def failing_init(told: Path) -> None:
    """Be a process whose init fails, since the function's module is missing. ``told`` gets the count, as JSON."""
    from runtime.main import main as run_runtime

    exit_now = posix._exit
    counter = Counter(RUNTIME)

    def end(status: int) -> None:
        sys.setprofile(None)
        told.write_text(json.dumps(counter.count._asdict()))
        exit_now(status)

    posix._exit = end  # type: ignore[assignment]
    sys.argv[1:] = ["bootstrap"]
    with counter:
        run_runtime()


def init_failure() -> Count:
    """A start whose init fails, in a process of its own."""
    with served(answer_next, b"{}") as api_port, tempfile.TemporaryDirectory() as root:
        environ = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api_port}",
            "FAIRLEAD_SHUTDOWN_GRACE_MS": "0",  # no extension, which would be a second connection
            "LAMBDA_TASK_ROOT": root,
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "_HANDLER": "absent.handler",
        }
        told = Path(root) / "count"
        command = [sys.executable, "-m", "bench.count", "--init-failure", str(told)]
        subprocess.run(command, cwd=root, env=environ, capture_output=True, check=False, timeout=60)
        return Count(**json.loads(told.read_text()))


def invocations() -> dict[str, Count]:
    """Count each kind of invocation, and a start that fails."""
    return {
        "GET": web_invocation({}),
        "GET, streamed": web_invocation({"FAIRLEAD_INVOKE_MODE": "response_stream"}),
        "GET, all middleware": web_invocation(MIDDLEWARE, HOOKS),
        "handler": handler_invocation(),
        "init failure": init_failure(),
    }


# ---- the house ------------------------------------------------------------------------------------------------------


def sources(folder: str) -> list[Path]:
    """The Python files below a folder of the project."""
    return sorted((ROOT / folder).rglob("*.py"))


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions that a file defines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def has_await(function: ast.AsyncFunctionDef) -> bool:
    """Whether the coroutine waits for anything."""
    return any(isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) for node in ast.walk(function))


def riddles(path: Path) -> int:
    """How many docstrings of a file begin in a way that a first-time reader has to read twice."""
    tree = ast.parse(path.read_text())
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    return sum(text.startswith(RIDDLES) for text in texts)


def main() -> None:
    """Print the tables; or only what invocations count, as JSON, with ``--json``."""
    if sys.argv[1:2] == ["--init-failure"]:
        failing_init(Path(sys.argv[2]))
    if sys.argv[1:] == ["--json"]:
        print(json.dumps({name: count._asdict() for name, count in invocations().items()}))
        return
    print(f"{'':24}{'calls':>8}{'functions':>11}{'files':>7}{'changes':>9}{'depth':>7}")
    for name, count in invocations().items():
        print(f"{name:24}{count.calls:>8}{count.functions:>11}{count.files:>7}{count.changes:>9}{count.depth:>7}")
    print(f"\n{'':24}{'files':>8}{'lines':>11}{f'>{LONG}':>7}{f'>{VERY_LONG}':>9}{'longest':>9}{'riddles':>9}")
    for folder in FOLDERS:
        paths = sources(folder)
        lengths = [(one.end_lineno or 0) - one.lineno + 1 for path in paths for one in functions_of(path)]
        lines = sum(len(path.read_text().splitlines()) for path in paths)
        long, very_long = (sum(length > limit for length in lengths) for limit in (LONG, VERY_LONG))
        unclear = sum(map(riddles, paths))
        print(f"{folder:24}{len(paths):>8}{lines:>11}{long:>7}{very_long:>9}{max(lengths):>9}{unclear:>9}")
    coroutines = [
        one for path in sources("runtime") for one in functions_of(path) if isinstance(one, ast.AsyncFunctionDef)
    ]
    idle = sum(not has_await(one) for one in coroutines)
    print(f"\nruntime: {len(coroutines)} coroutines, {idle} of them without an await (protocols included)")


if __name__ == "__main__":
    main()
