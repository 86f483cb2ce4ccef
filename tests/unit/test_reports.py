"""What is said about a fault: the log line, the error document, the client's page."""

from __future__ import annotations

import json

import pytest

from runtime.errors import AppTimeout, BadRequest, InitFault, InvocationFault, ResponseTooLarge
from runtime.logs import line
from runtime.report import MESSAGE_LIMIT, error_document, internal_fault, trace_of
from runtime.web_handler import fault_response

NOW = 1763726400.0419


def test_a_text_record_is_one_line_in_the_managed_runtimes_form() -> None:
    assert line("ERROR", "first\nsecond\r\nthird\n", "id-1", now=NOW) == (
        b"[ERROR]\t2025-11-21T12:00:00.041Z\tid-1\tfirst\rsecond\rthird\n"
    )


def test_a_json_record_is_one_line_and_leaves_out_what_is_empty() -> None:
    record = line("WARN", 'two\nlines "quoted"', now=NOW, as_json=True)
    assert record.count(b"\n") == 1
    assert json.loads(record) == {
        "timestamp": "2025-11-21T12:00:00.041Z",
        "level": "WARN",
        "message": 'two\nlines "quoted"',
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
