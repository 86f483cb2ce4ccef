"""Settings: strict, all problems at once, aliases, and what the app gets."""

from __future__ import annotations

import os
from operator import attrgetter
from pathlib import Path

import pytest

from runtime.config import Config
from runtime.dispatch import app_environment, users_environment
from runtime.errors import InitFault

RUNNABLE = {"FAIRLEAD_COMMAND": "serve"}


def config(**environ: str) -> Config:
    return Config.from_env({**RUNNABLE, **environ})


def problem(**environ: str) -> str:
    with pytest.raises(InitFault) as caught:
        config(**environ)
    assert caught.value.error_type == "Runtime.InvalidConfig"
    return caught.value.message


def test_defaults() -> None:
    found = config()
    assert (found.app.host, found.app.port, found.readiness.port) == ("127.0.0.1", 8080, 8080)
    assert (found.readiness.protocol, found.readiness.path, found.readiness.healthy_statuses) == (
        "http",
        "/",
        ((100, 499),),
    )
    assert (found.readiness.async_init, found.events.path, found.answers.app_faults) == (False, "/events", "response")
    assert (found.lifecycle.deadline_margin_ms, found.lifecycle.shutdown_grace_ms, found.readiness.timeout_s) == (
        200,
        400,
        120,
    )


ACCEPTED = [
    ("FAIRLEAD_PORT", "3000", "app.port", 3000),
    ("AWS_LWA_PORT", "3001", "app.port", 3001),
    ("PORT", "3002", "app.port", 3002),
    ("FAIRLEAD_HOST", "[::1]", "app.host", "::1"),
    ("FAIRLEAD_READINESS_CHECK_PROTOCOL", "TCP", "readiness.protocol", "tcp"),
    ("AWS_LWA_READINESS_CHECK_PATH", "/health?deep=1", "readiness.path", "/health?deep=1"),
    ("FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS", "200-399, 404", "readiness.healthy_statuses", ((200, 399), (404, 404))),
    ("AWS_LWA_ASYNC_INIT", "True", "readiness.async_init", True),
    ("FAIRLEAD_ASYNC_INIT", "", "readiness.async_init", False),
    ("FAIRLEAD_DEADLINE_MARGIN_MS", "0", "lifecycle.deadline_margin_ms", 0),
]


@pytest.mark.parametrize(("name", "text", "field", "value"), ACCEPTED)
def test_value_is_accepted(name: str, text: str, field: str, value: object) -> None:
    assert attrgetter(field)(config(**{name: text})) == value


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({}, "127.0.0.1:8080"),
        ({"FAIRLEAD_PORT": "3000", "FAIRLEAD_HOST": "localhost"}, "localhost:3000"),
        ({"FAIRLEAD_HOST": "::1"}, "[::1]:8080"),
        ({"FAIRLEAD_UNIX_SOCKET": "/tmp/app.sock"}, "localhost"),
        ({"FAIRLEAD_COMMAND": "", "_HANDLER": "app.handler"}, "127.0.0.1:8080"),
        ({"FAIRLEAD_HOST_HEADER": "app.example", "FAIRLEAD_UNIX_SOCKET": "/tmp/app.sock"}, "app.example"),
        ({"FAIRLEAD_HOST_HEADER": "app.example:81"}, "app.example:81"),
    ],
)
def test_the_host_of_requests_that_come_from_no_client(environ: dict[str, str], host: str) -> None:
    assert config(**environ).app.host_header == host


REFUSED = [
    ("FAIRLEAD_PORT", "0"),
    ("FAIRLEAD_PORT", "65536"),
    ("FAIRLEAD_PORT", "80a"),
    ("FAIRLEAD_PORT", "+80"),
    ("FAIRLEAD_PORT", "\u0663\u0660"),  # digits to str.isdigit, not to anybody's app
    ("FAIRLEAD_HOST", "http://localhost"),
    ("FAIRLEAD_HOST", "a b"),
    *[("FAIRLEAD_HOST_HEADER", text) for text in ("http://a", "a b", "a@b", "a,b", "a\r\nx: y", "ä", "a?b", "a#b")],
    ("FAIRLEAD_READINESS_CHECK_PROTOCOL", "https"),
    ("FAIRLEAD_READINESS_CHECK_PATH", "health"),
    ("FAIRLEAD_READINESS_CHECK_PATH", "/a b"),
    ("FAIRLEAD_READINESS_CHECK_PATH", "/a\r\nX: y"),
    ("FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS", "399-200"),
    ("FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS", "abc"),
    ("FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS", "200,"),
    ("FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS", "200-"),
    ("FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS", "\u0662\u0660\u0660"),
    ("FAIRLEAD_ASYNC_INIT", "1"),
    ("FAIRLEAD_ASYNC_INIT", "yes"),
    ("FAIRLEAD_APP_FAULTS", "ignore"),
    ("FAIRLEAD_SHUTDOWN_GRACE_MS", "-1"),
    ("FAIRLEAD_COMMAND", "  "),
    ("FAIRLEAD_INVOKE_MODE", "stream"),
    ("FAIRLEAD_EVENT_MODE", "cloudevents"),
    ("FAIRLEAD_LAMBDA_RUNTIME_API_PROXY", "https://127.0.0.1:9002"),
    ("FAIRLEAD_LAMBDA_RUNTIME_API_PROXY", "127.0.0.1"),
    ("FAIRLEAD_POOL_IDLE_TIMEOUT_SECONDS", "-1"),
    ("FAIRLEAD_POOL_IDLE_TIMEOUT_SECONDS", "1e9"),
    ("FAIRLEAD_POOL_IDLE_TIMEOUT_SECONDS", "."),
    ("FAIRLEAD_UNIX_SOCKET", "app.sock"),
    ("FAIRLEAD_UNIX_SOCKET", "/tmp/" + "x" * 103),
    ("FAIRLEAD_ERROR_STATUS_CODES", "5xx"),
    ("FAIRLEAD_READINESS_CHECK_MIN_UNHEALTHY_STATUS", "99"),
]


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_value_is_refused_with_its_name_and_what_is_allowed(name: str, text: str) -> None:
    message = problem(**{name: text})
    assert message.startswith(f"{name}={text!r} must be ")


def test_all_problems_are_reported_at_once() -> None:
    message = problem(FAIRLEAD_PORT="x", FAIRLEAD_ASYNC_INIT="maybe", FAIRLEAD_PROT="3000")
    assert message.startswith("3 settings are wrong: ")
    assert "FAIRLEAD_PORT='x'" in message
    assert "FAIRLEAD_ASYNC_INIT='maybe' must be one of true, false" in message
    assert "FAIRLEAD_PROT is not a setting; did you mean FAIRLEAD_PORT?" in message


@pytest.mark.parametrize(
    "name", ["AFTER_RESPONSE_PATH", "SNAPSTART_BEFORE_CHECKPOINT_PATH", "SNAPSTART_AFTER_RESTORE_PATH"]
)
def test_events_are_not_posted_to_a_reserved_path(name: str) -> None:
    assert "'/events', is reserved" in problem(**{f"FAIRLEAD_{name}": "/events"})
    assert "'/own', is reserved" in problem(**{f"FAIRLEAD_{name}": "/own", "AWS_LWA_PASS_THROUGH_PATH": "/own"})
    assert config(**{f"FAIRLEAD_{name}": "/own"}).events.path == "/events"


def test_a_setting_of_the_peer_that_has_no_counterpart_is_named() -> None:
    assert "AWS_LWA_FUTURE_THING is not supported" in problem(AWS_LWA_FUTURE_THING="1")


OLD_NAMES = [
    ("HOST", "localhost", "app.host", "localhost", "FAIRLEAD_HOST"),
    ("READINESS_CHECK_PORT", "81", "readiness.port", 81, "FAIRLEAD_READINESS_CHECK_PORT"),
    ("READINESS_CHECK_PATH", "/up", "readiness.path", "/up", "FAIRLEAD_READINESS_CHECK_PATH"),
    ("READINESS_CHECK_PROTOCOL", "TCP", "readiness.protocol", "tcp", "FAIRLEAD_READINESS_CHECK_PROTOCOL"),
    ("ASYNC_INIT", "true", "readiness.async_init", True, "FAIRLEAD_ASYNC_INIT"),
    ("REMOVE_BASE_PATH", "/v1", "events.base_path", "/v1", "FAIRLEAD_REMOVE_BASE_PATH"),
    (
        "AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS",
        "400",
        "readiness.healthy_statuses",
        ((100, 399),),
        "FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS",
    ),
]


@pytest.mark.parametrize(("name", "text", "field", "value", "successor"), OLD_NAMES)
def test_an_old_name_is_understood_with_one_warning(
    name: str, text: str, field: str, value: object, successor: str
) -> None:
    found = config(**{name: text})
    assert attrgetter(field)(found) == value
    assert found.warnings == (f"{name} is an old name: {successor} takes its place",)


def test_the_new_name_wins_over_the_old_one_without_a_warning() -> None:
    found = config(AWS_LWA_ASYNC_INIT="false", ASYNC_INIT="true")
    assert (found.readiness.async_init, found.warnings) == (False, ())


@pytest.mark.parametrize("text", ["127.0.0.1:9002", "http://127.0.0.1:9002", "http://127.0.0.1:9002/"])
def test_the_proxy_of_the_runtime_api_has_two_spellings(text: str) -> None:
    assert config(AWS_LWA_LAMBDA_RUNTIME_API_PROXY=text).runtime_api_proxy == "127.0.0.1:9002"


def test_own_name_wins_over_alias_and_the_loser_is_not_read() -> None:
    assert config(FAIRLEAD_PORT="3000", AWS_LWA_PORT="4000", PORT="nonsense").app.port == 3000


def test_the_app_gets_port_and_not_what_it_must_not_know() -> None:
    given = {
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
        "_HANDLER": "run.sh",
        "AWS_LAMBDA_METADATA_TOKEN": "secret",
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/otel",
        "_FAIRLEAD_APP_PID": "7",
        "_FAIRLEAD_LD_PRELOAD": "/opt/lib/x.so",
        "NODE_OPTIONS": "--enable-source-maps",
        "PORT": "1",
    }
    assert app_environment(given, 3000) == {
        "PORT": "3000",
        "NODE_OPTIONS": "--enable-source-maps",
        "LD_PRELOAD": "/opt/lib/x.so",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.mark.parametrize("own", ["", "0", "x"])
def test_the_function_decides_whether_python_holds_back_what_is_printed(own: str) -> None:
    assert app_environment({"PYTHONUNBUFFERED": own}, 3000) == {"PYTHONUNBUFFERED": own, "PORT": "3000"}


@pytest.mark.parametrize(
    ("kept", "seen"),
    [
        pytest.param({"_FAIRLEAD_LC_CTYPE": "C"}, {"LC_CTYPE": "C"}, id="it was given"),
        pytest.param({"_FAIRLEAD_LC_CTYPE": ""}, {}, id="it was not given"),
        pytest.param({}, {"LC_CTYPE": "C.UTF-8"}, id="bootstrap was not there"),
    ],
)
def test_what_the_interpreter_has_set_is_taken_back(kept: dict[str, str], seen: dict[str, str]) -> None:
    given = {"LC_CTYPE": "C.UTF-8", "LANG": "en_US.UTF-8", **kept}
    assert users_environment(given) == {"LANG": "en_US.UTF-8", **seen}
    assert app_environment(given, 3000) == {"LANG": "en_US.UTF-8", "PORT": "3000", "PYTHONUNBUFFERED": "1", **seen}


@pytest.fixture
def task_root(tmp_path: Path) -> Path:
    for name, mode in {"run.sh": 0o644, "serve": 0o755, "start.sh": 0o755, "data.txt": 0o644}.items():
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "folder").mkdir()
    return tmp_path


def command(root: Path, handler: str, arguments: tuple[str, ...] = (), **environ: str) -> tuple[str, ...]:
    return Config.from_env({"LAMBDA_TASK_ROOT": str(root), "_HANDLER": handler, **environ}, arguments).command


def test_dispatch_takes_the_first_that_holds(task_root: Path) -> None:
    root = str(task_root)
    assert command(task_root, "serve", ("node", "x.js"), FAIRLEAD_COMMAND="a | b") == ("/bin/sh", "-c", "a | b")
    assert command(task_root, "serve", ("node", "x.js")) == ("node", "x.js")
    assert command(task_root, "serve") == (f"{root}/serve",)
    assert command(task_root, f"{root}/start.sh") == (f"{root}/start.sh",)
    assert command(task_root, "run.sh") == ("/bin/sh", f"{root}/run.sh")
    assert command(task_root, "serve", AWS_LAMBDA_EXEC_WRAPPER="/opt/otel") == ("/opt/otel", f"{root}/serve")


@pytest.mark.parametrize("handler", ["", "data.txt", "folder", "../serve", "x/../serve", "a\0b", "missing.sh"])
def test_nothing_to_run_names_what_was_looked_for(task_root: Path, handler: str) -> None:
    with pytest.raises(InitFault) as caught:
        command(task_root, handler)
    assert caught.value.error_type == "Runtime.HandlerNotFound"
    assert "FAIRLEAD_COMMAND" in caught.value.message
    assert not handler or repr(handler) in caught.value.message


HANDLERS = ["app.handler", "pkg.sub.mod.handler", "pkg/sub/mod.handler", "app:app", "pkg.web:app"]


@pytest.mark.parametrize("handler", HANDLERS)
def test_what_has_the_form_of_a_python_handler_is_one(task_root: Path, handler: str) -> None:
    found = Config.from_env({"LAMBDA_TASK_ROOT": str(task_root), "_HANDLER": handler})
    assert (found.command, found.handler) == ((), handler)


@pytest.mark.parametrize("handler", ["noDot", "../h.x", "a/../h.x", "./h.x", "/etc/h.x"])
def test_a_handler_name_that_cannot_be_one_is_malformed(task_root: Path, handler: str) -> None:
    with pytest.raises(InitFault) as caught:
        command(task_root, handler)
    assert caught.value.error_type == "Runtime.MalformedHandlerName"
    assert repr(handler) in caught.value.message


def test_as_exec_wrapper_the_arguments_are_the_managed_runtimes(task_root: Path) -> None:
    program = str(task_root / "start.sh")
    os.symlink(program, task_root / "link")
    environ = {"LAMBDA_TASK_ROOT": str(task_root), "_HANDLER": "serve", "AWS_LAMBDA_EXEC_WRAPPER": f"{task_root}/link"}
    assert Config.from_env(environ, ("/var/lang/bin/node", "index.mjs"), program).command == (f"{task_root}/serve",)
