"""Decides what is run, a command or a Python handler, and which of our environment the app may see.

``bootstrap`` decides the same for a command before any Python runs, because it starts the app early.
tests/conformance/test_dispatch.py runs one table through both.
"""

from __future__ import annotations

import posix
import sys

from .errors import InitFault
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# The Runtime API has no authentication: whoever knows its address can take the next event or forge an answer
# (an SSRF hole in the app is enough), so the app does not learn it. _HANDLER is ours to interpret.
HIDDEN_FROM_APP = (
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "_HANDLER",
    "_LAMBDA_TELEMETRY_LOG_FD",
    "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET",
)
# Handed from `bootstrap` to us. `bootstrap` removes those that were given.
PRIVATE_PREFIX = "_FAIRLEAD_"
# What `bootstrap` hands on under the private prefix, because the interpreter would use it, or would set it, for itself
# and its child processes, where there is no locale like LANG's (PEP 538); or because bash counts in it (SHLVL).
KEPT_BY_BOOTSTRAP = ("LD_PRELOAD", "LC_CTYPE", "SHLVL")
EXEC_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
# Handed through a wrapper to the `bootstrap` that it runs (python/wrapper.py), and which removes what has the prefix.
WRAPPED = "__FAIRLEAD_WRAPPED"
# Where the layer's interpreter is, below the folder of `bootstrap`.
LAYER_INTERPRETER = "/fairlead/bin/python3"
# In the function's folder: Python of the user's between the event and the app.
HOOK_FILE = "fairlead_hooks.py"
# Of the environment's variables those that are needed for as long as the process lives. None of them is a secret, nor
# one of the function's own.
PLATFORM_VARIABLES = (
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_TASK_ROOT",
    "PYTHONPATH",
    "TMPDIR",
    "_LAMBDA_TELEMETRY_LOG_FD",
)
# The variables that this process was started with. User code may change `posix.environ`.
_FOUND = dict(posix.environ)


class Work(NamedTuple):
    """The app's argument vector, or else ``module.function`` (Lambda's kind) or ``module:callable`` (the web's)."""

    command: tuple[str, ...] = ()
    handler: str = ""
    event_mode: str = ""  # the one that the command needs; "": as configured
    javascript: str = ""  # what the command is the host of: "fetch", "handler" or nothing of ours
    variables: tuple[tuple[str, str], ...] = ()  # that the command gets, unless the function sets them itself


class EarlyStart(NamedTuple):
    """The start that `bootstrap` has made already: the app's ``pid`` (0: none) and the descriptor of its stderr."""

    pid: int
    stderr: int
    began: float  # when `bootstrap` was started, in epoch seconds; 0 when there was none
    status: str  # of an app that has ended already, as shells have it; "" of one that runs

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> EarlyStart:
        def value(name: str) -> str:
            return environ.get(PRIVATE_PREFIX + name) or "0"

        status = environ.get(PRIVATE_PREFIX + "APP_STATUS", "")
        return cls(int(value("APP_PID")), int(value("APP_STDERR")), float(value("STARTED")), status)


def choose_work(
    environ: Mapping[str, str], arguments: Sequence[str], program: str, shell: str, javascript: str
) -> Work:
    """Chooses what to run. The first that holds: the setting, our arguments, ``_HANDLER`` as a script or a module.

    Raises ``InitFault``: ``Runtime.HandlerNotFound`` naming what was looked for, or ``Runtime.MalformedHandlerName``.
    """
    wrapper = wrapper_for(environ, program)
    we_are_the_wrapper = not wrapper and bool(environ.get(EXEC_WRAPPER))
    work = Work()
    if shell:
        command: tuple[str, ...] = ("/bin/sh", "-c", shell)
    elif arguments and not we_are_the_wrapper:  # a container's CMD
        command = tuple(arguments)
    else:
        root = environ.get("LAMBDA_TASK_ROOT") or posix.getcwd()
        handler = environ.get("_HANDLER", "").removeprefix(root + "/")
        command = _start_script(root, handler)
        if not command and not _is_python(root, handler):
            work = _javascript(root, handler, javascript, environ)
            command = work.command
        if not command:
            return Work(handler=_python_handler(root, handler))
    if wrapper:  # `provided.*` ignores the variable, so it is ours to honour
        command = (wrapper, *command)
    return work._replace(command=command)


def _is_python(root: str, handler: str) -> bool:
    path = f"{root}/{handler.rpartition('.')[0].replace('.', '/')}"
    return _is_file(f"{path}.py") or _is_file(f"{path}/__init__.py")


def _javascript(root: str, handler: str, runtime: str, environ: Mapping[str, str]) -> Work:
    """The host of a JavaScript module, if the handler means one."""
    from .javascript import module  # only when the handler is neither a script nor Python

    if _leaves_the_root(handler):
        return Work()
    disk = module.Disk(_is_file, _is_folder, _text_of)
    found = next((candidate for candidate in module.modules_of(root, handler, disk) if _is_file(candidate.file)), None)
    if not found:
        before = handler.partition("..")[0]
        if before != handler and any(_is_file(f"{root}/{before}{suffix}") for suffix in module.SUFFIXES):
            raise InitFault("Runtime.MalformedHandlerName", f"the handler {handler!r} has two dots in a row")
        return Work()
    host = module.host_of(found, root, handler, runtime, lambda name: _on_path(name, environ.get("PATH", "")), disk)
    if found.name == module.FETCH:
        return Work(host.command, event_mode="http", javascript="fetch", variables=host.variables)
    # Agents read it, and put a handler of theirs in its place. Apps do not get it.
    variables = (("_HANDLER", handler), *host.variables)
    return Work(host.command, event_mode="raw", javascript="handler", variables=variables)


def _first_file(paths: Iterable[str]) -> str:
    return next(filter(_is_file, paths), "")


def _on_path(program: str, path: str) -> str:
    candidates = (f"{folder}/{program}" for folder in path.split(":") if folder)
    return _first_file(found for found in candidates if posix.access(found, posix.X_OK))


def _start_script(root: str, handler: str) -> tuple[str, ...]:
    path = f"{root}/{handler}"
    if handler and not _leaves_the_root(handler) and _is_file(path):
        if posix.access(path, posix.X_OK):
            return (path,)
        if path.endswith(".sh"):
            return ("/bin/sh", path)
    return ()


def _python_handler(root: str, handler: str) -> str:
    """``handler`` if it has the form of one in Python."""
    module, _, attribute = handler.rpartition(":" if ":" in handler else ".")
    is_named = (
        module
        and all(part.isidentifier() for part in attribute.split("."))
        and "\0" not in handler
        and attribute != "sh"
    )
    if not is_named or _is_file(f"{root}/{handler}") or _is_folder(f"{root}/{handler}"):
        raise InitFault(_fault_of(root, handler), _nothing_to_run(root, handler))
    if _leaves_the_root(handler) or handler.startswith((".", "/")):
        raise InitFault(
            "Runtime.MalformedHandlerName",
            f"the handler {handler!r} must lie in {root}, as module.function or folder/module.function",
        )
    return handler


def _fault_of(root: str, handler: str) -> str:
    path = f"{root}/{handler}"
    is_a_mere_word = handler.isidentifier() and not _is_file(path) and not _is_folder(path)
    return "Runtime.MalformedHandlerName" if is_a_mere_word else "Runtime.HandlerNotFound"


def _nothing_to_run(root: str, handler: str) -> str:
    ways = (
        "set the handler to your start script (such as run.sh), to a function (module.function; index.fetch) or to a"
        " Python web app (module:app), or FAIRLEAD_COMMAND to a command line"
    )
    if not handler:
        return f"there is nothing to run: {ways}"
    path = f"{root}/{handler}"
    if _is_file(path):
        return f"the handler {handler!r} is a file that is not executable: chmod +x it, or {ways}"
    return f"the handler {handler!r} is no executable file and no *.sh file ({path}), and no module.function: {ways}"


def _leaves_the_root(handler: str) -> bool:
    return "/../" in f"/{handler}/"


def _is_file(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o100000
    except (OSError, ValueError):
        return False


def _is_folder(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except (OSError, ValueError):
        return False


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def is_same_file(one: str, other: str) -> bool:
    """Whether both paths lead to one file that exists."""
    if not one or not other:
        return False
    try:
        left, right = posix.stat(one), posix.stat(other)
    except (OSError, ValueError):
        return False
    return (left.st_dev, left.st_ino) == (right.st_dev, right.st_ino)


def wrapper_for(environ: Mapping[str, str], program: str) -> str:
    """The exec wrapper that is to be run around ours, once; "" when there is none, or when it is ``program``, ours."""
    wrapper = environ.get(EXEC_WRAPPER, "")
    return "" if is_same_file(wrapper, program) else wrapper


def found_environment() -> dict[str, str]:
    """The environment that this process was started with.

    Whoever asks for it must have let go of it when user code runs. That code's error trackers and loggers show the
    local variables of the frames below it, and credentials are in here.
    """
    return {_text(name): _text(value) for name, value in _FOUND.items()}


def adopt_environment(environment: Mapping[bytes, bytes]) -> None:
    """Make ``environment`` what this process was started with."""
    for name in _FOUND.keys() - environment.keys():
        posix.environ.pop(name, None)
        posix.unsetenv(name)
    for name, value in environment.items():
        posix.environ[name] = value
        posix.putenv(name, value)
    _FOUND.clear()
    _FOUND.update(environment)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def platform_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that describe the function and where it runs: these may be at hand while user code runs."""
    return {name: environ[name] for name in PLATFORM_VARIABLES if name in environ}


def app_environment(environ: Mapping[str, str], port: int, variables: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """The environment that the app gets, from ours: without what it must not know, with ``PORT`` and unbuffered.

    And with ``variables``, where ``environ`` does not set them.
    """
    hidden = {*HIDDEN_FROM_APP, EXEC_WRAPPER}  # a wrapper is honoured once
    shown = {name: value for name, value in with_interpreter(users_environment(environ)).items() if name not in hidden}
    # Python holds back up to 8 KiB of what is printed to a pipe, and Lambda ends a function without notice.
    return {"PYTHONUNBUFFERED": "1", **dict(variables), **shown, "PORT": str(port)}


def users_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment as `bootstrap` has found it, from what it has made of it for our sake."""
    given = {name: value for name, value in environ.items() if not name.startswith((PRIVATE_PREFIX, WRAPPED))}
    for name in KEPT_BY_BOOTSTRAP:
        original = environ.get(PRIVATE_PREFIX + name)
        if original:
            given[name] = original
        elif original is not None:  # None: started without `bootstrap`
            given.pop(name, None)
    return given


def with_interpreter(environ: dict[str, str]) -> dict[str, str]:
    """``environ`` with the layer's interpreter at the end of its PATH, for wrappers and scripts that call ``python3``.

    ``provided.al2023`` has none. Whoever brings one finds that first, as before.
    """
    path, folder = environ.get("PATH"), sys.executable.rpartition("/")[0]
    is_the_layers = sys.executable.endswith(LAYER_INTERPRETER)
    if path is None or not is_the_layers or folder in path.split(":"):
        return environ
    return {**environ, "PATH": f"{path}:{folder}"}
