"""Handler mode, composed: the user's function runs in this process, as in Lambda's managed Python runtime.

The order is that of the managed runtime: what the function's code finds when it is imported (its path, its environment,
its logs) is made ready first, then it is imported, and with the first next the function counts as started.
"""

from __future__ import annotations

import posix
import sys
from _frozen_importlib_external import PathFinder  # importlib.machinery is a file to read

from ..connection import keep_freed_memory
from ..dispatch import found_environment, users_environment, with_interpreter
from ..errors import InitFault, SnapshotFault
from ..loop import serve
from ..report import trace_of
from ..runtime_api import register_extension
from ..standard import standard_library
from ..waiting import run_blocking
from . import logs as handler_logs
from . import patchable
from .codec import Codec, decode, encode, orjson_codec
from .handler import HandlerExit, PythonHandler
from .lambda_context import Function
from .module import ExitAtInit, ending, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from ..config import Config
    from ..logs import Log
    from ..runtime_api import RuntimeApi
    from .callable_mode import CallableHandler
    from .logs import HandlerLogs

LAYER = "/opt/python"  # where layers with packages for Python have them


def run_handler(config: Config, environ: Mapping[str, str], argv: list[str], api: RuntimeApi, log: Log) -> None:
    """Serve invocations with the handler. The process ends here, with the user's exit code if there is one."""
    try:
        logs = prepare(config, environ, argv, log)
    except InitFault as fault:
        api.fail_init(fault)
        end(None, 1)
    # Kept in a local: the platform takes a closed socket for the extension's end.
    extension = register_extension(environ["AWS_LAMBDA_RUNTIME_API"], log) if config.shutdown_grace_ms else None
    if environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1") == "1":
        serve_alone(config, environ, logs, api, log)
    else:
        with standard_library:
            from ..pollers import serve_handlers_together  # Lambda Managed Instances

        serve_handlers_together(config, environ, lambda own_api: serve_alone(config, environ, logs, own_api, log), log)
    del extension
    end(logs, 1)


def serve_alone(config: Config, environ: Mapping[str, str], logs: HandlerLogs, api: RuntimeApi, log: Log) -> None:
    """Import the handler and serve invocations."""
    handler = handler_or_fault(config, environ, logs, api, log)
    if isinstance(handler, InitFault):  # and not where it is raised: that is nobody else's exception
        fail_init(handler, logs, api, log)
    warning = patchable.warning(":" in config.handler)
    if warning:
        log("WARN", warning)
    api.while_idle = handler.turn
    keep_freed_memory()
    try:
        if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            _pass_snapshot(api, log)
        run_blocking(serve(api, handler))
    except (HandlerExit, SnapshotFault) as fault:
        end(logs, fault.exit_code)
    except (SystemExit, KeyboardInterrupt) as error:  # from a signal handler of the user's, while nothing was invoked
        end(logs, ending(error, "a signal handler")[0] or 0)
    except BaseException:
        end_streams(logs)
        raise


def _pass_snapshot(api: RuntimeApi, log: Log) -> None:
    with standard_library:
        from ..snapstart import handler_hooks, pass_snapshot

    pass_snapshot(api, *handler_hooks(log))


def fail_init(fault: InitFault, logs: HandlerLogs, api: RuntimeApi, log: Log) -> NoReturn:
    """Say why the function cannot start, to all who want to know, and end the process."""
    if not fault.is_logged:
        logs.error(fault.name or fault.error_type, fault.message, fault.stack)
        fault.is_logged = True
    try:
        patchable.tell_init_error(fault)
    except Exception as error:  # of somebody else's code
        log("WARN", f"the failed start could not be told to {patchable.NAME}: {trace_of(error)}")
    api.fail_init(fault)
    end(logs, fault.exit_code if isinstance(fault, ExitAtInit) else 1)


def handler_or_fault(
    config: Config, environ: Mapping[str, str], logs: HandlerLogs, api: RuntimeApi, log: Log
) -> PythonHandler | CallableHandler | InitFault:
    """Returns the handler, or the fault that says why there is none."""
    try:
        return make_handler(config, environ, logs, api, log)
    except InitFault as fault:
        return fault


def make_handler(
    config: Config, environ: Mapping[str, str], logs: HandlerLogs, api: RuntimeApi, log: Log
) -> PythonHandler | CallableHandler:
    """Returns the handler. Raises ``InitFault``."""
    if ":" in config.handler:
        with standard_library:
            from .callable_mode import make_callable_handler

        return make_callable_handler(config, environ, logs, log)
    codec = choose_codec(config.json_codec)
    return PythonHandler(
        load(config.handler), codec, Function.from_env(environ), logs, api.open_stream, config.pad_empty_streams, log
    )


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


def prepare(config: Config, environ: Mapping[str, str], argv: list[str], log: Log) -> HandlerLogs:
    """Make this interpreter one in which the user's code finds what it finds on Lambda's managed runtime."""
    _put_back()
    patchable.install()
    standard_library.guard()
    logs = handler_logs.install(environ)  # after that: it looks for `logging` in front of all other finders
    customise(environ, log)
    sys.path[:0] = [*code_folders(environ), *python_path(environ)]
    standard_library.give_way()
    sys.argv[:] = [argv[0], config.handler]
    _add_builtins()
    _forget_own_command()
    return logs


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


def end(logs: HandlerLogs | None, code: int) -> NoReturn:
    """End the process with ``code``, after what the user's code has registered for the end."""
    end_streams(logs)
    posix._exit(code)  # not sys.exit: threads that wait for something would be waited for


def end_streams(logs: HandlerLogs | None) -> None:
    """Run what was registered with ``atexit``, and write what is still held back."""
    atexit = sys.modules.get("atexit")
    if atexit:
        atexit._run_exitfuncs()
    if logs:
        logs.flush()
