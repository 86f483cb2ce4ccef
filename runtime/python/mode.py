"""Handler mode, composed: the user's function runs in this process, as in Lambda's managed Python runtime.

The order is that of the managed runtime: what the function's code finds when it is imported (its path, its environment,
its logs) is made ready first, then it is imported, and with the first next the function counts as started.
"""

from __future__ import annotations

import posix
import sys
from _frozen_importlib_external import PathFinder  # importlib.machinery is a file to read

from ..dispatch import found_environment, users_environment, with_interpreter
from ..errors import InitFault
from ..report import trace_of
from ..standard import standard_library
from . import logs as handler_logs
from . import patchable
from .codec import Codec, decode, encode, orjson_codec
from .handler import PythonHandler
from .lambda_context import Function
from .module import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import Config
    from ..logs import Log
    from ..runtime_api import RuntimeApi
    from .callable_mode import CallableHandler
    from .logs import HandlerLogs

LAYER = "/opt/python"  # where layers with packages for Python have them


class HandlerMode:
    """Serves the invocations of a Python function in this process: a ``main.Mode``."""

    def __init__(self, config: Config, environ: Mapping[str, str], argv: list[str], log: Log) -> None:
        self._config = config
        self._environ = environ
        self._argv = argv
        self._log = log
        self._logs: HandlerLogs | None = None

    def start(self) -> None:
        """Make this interpreter one in which the user's code finds what it finds on Lambda's managed runtime."""
        _put_back()
        patchable.install()
        standard_library.guard()
        # After that: it looks for `logging` in front of all other finders.
        self._logs = handler_logs.install(self._environ)
        customise(self._environ, self._log)
        sys.path[:0] = [*code_folders(self._environ), *python_path(self._environ)]
        standard_library.give_way()
        sys.argv[:] = [self._argv[0], self._config.handler]
        _add_builtins()
        _forget_own_command()

    def handler(self, api: RuntimeApi) -> PythonHandler | CallableHandler:
        """Import what the handler names. Raises ``InitFault``."""
        config, environ, log = self._config, self._environ, self._log
        assert self._logs
        handler: PythonHandler | CallableHandler
        if ":" in config.handler:
            with standard_library:
                from .callable_mode import make_callable_handler

            handler = make_callable_handler(config, environ, self._logs, log)
        else:
            function, codec = load(config.handler), choose_codec(config.python.json_codec)
            constants, pads = Function.from_env(environ), config.answers.pad_empty_streams
            handler = PythonHandler(function, codec, constants, self._logs, api.open_stream, pads, log)
        warning = patchable.warning(":" in config.handler)
        if warning:
            log("WARN", warning)
        api.while_idle = handler.turn
        return handler

    def snapshot_hooks(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """Returns what to do before a snapshot, and after the restore."""
        with standard_library:
            from ..snapstart import handler_hooks

        return handler_hooks(self._log)

    def serve_together(self, count: int, serve_here: Callable[[RuntimeApi], int]) -> int:
        """Serve with ``count`` pollers, each a process. Returns the exit status."""
        with standard_library:
            from ..pollers import serve_handlers_together

        def serve(api: RuntimeApi) -> int:
            try:
                return serve_here(api)
            finally:
                self.end()

        return serve_handlers_together(count, self._config, self._environ, serve, self._log)

    def tell_failed_start(self, fault: InitFault) -> None:
        """Log it as the user's code logs, and tell agents that have asked for it."""
        if not self._logs:
            return
        if not fault.is_logged:
            self._logs.error(fault.name or fault.error_type, fault.message, fault.stack)
            fault.is_logged = True
        try:
            patchable.tell_init_error(fault)
        except Exception as error:  # of somebody else's code
            self._log("WARN", f"the failed start could not be told to {patchable.NAME}: {trace_of(error)}")

    def end(self) -> None:
        """Run what was registered with ``atexit``, and write what is still held back."""
        atexit = sys.modules.get("atexit")
        if atexit:
            atexit._run_exitfuncs()
        if self._logs:
            self._logs.flush()


def choose_codec(name: str) -> Codec:
    """The codec of that name. Raises ``InitFault`` when it is not installed."""
    if name != "orjson":
        return Codec(decode, encode)
    try:
        return orjson_codec()
    except ImportError as error:
        message = (
            f"FAIRLEAD_JSON_CODEC=orjson needs orjson, which cannot be imported ({error}): build the layer with"
            " ./build-layer.sh --with orjson, or put orjson beside your code, or remove the setting"
        )
        raise InitFault("Runtime.InvalidConfig", message) from None


def _put_back() -> None:
    """Make the process's environment the user's. There are two of it, which have to agree.

    ``os.environ`` will be made of the one dictionary; C libraries, and child processes that are given none, have the
    other.
    """
    found = found_environment()
    given = with_interpreter(users_environment(found))
    if "LC_CTYPE" in found:  # what CPython sets where there is no locale (PEP 538) is what any Python process has
        given["LC_CTYPE"] = found["LC_CTYPE"]
    for name in found.keys() - given.keys():
        posix.environ.pop(name.encode(), None)
        posix.unsetenv(name)
    for name, value in given.items() - found.items():
        posix.environ[name.encode()] = value.encode("utf-8", "surrogateescape")
        posix.putenv(name, value)


def code_folders(environ: Mapping[str, str]) -> list[str]:
    """Where the managed runtime looks for the function's code and for its layers' packages, in its order."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    root = environ.get("LAMBDA_TASK_ROOT") or posix.getcwd()
    return [root, f"{LAYER}/lib/{version}/site-packages", LAYER]


def python_path(environ: Mapping[str, str]) -> list[str]:
    """Returns the folders that PYTHONPATH names. The interpreter ignores it (-I), for its own start's sake."""
    return [folder for folder in environ.get("PYTHONPATH", "").split(":") if folder]


def customise(environ: Mapping[str, str], log: Log) -> None:
    """Do what ``site`` would have done, had the interpreter not been started without it: 2 ms for nothing in web mode.

    The layer's sitecustomize tells OpenSSL where the system's certificates are. Agents that trace applications bring
    one of their own and put it on PYTHONPATH.
    """
    _import_quietly("sitecustomize", log)
    folders = python_path(environ)
    if folders:
        spec = PathFinder.find_spec("sitecustomize", folders)
        if spec:
            sys.modules.pop("sitecustomize", None)
            before = sys.path[:]
            sys.path[:0] = folders
            _import_quietly("sitecustomize", log)
            sys.path[:] = [*before, *(folder for folder in sys.path if folder not in (*before, *folders))]


def _import_quietly(name: str, log: Log) -> None:
    """Import a module. An error is logged and is not the end, as ``site`` does it."""
    try:
        __import__(name)
    except ImportError as error:
        if error.name != name:
            log("WARN", f"{name} could not be imported: {trace_of(error)}")
    except BaseException as error:  # sys.exit included: it is not this module's to end the function
        log("WARN", f"{name} could not be imported: {trace_of(error)}")


def _add_builtins() -> None:
    """``exit`` and ``quit`` come from ``site``, and code that is meant for a console uses them."""
    builtins = sys.modules["builtins"]
    for name in ("exit", "quit"):
        if not hasattr(builtins, name):
            setattr(builtins, name, sys.exit)


def _forget_own_command() -> None:
    """From Python 3.13 on tracebacks know the text after ``-c``, and show it for whatever comes from ``eval``."""
    kept = getattr(sys.modules.get("linecache"), "_interactive_cache", {})
    kept.clear()
