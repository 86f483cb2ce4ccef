"""What is said about a fault: the log line, the error document, the client's page."""

from __future__ import annotations

import json
import re

import pytest

from runtime.errors import AppTimeout, BadRequest, InitFault, InvocationFault, ResponseTooLarge
from runtime.logs import line
from runtime.report import (
    EXCEPTIONS_LIMIT,
    MESSAGE_LIMIT,
    USER_TEXT_LIMIT,
    XRAY_LIMIT,
    error_document,
    header_name,
    internal_fault,
    trace_of,
    user_fault,
    xray_cause,
)
from runtime.web.handler import fault_response

NOW = 1763726400.0419


def test_a_text_record_is_one_line_in_the_managed_runtimes_form() -> None:
    assert line("ERROR", "first\nsecond\r\nthird\n", "id-1", now=NOW) == (
        b"[ERROR]\t2025-11-21T12:00:00.041Z\tid-1\tfirst\rsecond\rthird\n"
    )


def test_an_id_of_several_lines_is_one_too() -> None:
    assert line("INFO", "text", "id\n[ERROR]\tforged\r\n", now=NOW).count(b"\n") == 1


def test_a_json_record_is_one_line_and_leaves_out_what_is_empty() -> None:
    record = line("WARN", 'two\nlines "quoted"', now=NOW, as_json=True)
    assert record.count(b"\n") == 1
    assert json.loads(record) == {
        "timestamp": "2025-11-21T12:00:00.041Z",
        "level": "WARN",
        "message": 'two\nlines "quoted"',
        "logger": "fairlead",
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_any_text_can_be_logged(as_json: bool) -> None:
    assert line("INFO", "\ud800 \x00 \U0001f600", as_json=as_json, now=NOW).endswith(b"\n")


def test_an_error_document_has_the_four_keys_in_order() -> None:
    document = error_document(InitFault("Runtime.AppExited", "the app exited", "The end of its stderr:\nboom"), "id-1")
    assert list(json.loads(document).items()) == [
        ("errorMessage", "the app exited\nThe end of its stderr:\nboom"),
        ("errorType", "Runtime.AppExited"),
        ("requestId", "id-1"),
        ("stackTrace", []),
    ]


def test_an_error_document_is_bounded() -> None:
    document = error_document(InvocationFault("Function.Status500", "x" * 10_000_000))
    assert len(json.loads(document)["errorMessage"]) == MESSAGE_LIMIT


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


def test_an_exception_of_ours_is_named_whatever_its_text_does() -> None:
    fault = internal_fault(Unspeakable())
    assert fault.error_type == "Runtime.Internal"
    assert "Unspeakable" in fault.message
    assert "ZeroDivisionError" in trace_of(ZeroDivisionError("by zero"))


def test_a_client_sees_the_name_and_not_the_inside() -> None:
    response = fault_response(AppTimeout("the app did not answer GET /admin?token=secret in time"), "id-1")
    assert response.status == 504
    assert response.body.startswith(b"504 Gateway Timeout\nRuntime.AppTimeout: ")
    assert b"secret" not in response.body
    assert b"id-1" in response.body


@pytest.mark.parametrize("fault", [BadRequest("the body is not base64"), ResponseTooLarge(7_000_000, 6_291_556)])
def test_a_client_is_told_what_it_can_change(fault: InvocationFault) -> None:
    assert fault.message.encode() in fault_response(fault, "id-1").body


# What a user's exception is reported as. The black-box cases are in tests/conformance/test_handler_invoke.py.

HEADER_NAMES = {
    "ValueError": "Function.ValueError",
    "_Private": "Function.Private",
    "snake_case": "Function.Snakecase",
    "Http404Error": "Function.HttpError",
    "E1": "Function.Unknown",
    "Ё": "Function.Unknown",
    "ЁError": "Function.Error",
    "": "Function.Unknown",
    "A\r\nB: c": "Function.ABc",
    "X" * 1000: "Function." + "X" * 100,
}


@pytest.mark.parametrize(("name", "header"), HEADER_NAMES.items())
def test_the_header_has_a_name_that_the_platform_keeps(name: str, header: str) -> None:
    assert header_name(name) == header
    assert re.fullmatch(r"(Runtime|Function)\.[A-Z][a-zA-Z]+", header)


def raised(error: BaseException) -> BaseException:
    """The same with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_exception_keeps_its_name_and_text() -> None:
    fault = user_fault(InvocationFault, raised(KeyError("missing")))
    document = json.loads(error_document(fault, "id-1"))
    assert (document["errorType"], fault.error_type) == ("KeyError", "Function.KeyError")
    assert document["errorMessage"] == "'missing'"
    (line,) = document["stackTrace"]
    assert line.startswith(f'  File "{__file__}", line ')
    assert line.endswith(", in raised\n    raise error\n")


def test_one_that_means_something_to_the_runtime_has_that_name_everywhere() -> None:
    fault = user_fault(InitFault, raised(ImportError("x")), "Runtime.ImportModuleError", "cannot import")
    document = json.loads(error_document(fault))
    assert document["errorType"] == fault.error_type == "Runtime.ImportModuleError"
    assert document["errorMessage"] == "cannot import"
    assert json.loads(xray_cause(fault))["exceptions"][0]["type"] == "ImportError"


def test_a_user_may_say_more_than_we_do_but_not_anything() -> None:
    fault = user_fault(InvocationFault, ValueError("é" * 10_000_000))
    document = error_document(fault)
    assert len(json.loads(document)["errorMessage"]) == USER_TEXT_LIMIT
    assert len(document) < 1024 * 1024


def grow(depth: int) -> BaseException:
    """A tree of groups with causes, each with a note, much larger than a report may be."""
    if not depth:
        return raised(ValueError("leaf \x00 é" * 1000))
    group = ExceptionGroup(f"level {depth}", [grow(depth - 1), grow(depth - 1)])  # type: ignore[type-var,list-item]
    group.__cause__ = grow(depth - 1)
    group.add_note("note " * 1000)
    return raised(group)


def test_a_report_is_bounded_in_every_direction() -> None:
    fault = user_fault(InvocationFault, grow(5))
    assert sum(map(len, fault.stack)) < USER_TEXT_LIMIT + 100
    assert fault.stack[-1] == "(the rest is left out: it is too long)\n"
    assert 0 < len(fault.xray_cause) <= XRAY_LIMIT
    assert fault.xray_cause.isascii()
    assert fault.xray_cause.isprintable()
    assert len(json.loads(fault.xray_cause)["exceptions"]) <= EXCEPTIONS_LIMIT


def deep(calls: int) -> None:
    if calls:
        deep(calls - 1)
    raise ValueError("deep")


def test_a_deep_stack_keeps_both_of_its_ends() -> None:
    try:
        deep(500)
    except ValueError as error:
        fault = user_fault(InvocationFault, error)
    stack = json.loads(fault.xray_cause)["exceptions"][0]["stack"]
    assert len(stack) == 100
    assert stack[0]["label"] == "test_a_deep_stack_keeps_both_of_its_ends"
    assert stack[-1]["label"] == "deep"
    assert "repeated" in fault.stack[4]


class Booby(Exception):
    """Whatever a report asks of it goes wrong."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(f"no {name}")


def test_an_exception_that_fails_whatever_it_is_asked_is_reported_all_the_same() -> None:
    fault = user_fault(InvocationFault, raised(Booby()))
    document = json.loads(error_document(fault))
    assert document["errorType"] == "Booby"
    assert document["errorMessage"] == "<exception str() failed>"
    assert document["stackTrace"] == ["(the stack cannot be shown: RuntimeError)\n"]


def test_a_fault_of_ours_has_a_cause_without_a_stack() -> None:
    cause = xray_cause(InvocationFault("Runtime.MarshalError", "set\r\nis no JSON \x7f é" + "x" * 100_000))
    assert cause.isascii()
    assert cause.isprintable()
    assert len(cause) < XRAY_LIMIT
    (exception,) = json.loads(cause)["exceptions"]
    assert (exception["type"], exception["stack"]) == ("LambdaValidationError", [])
