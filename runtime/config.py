"""Every setting, read once and strictly: ``Config.from_env`` is the only place that knows the environment's spelling.

``bootstrap`` has to read the port and the host before any Python runs, because it starts the app early.
"""

from __future__ import annotations

from .dispatch import choose_work
from .errors import InitFault
from .invocation import PAYLOAD_LIMIT
from .messages import is_token
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

PREFIX, PEERS_PREFIX = "FAIRLEAD_", "AWS_LWA_"
# Text takes a fifth of its size compressed, and four times the limit still fits into the smallest function.
COMPRESSED_TIMES = 4
# The app is asked at these by Fairlead alone; whatever else comes there is refused.
RESERVED = ("lifecycle.after_response_path", "lifecycle.before_checkpoint_path", "lifecycle.after_restore_path")
NO_STATUSES: tuple[tuple[int, int], ...] = ()


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


def _seconds(text: str) -> float:
    whole, _, fraction = text.partition(".")
    digits = f"{whole}{fraction}"
    if not (digits.isascii() and digits.isdigit() and len(text) < 10 and float(text) <= 3600):
        raise ValueError("a number of seconds from 0 to 3600, such as 4 or 0.5")
    return float(text)


def _address(text: str) -> str:
    address = text.removeprefix("http://").removesuffix("/")
    host, colon, port = address.rpartition(":")
    is_one_word = address.isascii() and address.isprintable() and not any(mark in address for mark in " /@")
    if not (host and colon and port.isdigit() and is_one_word):
        raise ValueError("host:port or http://host:port")
    return address


def _socket_path(text: str) -> str:
    # sockaddr_un has room for 108 bytes, the last of them NUL (unix(7)).
    if not (text.startswith("/") and text.isprintable() and len(text.encode()) < 108):
        raise ValueError("an absolute path of at most 107 bytes, such as /tmp/app.sock")
    return text


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


def _host_and_port(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or any(mark in text for mark in " /@?#\\,"):
        raise ValueError("a host, with a port or without, such as app.example or 127.0.0.1:8080")
    return text


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
    """``field`` of ``Config`` (``group.name``) comes from the first of its ``variables`` that is set, or ``default``.

    ``old_names`` are those of its variables that have a successor: each that is used is worth a warning.
    """

    field: str
    variables: tuple[str, ...]
    old_names: tuple[str, ...]
    default: str
    parse: Callable[[str], Any]


def _setting(
    field: str,
    name: str,
    default: str,
    parse: Callable[[str], Any],
    of_peer: bool = False,
    others: tuple[str, ...] = (),
    was_bare: bool = False,
    deprecated: tuple[str, ...] = (),
) -> Setting:
    """The setting ``FAIRLEAD_<name>``, which is ``AWS_LWA_<name>`` too where the peer has it.

    ``was_bare``: before the peer gave all of its settings a prefix, it was called ``name`` there.
    """
    old_names = (name,) if was_bare else deprecated
    of_the_peer = (PEERS_PREFIX + name,) if of_peer else ()
    return Setting(field, (PREFIX + name, *of_the_peer, *others, *old_names), old_names, default, parse)


SETTINGS = (
    _setting("shell_command", "COMMAND", "", _command),
    # PORT is what platforms and frameworks agree on; the peer reads it too.
    _setting("app.port", "PORT", "8080", _integer(1, 65535), of_peer=True, others=("PORT",)),
    _setting("app.host", "HOST", "127.0.0.1", _host, of_peer=True, was_bare=True),
    _setting("app.unix_socket", "UNIX_SOCKET", "", _socket_path),
    _setting("app.host_header", "HOST_HEADER", "", _host_and_port),
    _setting(
        "readiness.protocol",
        "READINESS_CHECK_PROTOCOL",
        "http",
        _choice(http="http", tcp="tcp"),
        of_peer=True,
        was_bare=True,
    ),
    _setting("readiness.path", "READINESS_CHECK_PATH", "/", _path, of_peer=True, was_bare=True),
    # 0: the app's own port
    _setting("readiness.port", "READINESS_CHECK_PORT", "0", _integer(0, 65535), of_peer=True, was_bare=True),
    _setting("readiness.healthy_statuses", "READINESS_CHECK_HEALTHY_STATUS", "100-499", _statuses, of_peer=True),
    # What the peer had before it had ranges; it ignores this now.
    _setting(
        "min_unhealthy_status",
        "READINESS_CHECK_MIN_UNHEALTHY_STATUS",
        "",
        _integer(101, 599),
        deprecated=("AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS", "READINESS_CHECK_MIN_UNHEALTHY_STATUS"),
    ),
    # Lambda ends a slow init after 10 s and runs it again inside the first invocation, under the function's timeout:
    # the limit here only has to be longer than any start that is meant.
    _setting("readiness.timeout_s", "READINESS_CHECK_TIMEOUT_SECONDS", "120", _integer(1, 900), of_peer=True),
    _setting("readiness.async_init", "ASYNC_INIT", "false", _boolean, of_peer=True, was_bare=True),
    _setting(
        "answers.invoke_mode",
        "INVOKE_MODE",
        "buffered",
        _choice(buffered="buffered", response_stream="response_stream"),
        of_peer=True,
    ),
    _setting("answers.pad_empty_streams", "PAD_EMPTY_STREAMS", "false", _boolean),
    _setting("events.mode", "EVENT_MODE", "http", _choice(http="http", raw="raw")),
    _setting("events.path", "PASS_THROUGH_PATH", "/events", _path, of_peer=True),
    _setting("events.base_path", "REMOVE_BASE_PATH", "", _path, of_peer=True, was_bare=True),
    _setting("events.authorization_source", "AUTHORIZATION_SOURCE", "", _field_name, of_peer=True),
    _setting("events.context_headers", "CONTEXT_HEADERS", "true", _boolean),
    _setting("answers.compression", "ENABLE_COMPRESSION", "false", _boolean, of_peer=True),
    _setting("answers.error_statuses", "ERROR_STATUS_CODES", "", _statuses, of_peer=True),
    _setting("answers.app_faults", "APP_FAULTS", "response", _choice(response="response", error="error")),
    _setting("runtime_api_proxy", "LAMBDA_RUNTIME_API_PROXY", "", _address, of_peer=True),
    # Servers close idle connections, after 2 (gunicorn), 5 (Node, uvicorn, Apache) or more seconds. Between invocations
    # all is frozen, so on waking the server's clock and our request race, and a POST that loses becomes a 502. A new
    # connection costs 0.1 ms.
    _setting("app.pool_idle_timeout_s", "POOL_IDLE_TIMEOUT_SECONDS", "1", _seconds, of_peer=True),
    _setting("lifecycle.after_response_path", "AFTER_RESPONSE_PATH", "", _path),
    _setting("lifecycle.before_checkpoint_path", "SNAPSTART_BEFORE_CHECKPOINT_PATH", "", _path, of_peer=True),
    _setting("lifecycle.after_restore_path", "SNAPSTART_AFTER_RESTORE_PATH", "", _path, of_peer=True),
    _setting("observation.request_log", "REQUEST_LOG", "false", _boolean),
    _setting("observation.metrics", "METRICS", "off", _choice(off="", emf="emf")),
    _setting("observation.tracing", "TRACING", "off", _choice(off="", xray="xray")),
    _setting("python.json_codec", "JSON_CODEC", "json", _choice(json="json", orjson="orjson")),
    _setting(
        "javascript_runtime", "JAVASCRIPT_RUNTIME", "auto", _choice(auto="auto", bun="bun", deno="deno", node="node")
    ),
    _setting("python.interface", "INTERFACE", "auto", _choice(auto="auto", asgi="asgi", wsgi="wsgi")),
    _setting("lifecycle.deadline_margin_ms", "DEADLINE_MARGIN_MS", "200", _integer(0, 60_000)),
    _setting("lifecycle.shutdown_grace_ms", "SHUTDOWN_GRACE_MS", "400", _integer(0, 1500)),
)


class App(NamedTuple):
    """The app's address, and how it is spoken to."""

    port: int
    host: str
    unix_socket: str
    host_header: str  # of requests that come from no client: readiness, triggers, our own
    pool_idle_timeout_s: float


class Readiness(NamedTuple):
    """How it is found out that the app is ready."""

    protocol: str
    path: str
    port: int
    healthy_statuses: tuple[tuple[int, int], ...]
    timeout_s: int
    async_init: bool


class Events(NamedTuple):
    """How events become requests."""

    mode: str
    path: str
    base_path: str
    authorization_source: str
    context_headers: bool


class Answers(NamedTuple):
    """How the app's answers become results."""

    invoke_mode: str
    pad_empty_streams: bool
    compression: bool
    error_statuses: tuple[tuple[int, int], ...]
    app_faults: str

    @property
    def largest_body(self) -> int:
        """How many bytes of an answer are taken from the app: what is compressed may be larger before."""
        return PAYLOAD_LIMIT * (COMPRESSED_TIMES if self.compression else 1)


class Lifecycle(NamedTuple):
    """Times, and what the app is asked beside invocations."""

    deadline_margin_ms: int
    shutdown_grace_ms: int
    after_response_path: str
    before_checkpoint_path: str
    after_restore_path: str


class Observation(NamedTuple):
    """Which invocations' figures are written down, and how."""

    request_log: bool
    metrics: str
    tracing: str


class Python(NamedTuple):
    """Of Python handlers alone."""

    json_codec: str
    interface: str


class Config(NamedTuple):
    """The settings of docs/settings.md, checked, and what is to be run: ``command`` (the app) or else ``handler``."""

    command: tuple[str, ...]
    handler: str
    javascript: str  # what the command is the host of: "fetch", "handler" or nothing of ours
    variables: tuple[tuple[str, str], ...]  # that the command gets, unless the function sets them itself
    warnings: tuple[str, ...]
    runtime_api_proxy: str
    app: App
    readiness: Readiness
    events: Events
    answers: Answers
    lifecycle: Lifecycle
    observation: Observation
    python: Python

    @classmethod
    def from_env(cls, environ: Mapping[str, str], arguments: Sequence[str] = (), program: str = "") -> Config:
        """The configuration that ``environ`` and the ``arguments`` given to ``program`` (our own file) describe.

        Raises ``InitFault``: ``Runtime.InvalidConfig`` that names every problem at once, or as ``choose_work``.
        """
        values, warnings, problems = read_settings(environ)
        problems += unknown_settings(environ)
        own = {values.get(name) for name in RESERVED}
        if values.get("events.path") in own:
            problems.append(
                f"the path for events, {values['events.path']!r}, is reserved for requests of Fairlead's own"
            )
        if problems:
            raise InitFault("Runtime.InvalidConfig", _described(problems))
        work = choose_work(environ, arguments, program, values["shell_command"], values["javascript_runtime"])
        values["readiness.port"] = values["readiness.port"] or values["app.port"]
        values["answers.error_statuses"] = values["answers.error_statuses"] or NO_STATUSES
        values["events.mode"] = work.event_mode or values["events.mode"]
        lowest_unhealthy = values["min_unhealthy_status"]
        if lowest_unhealthy:
            values["readiness.healthy_statuses"] = ((100, lowest_unhealthy - 1),)
        if work.javascript:  # its host says so; another program at this port would answer something else
            values["readiness.healthy_statuses"] = ((204, 204),)
        if not values["app.host_header"]:  # as any client would have it that was given the app's address
            has_port = not values["app.unix_socket"]
            values["app.host_header"] = _authority(values["app.host"], values["app.port"]) if has_port else "localhost"
        values.update(
            command=work.command,
            handler=work.handler,
            javascript=work.javascript,
            variables=work.variables,
            warnings=tuple(warnings),
        )
        for name, kind, fields in GROUPS:
            values[name] = kind._make(map(values.__getitem__, fields))
        config: Config = cls._make(map(values.__getitem__, cls._fields))
        return config


def _group(name: str, kind: Any) -> tuple[str, Any, tuple[str, ...]]:
    """A group's name in ``Config``, its type, and the full names of its fields."""
    return name, kind, tuple([f"{name}.{field}" for field in kind._fields])


GROUPS = (
    _group("app", App),
    _group("readiness", Readiness),
    _group("events", Events),
    _group("answers", Answers),
    _group("lifecycle", Lifecycle),
    _group("observation", Observation),
    _group("python", Python),
)


def read_settings(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Field values, one sentence for each deprecated name, and one for each value that is not allowed.

    A variable set to nothing counts as not set.
    """
    values: dict[str, Any] = {}
    warnings = []
    problems = []
    for setting in SETTINGS:
        name = next((name for name in setting.variables if environ.get(name)), None)
        if name is None:
            values[setting.field] = setting.parse(setting.default) if setting.default else ""
            continue
        if name in setting.old_names:
            warnings.append(f"{name} is an old name: {_successor(setting)} takes its place")
        try:
            values[setting.field] = setting.parse(environ[name])
        except ValueError as allowed:
            problems.append(f"{name}={environ[name]!r} must be {allowed}")
    return values, warnings, problems


def _successor(setting: Setting) -> str:
    is_replaced = setting.field == "min_unhealthy_status"
    return PREFIX + "READINESS_CHECK_HEALTHY_STATUS" if is_replaced else setting.variables[0]


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """One sentence for each variable that looks like a setting and is none: a typo must not become a silent default."""
    known = {name for setting in SETTINGS for name in setting.variables}
    suspects = [name for name in environ if name.startswith((PREFIX, PEERS_PREFIX)) and environ[name]]
    problems = []
    for name in sorted(set(suspects) - known):
        if name.startswith(PEERS_PREFIX):
            problems.append(f"{name} is not supported; remove it")
            continue
        import difflib  # only when something is wrong already

        near = difflib.get_close_matches(name, known, 1)
        problems.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return problems


def _authority(host: str, port: int) -> str:
    """Host and port as a URL has them (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _described(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} settings are wrong: " + "; ".join(problems)
