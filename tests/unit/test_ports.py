"""Ports of this machine: who holds them, who listens on them, and which one an app gets."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from local.cache import CHECKOUT
from local.environments import app_port
from local.environments.app_port import AppPort, named_port
from local.environments.function import Function
from local.failures import LocalFailure
from local.ports import free_ports, hold, hold_free, is_free, is_listening, listening_ports, loopback_address
from local.run import Options, open_gateway
from local.runtime_api.reply import Reply, init_error

from .fixed_function import FixedFunction


@contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[int]:
    with socket.create_server((address, 0)) as listener:
        yield listener.getsockname()[1]


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(is_free(port) and not is_listening(port) for port in ports)


def test_a_port_with_a_listener_is_not_free() -> None:
    with listening() as port:
        assert not is_free(port)
        assert is_listening(port)


def test_a_held_port_is_nobody_elses_until_it_is_released() -> None:
    held = hold_free()
    assert hold(held.number) is None
    assert is_free(held.number)  # for the app that it is held for, whatever options that one opens it with
    held.release()
    again = hold(held.number)
    assert again is not None
    again.release()


HOLDER = "import sys; from local.ports import hold; held = hold(int(sys.argv[1])); print(held is not None, flush=True)"


def test_a_port_is_held_against_other_programs_and_is_free_again_when_its_holder_was_killed() -> None:
    held = hold_free()
    number = str(held.number)

    def holder(then: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER + then, number]
        return subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    with holder() as other:
        assert other.communicate(timeout=30)[0] == "False\n"
    held.release()
    with holder("; sys.stdin.read()") as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "True\n"
            assert hold(held.number) is None
        finally:
            other.kill()
            other.wait(30)
    again = hold(held.number)
    assert again is not None
    again.release()


def test_many_at_once_hold_different_ports() -> None:
    with ExitStack() as stack:
        held = [hold_free() for _ in range(50)]
        for each in held:
            stack.callback(each.release)
        assert len({each.number for each in held}) == 50


def test_loopback_addresses_are_drawn_and_usable() -> None:
    addresses = {loopback_address() for _ in range(50)}
    assert len(addresses) > 45
    for address in addresses:
        with socket.create_server((address, 0)) as listener:
            port = listener.getsockname()[1]
            assert is_listening(port, address)
            assert not is_listening(port)


def test_the_ports_of_a_process_are_known() -> None:
    with listening() as one, listening("127.0.0.9") as two, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = listening_ports([os.getpid()])
        assert {one, two} <= set(found)
        assert unused.getsockname()[1] not in found
    assert listening_ports([0, -1]) == []


NAMES = {
    "none": ({}, ("PORT", 0)),
    "one": ({"PORT": "9000"}, ("PORT", 9000)),
    "the first one counts": ({"PORT": "9000", "FAIRLEAD_PORT": "9001"}, ("FAIRLEAD_PORT", 9001)),
    "the adapter's before the app's": ({"PORT": "9000", "AWS_LWA_PORT": "9001"}, ("AWS_LWA_PORT", 9001)),
    "an empty one does not": ({"PORT": "9000", "FAIRLEAD_PORT": ""}, ("PORT", 9000)),
    "no number": ({"PORT": "web"}, ("PORT", 0)),
    "none of this world": ({"PORT": "70000"}, ("PORT", 0)),
    "digits of another script": ({"PORT": "²"}, ("PORT", 0)),
}


@pytest.mark.parametrize(("environment", "expected"), NAMES.values(), ids=NAMES)
def test_which_port_the_developer_names(environment: dict[str, str], expected: tuple[str, int]) -> None:
    assert named_port(environment) == expected


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port that is free in the place of 8080."""
    held = hold_free()
    held.release()
    monkeypatch.setattr(app_port, "DEFAULT_APP_PORT", held.number)
    return held.number


@contextmanager
def chosen(port: AppPort) -> Iterator[str]:
    try:
        yield port.choose()
    finally:
        port.release()


def test_an_app_gets_lambdas_port_without_a_word(usual: int) -> None:
    port = AppPort({})
    with chosen(port) as notice:
        assert (port.number, port.variables, notice) == (usual, {}, "")


def test_a_second_run_that_starts_before_the_first_app_does_gets_another_port(usual: int) -> None:
    first, second, third = AppPort({}), AppPort({}), AppPort({})
    with chosen(first), chosen(second) as notice, chosen(third):
        assert len({first.number, second.number, third.number}) == 3
        assert second.variables == {"PORT": str(second.number)}
        assert notice == f"port {usual} is taken on this machine, so the app gets PORT={second.number}"


def test_a_port_that_is_taken_while_it_is_held_is_chosen_again(usual: int) -> None:
    port = AppPort({})
    with chosen(port), socket.create_server(("127.0.0.1", usual)):
        assert port.is_chosen
        assert f"port {usual} was taken" in port.choose_again()
        assert port.number != usual
        assert port.variables == {"PORT": str(port.number)}


def test_a_port_that_two_runs_name_is_the_firsts_and_the_second_is_told_the_line() -> None:
    (number,) = free_ports(1)
    first, second = AppPort({"FAIRLEAD_PORT": str(number)}), AppPort({"PORT": str(number)})
    with chosen(first) as notice:
        assert (first.number, first.variables, notice, first.is_chosen) == (number, {}, "", False)
        with pytest.raises(LocalFailure, match=rf"another run of Fairlead .* has port {number}.*ENV='PORT=\d+'"):
            second.choose()
    with chosen(second):
        pass


def test_a_named_port_on_which_somebody_listens_is_said_with_the_line() -> None:
    with listening() as number, chosen(AppPort({"PORT": str(number)})) as notice:
        assert f"port {number}, which PORT names, is in use" in notice
        assert "ENV='PORT=" in notice


def test_an_environment_beside_others_gets_a_port_of_its_own_in_the_variable_that_counts() -> None:
    port = AppPort({"PORT": "9000", "FAIRLEAD_PORT": "9001"}, is_own=True)
    with chosen(port):
        assert list(port.variables) == ["FAIRLEAD_PORT"]
        assert port.number not in (9000, 9001)
        assert port.is_chosen


def test_a_port_that_is_none_is_for_the_runtime_to_name() -> None:
    port = AppPort({"PORT": "web"})
    with chosen(port) as notice:
        assert (port.variables, notice, port.is_chosen) == ({}, "", False)


# The gateway's


def test_the_gateway_leaves_the_port_that_the_app_has_to_have() -> None:
    (wanted,) = free_ports(1)
    with pytest.raises(LocalFailure, match=rf"port {wanted} cannot be the app's \(FAIRLEAD_PORT\) and the browser's"):
        open_gateway(FixedFunction({}).submit, Options(port=wanted, environment={"FAIRLEAD_PORT": str(wanted)}), repr)


def test_the_gateway_moves_away_by_itself_when_its_port_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    (wanted,) = free_ports(1)
    monkeypatch.setattr("local.run.DEFAULT_PORT", wanted)
    with open_gateway(FixedFunction({}).submit, Options(environment={"PORT": str(wanted)}), repr) as gateway:
        assert gateway.port > wanted
    with open_gateway(FixedFunction({}).submit, Options(), repr) as gateway:
        assert gateway.port >= wanted


def test_the_gateway_leaves_the_port_that_another_runs_app_will_open(monkeypatch: pytest.MonkeyPatch) -> None:
    held = hold_free()
    try:
        with open_gateway(FixedFunction({}).submit, Options(port=held.number), repr) as gateway:
            assert gateway.port > held.number
            assert hold(gateway.port) is None
    finally:
        held.release()


def test_an_app_is_told_that_its_port_is_another_runs_gateways() -> None:
    with (
        open_gateway(FixedFunction({}).submit, Options(port=0), repr) as gateway,
        pytest.raises(LocalFailure, match=r"another run of Fairlead .* has port"),
    ):
        AppPort({"PORT": str(gateway.port)}).choose()
    with chosen(AppPort({"PORT": str(gateway.port)})) as notice:
        assert notice == ""


# What a failed start says

INIT_ERRORS: dict[str, tuple[Reply, tuple[str, str]]] = {
    "of the start": (
        Reply(502, b'{"errorType":"Runtime.AppExited","errorMessage":"x"}', True),
        ("Runtime.AppExited", "x"),
    ),
    "of an invocation": (Reply(200, b'{"errorType":"Runtime.AppExited","errorMessage":"x"}', True), ("", "")),
    "no words": (Reply(502, b"", True), ("", "")),
    "no object": (Reply(502, b"[]", True), ("", "")),
    "no type": (Reply(502, b"{}", True), ("", "")),
}


@pytest.mark.parametrize(("reply", "expected"), INIT_ERRORS.values(), ids=INIT_ERRORS)
def test_the_error_of_a_start_is_told_from_others(reply: Reply, expected: tuple[str, str]) -> None:
    assert init_error(reply) == expected


SERVERS: dict[str, str] = {
    "Node": "Error: listen EADDRINUSE: address already in use :::{}\n at Server.setupListenHandle",
    "Node with an address": "Error: listen EADDRINUSE: address already in use 127.0.0.1:{}",
    "Node with the error's fields": "code: 'EADDRINUSE',\n  address: '::',\n  port: {}\n",
    "uvicorn": "ERROR: [Errno 98] error while attempting to bind on address ('127.0.0.1', {}): address already in use",
    "gunicorn": "[ERROR] Connection in use: ('127.0.0.1', {})\n[Errno 98] Address already in use",
    "Flask": "Address already in use\nPort {} is in use by another program. Either identify and stop that program",
    "Go": "listen tcp :{}: bind: address already in use",
    "puma": 'Address already in use - bind(2) for \\"127.0.0.1\\" port {} (Errno::EADDRINUSE)',
    "Bun": 'error: Failed to start server. Is port {} in use? code: \\"EADDRINUSE\\"',
    "Deno": "error: Uncaught (in promise) AddrInUse: Address already in use (os error 98) port {}",
    "nginx": "bind() to 0.0.0.0:{} failed (98: Address already in use)",
    "php": "Failed to listen on 127.0.0.1:{} (reason: Address already in use)",
}


def exited(last_words: str) -> Reply:
    message = f"the app exited with status 1; its last words: {last_words}"
    return Reply(502, json.dumps({"errorType": "Runtime.AppExited", "errorMessage": message}).encode(), True)


@pytest.fixture
def sandbox() -> Function:
    return Function(CHECKOUT, CHECKOUT, {"PORT": "9"}, architecture="x86_64")


@pytest.mark.parametrize("words", SERVERS.values(), ids=SERVERS)
def test_an_app_that_wants_a_port_that_is_taken_is_told_the_line(sandbox: Function, words: str) -> None:
    with listening() as wanted:
        said = sandbox._port_in_the_way(exited(words.format(wanted)))
        assert f"the app wants port {wanted}, which this gateway has, and not $PORT" in said
        assert f"ENV='FAIRLEAD_PORT={wanted}'" in said


QUIET: dict[str, Callable[[int], str]] = {
    "another reason": lambda port: f"cannot connect to 127.0.0.1:{port}",
    "a port that is free by now": lambda port: "EADDRINUSE: address already in use :::1",
    "no port": lambda port: "EADDRINUSE",
    "numbers that are no ports": lambda port: "EADDRINUSE pid 4711:99999",
}


@pytest.mark.parametrize("words", QUIET.values(), ids=QUIET)
def test_an_app_that_fails_otherwise_is_not_told_of_ports(sandbox: Function, words: Callable[[int], str]) -> None:
    with listening() as port:
        assert sandbox._port_in_the_way(exited(words(port))) == ""
