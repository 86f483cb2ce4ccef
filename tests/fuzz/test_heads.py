"""User code that says hostile things, through real processes: nothing of it becomes a part of a head that it is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from runtime.config import Config
from runtime.errors import InitFault
from runtime.http1 import render_head
from runtime.messages import HttpRequest
from runtime.web.reserved import internal_request

from .heads import HandlerSide, HookSide, Spoken, Wished, spoken, texts, wished
from .test_process import usual


@pytest.fixture(scope="module")
def handler_side() -> Iterator[HandlerSide]:
    with HandlerSide() as running:
        yield running


@pytest.fixture(scope="module")
def hook_side() -> Iterator[HookSide]:
    with HookSide() as running:
        yield running


@usual
@given(example=spoken)
def test_whatever_a_handler_says_one_answer_goes_out_and_nothing_is_injected(
    handler_side: HandlerSide, example: Spoken
) -> None:
    handler_side.check(example)


@usual
@given(example=wished)
def test_whatever_hooks_give_back_at_most_one_request_and_one_answer_go_out(
    hook_side: HookSide, example: Wished
) -> None:
    hook_side.check(example)


PATHS = (
    *("FAIRLEAD_READINESS_CHECK_PATH", "FAIRLEAD_PASS_THROUGH_PATH", "FAIRLEAD_AFTER_RESPONSE_PATH"),
    *("FAIRLEAD_REMOVE_BASE_PATH", "FAIRLEAD_SNAPSTART_AFTER_RESTORE_PATH"),
)
HOSTS = ("FAIRLEAD_HOST", "FAIRLEAD_HOST_HEADER", "AWS_LWA_HOST")


@settings(usual, max_examples=500)
@given(text=texts)
def test_a_setting_that_is_accepted_can_stand_in_a_head(text: str) -> None:
    for name in (*PATHS, *HOSTS, "FAIRLEAD_AUTHORIZATION_SOURCE"):
        for value in (text, f"/{text}"):
            try:
                config = Config.from_env({"FAIRLEAD_COMMAND": "serve", name: value})
            except InitFault:
                continue
            for path in (config.readiness.path, config.events.path, config.lifecycle.after_response_path or "/"):
                head = render_head(internal_request(path, config.app.host_header))
                assert head.count(b"\r\n") == 5, head
            fields = [
                ("x-forwarded-prefix", config.events.base_path),
                (config.events.authorization_source or "x", "value"),
            ]
            assert render_head(HttpRequest("GET", "/", fields)).count(b"\r\n") == 4
