"""Every setting, read once and strictly: ``Config.from_env`` is the only place that knows the environment's spelling.

``bootstrap`` has to decide a few of the same things before any Python runs (which command, which port, which variables
the app must not see), because it starts the app early. tests/conformance/test_dispatch.py runs one table through both.
"""

from __future__ import annotations

import posix

from .errors import InitFault
from .messages import is_token
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

# The Runtime API has no authentication: whoever knows its address can take the next event or forge an answer
# (an SSRF hole in the app is enough), so the app does not learn it. _HANDLER is ours to interpret.
HIDDEN_FROM_APP = (
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "_HANDLER",
    "_LAMBDA_TELEMETRY_LOG_FD",
    "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET",
)
# Handed from `bootstrap` to us. Lambda refuses customer variables that begin with an underscore, so none can be forged.
PRIVATE_PREFIX = "_FAIRLEAD_"
EXEC_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"


def _integer(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest):
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def _choice(**meanings: Any) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if text.lower() not in meanings:
            raise ValueError("one of " + ", ".join(meanings))
        return meanings[text.lower()]

    return parse


_boolean = _choice(true=True, false=False)


def _path(text: str) -> str:
    if not (text.startswith("/") and text.isascii() and text.isprintable() and " " not in text and "#" not in text):
        raise ValueError("a path that begins with / and has no spaces, such as /health")
    return text


def _field_name(text: str) -> str:
    if not is_token(text):
        raise ValueError("the name of a header, such as x-authorization")
    return text.lower()


def _host(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    if not host or not host.isascii() or not host.isprintable() or any(mark in host for mark in " /@[]"):
        raise ValueError("a host name or IP address without port, such as 127.0.0.1 or ::1")
    return host


def _statuses(text: str) -> tuple[tuple[int, int], ...]:
    ranges = []
    for item in text.split(","):
        low, dash, high = item.strip().partition("-")
        are_numbers = text.isascii() and low.isdigit() and (high.isdigit() or not dash) and len(low + high) <= 6
        if not (are_numbers and 100 <= int(low) <= int(high or low) <= 599):
            raise ValueError("statuses and ranges from 100 to 599 with commas between them, such as 200-399,404")
        ranges.append((int(low), int(high or low)))
    return tuple(ranges)


def _command(text: str) -> str:
    if "\0" in text or not text.strip():
        raise ValueError("a command line for sh")
    return text


class Setting(NamedTuple):
    """``field`` of ``Config`` comes from ``name``, else from the first of ``aliases`` that is set, else ``default``."""

    field: str
    name: str
    aliases: tuple[str, ...]
    default: str
    parse: Callable[[str], Any]


SETTINGS = (
    Setting("shell_command", "FAIRLEAD_COMMAND", (), "", _command),
    # PORT is what platforms and frameworks agree on; the peer reads it too.
    Setting("port", "FAIRLEAD_PORT", ("AWS_LWA_PORT", "PORT"), "8080", _integer(1, 65535)),
    Setting("host", "FAIRLEAD_HOST", ("AWS_LWA_HOST",), "127.0.0.1", _host),
    Setting(
        "readiness_protocol",
        "FAIRLEAD_READINESS_CHECK_PROTOCOL",
        ("AWS_LWA_READINESS_CHECK_PROTOCOL",),
        "http",
        _choice(http="http", tcp="tcp"),
    ),
    Setting("readiness_path", "FAIRLEAD_READINESS_CHECK_PATH", ("AWS_LWA_READINESS_CHECK_PATH",), "/", _path),
    # 0: the app's own port
    Setting(
        "readiness_port", "FAIRLEAD_READINESS_CHECK_PORT", ("AWS_LWA_READINESS_CHECK_PORT",), "0", _integer(0, 65535)
    ),
    Setting(
        "healthy_statuses",
        "FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS",
        ("AWS_LWA_READINESS_CHECK_HEALTHY_STATUS",),
        "100-499",
        _statuses,
    ),
    # Lambda ends a slow init after 10 s and runs it again inside the first invocation, under the function's timeout:
    # the limit here only has to be longer than any start that is meant.
    Setting(
        "readiness_timeout_s",
        "FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS",
        ("AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS",),
        "120",
        _integer(1, 900),
    ),
    Setting("async_init", "FAIRLEAD_ASYNC_INIT", ("AWS_LWA_ASYNC_INIT",), "false", _boolean),
    Setting("events_path", "FAIRLEAD_PASS_THROUGH_PATH", ("AWS_LWA_PASS_THROUGH_PATH",), "/events", _path),
    Setting("base_path", "FAIRLEAD_REMOVE_BASE_PATH", ("AWS_LWA_REMOVE_BASE_PATH",), "", _path),
    Setting(
        "authorization_source", "FAIRLEAD_AUTHORIZATION_SOURCE", ("AWS_LWA_AUTHORIZATION_SOURCE",), "", _field_name
    ),
    Setting("context_headers", "FAIRLEAD_CONTEXT_HEADERS", (), "true", _boolean),
    Setting("app_faults", "FAIRLEAD_APP_FAULTS", (), "response", _choice(response="response", error="error")),
    Setting("deadline_margin_ms", "FAIRLEAD_DEADLINE_MARGIN_MS", (), "200", _integer(0, 60_000)),
    Setting("shutdown_grace_ms", "FAIRLEAD_SHUTDOWN_GRACE_MS", (), "400", _integer(0, 1500)),
)


class Config(NamedTuple):
    """The settings of docs/settings.md, checked, and what is to be run."""

    command: tuple[str, ...]  # the app, in web mode; never empty
    app_environment: dict[str, str]
    host: str
    port: int
    readiness_protocol: str
    readiness_path: str
    readiness_port: int
    healthy_statuses: tuple[tuple[int, int], ...]
    readiness_timeout_s: int
    async_init: bool
    events_path: str
    base_path: str
    authorization_source: str
    context_headers: bool
    app_faults: str
    deadline_margin_ms: int
    shutdown_grace_ms: int

    @classmethod
    def from_env(cls, environ: Mapping[str, str], arguments: Sequence[str] = (), program: str = "") -> Config:
        """The configuration that ``environ`` and the ``arguments`` given to ``program`` (our own file) describe.

        Raises ``InitFault`` ``Runtime.InvalidConfig`` that names every problem at once, or ``Runtime.HandlerNotFound``
        when there is nothing to run.
        """
        values, problems = read_settings(environ)
        problems += unknown_settings(environ)
        if problems:
            raise InitFault("Runtime.InvalidConfig", _described(problems))
        shell_command = values.pop("shell_command")
        values["readiness_port"] = values["readiness_port"] or values["port"]
        command = choose_command(environ, arguments, program, shell_command)
        return cls(command=command, app_environment=app_environment(environ, values["port"]), **values)


def read_settings(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Field values, and one sentence for each that is not allowed. A variable set to nothing counts as not set."""
    values: dict[str, Any] = {}
    problems = []
    for setting in SETTINGS:
        names = (setting.name, *setting.aliases)
        name = next((name for name in names if environ.get(name)), None)
        if name is None:
            values[setting.field] = setting.parse(setting.default) if setting.default else ""
            continue
        try:
            values[setting.field] = setting.parse(environ[name])
        except ValueError as allowed:
            problems.append(f"{name}={environ[name]!r} must be {allowed}")
    return values, problems


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """One sentence for each variable that looks like a setting and is none: a typo must not become a silent default."""
    known = {name for setting in SETTINGS for name in (setting.name, *setting.aliases)}
    suspects = [name for name in environ if name.startswith(("FAIRLEAD_", "AWS_LWA_")) and environ[name]]
    problems = []
    for name in sorted(set(suspects) - known):
        if name.startswith("AWS_LWA_"):
            problems.append(f"{name} is not supported; remove it")
            continue
        import difflib  # only when something is wrong already

        near = difflib.get_close_matches(name, known, 1)
        problems.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return problems


def _described(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} settings are wrong: " + "; ".join(problems)


def choose_command(environ: Mapping[str, str], arguments: Sequence[str], program: str, shell: str) -> tuple[str, ...]:
    """The app's argument vector. The first that holds: the setting, our arguments, ``_HANDLER`` as a start script.

    Raises ``InitFault`` ``Runtime.HandlerNotFound`` naming what was looked for.
    """
    wrapper = environ.get(EXEC_WRAPPER, "")
    we_are_the_wrapper = _same_file(wrapper, program)
    if shell:
        command: tuple[str, ...] = ("/bin/sh", "-c", shell)
    elif arguments and not we_are_the_wrapper:  # a container's CMD
        command = tuple(arguments)
    else:
        command = _start_script(environ)
    if wrapper and not we_are_the_wrapper:  # `provided.*` ignores the variable, so it is ours to honour
        return (wrapper, *command)
    return command


def _start_script(environ: Mapping[str, str]) -> tuple[str, ...]:
    root = environ.get("LAMBDA_TASK_ROOT") or posix.getcwd()
    handler = environ.get("_HANDLER", "").removeprefix(root + "/")
    path = f"{root}/{handler}"
    is_inside = handler and "/../" not in f"/{handler}/"
    if is_inside and _is_file(path):
        if posix.access(path, posix.X_OK):
            return (path,)
        if path.endswith(".sh"):
            return ("/bin/sh", path)
    raise InitFault("Runtime.HandlerNotFound", _nothing_to_run(handler, path))


def _nothing_to_run(handler: str, path: str) -> str:
    ways = "set the handler to your start script (such as run.sh), or FAIRLEAD_COMMAND to a command line"
    if not handler:
        return f"there is nothing to run: {ways}"
    if _is_file(path):
        return f"the handler {handler!r} is a file that is not executable: chmod +x it, or {ways}"
    return f"the handler {handler!r} is no executable file and no *.sh file ({path}): {ways}"


def _is_file(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o100000
    except (OSError, ValueError):
        return False


def _same_file(one: str, other: str) -> bool:
    if not one or not other:
        return False
    try:
        left, right = posix.stat(one), posix.stat(other)
    except (OSError, ValueError):
        return False
    return (left.st_dev, left.st_ino) == (right.st_dev, right.st_ino)


def app_environment(environ: Mapping[str, str], port: int) -> dict[str, str]:
    """The environment that the app gets, from ours: without what it must not know, with ``PORT``."""
    hidden = {*HIDDEN_FROM_APP, EXEC_WRAPPER}  # a wrapper is honoured once
    kept = {k: v for k, v in environ.items() if k not in hidden and not k.startswith(PRIVATE_PREFIX)}
    preload = environ.get(PRIVATE_PREFIX + "LD_PRELOAD")
    return {**kept, "PORT": str(port), **({"LD_PRELOAD": preload} if preload else {})}
