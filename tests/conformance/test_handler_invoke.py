"""A Python handler's invocations, black box: the real ``./bootstrap`` runs functions of ``tests/handlers``.

Each test is one rule, with its number in the project's list of conformance cases. What is compared with Lambda's own
runtime byte for byte is in ``test_differential.py``.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from runtime.invocation import PAYLOAD_LIMIT
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.fakes.inspection import sockets_to, time_limits_of, wait_asleep, wait_receiving
from tests.fakes.process import CHECKOUT
from tests.fakes.runtime_api import FUNCTION_ARN, TRACE_ID

HANDLERS = CHECKOUT / "tests" / "handlers"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
XRAY_CAUSE = "Lambda-Runtime-Function-XRay-Error-Cause"
VALID_ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")

Start = Callable[..., BootstrapProcess]


@pytest.fixture
def start(api: FakeRuntimeApi) -> Start:
    """Starts ``bootstrap`` with a function of ``tests/handlers``; keyword arguments are environment variables."""

    def start_handler(handler: str, **environment: str | None) -> BootstrapProcess:
        return start_bootstrap(api, handler=handler, environment={"LAMBDA_TASK_ROOT": str(HANDLERS), **environment})

    return start_handler


Ask = Callable[..., Answer]


@pytest.fixture
def ask(api: FakeRuntimeApi, start: Start) -> Ask:
    """One invocation of a handler: what it was answered with. The process asks for the next one after it."""

    def ask(handler: str, payload: object, **event: Any) -> Answer:
        request_id = api.add_event(payload, **event)
        start(handler)
        answer = api.wait_answer(request_id)
        api.wait_idle()
        return answer

    return ask


def cause_of(answer: Answer) -> Any:
    """The X-Ray document, which has to be one line of printable ASCII and of a size that every server takes."""
    text = answer.request.header(XRAY_CAUSE)
    assert text is not None
    assert all(" " <= character <= "~" for character in text)
    assert len(text) < 64 * 1024
    return json.loads(text)


def error_of(answer: Answer) -> dict[str, Any]:
    """The error document, which has to have the managed runtime's keys and a header that the platform keeps."""
    assert answer.kind == "error"
    error_type = answer.request.header(ERROR_TYPE)
    assert error_type is not None
    assert VALID_ERROR_TYPE.fullmatch(error_type)
    document: dict[str, Any] = answer.document
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert all(isinstance(line, str) and line.endswith("\n") for line in document["stackTrace"])
    internals = (f'File "{CHECKOUT}/runtime/', "<frozen", "/importlib/", "/asyncio/")
    assert not [line for line in document["stackTrace"] if any(name in line for name in internals)]
    return document


# Events and results


def test_36_a_dict_comes_back_as_the_managed_runtime_spells_it(ask: Ask) -> None:
    answer = ask("results.echo", b'{"a":[1,2.0,true,null],"b":{"c":"d"}}')
    assert answer.body == b'{"a": [1, 2.0, true, null], "b": {"c": "d"}}'
    assert answer.request.header("Content-Type") == "application/json"


RESULTS = {
    "37 none": b"null",
    "38 bytes": b"\x00\xffraw",
    "38 no bytes": b"",
    "38 bytes inside": '{"inner": "é"}'.encode(),
    "41 decimal": b"1.10",
    "41 decimals": b'{"a": [1E+400, -0.0, 7]}',
    "42 nan": b"null",
    "42 infinity": b"[null, null, 1.5]",
    "42 nan key": b'{"null": 1}',
    "42 decimal nan": b"null",
    "42 decimal -nan": b'{"a": null, "b": null}',
    "42 decimal infinity": b"null",
    "44 unicode": '"é ☃ 😀 \x7f \\u0000 \\" \\\\ / \\n"'.encode(),
    "45 lone surrogate": '{"half": "\\ud83d é"}'.encode(),
    "named tuple": b'{"x": 1, "y": {"id": 2, "at": {"x": 3, "y": 4}}}',
    "named tuple inside": b'{"points": [{"x": 1, "y": 2}]}',
    "_asdict": b'{"strange": {"as": 1}}',
    "keys": b'{"1": "int", "null": "none", "1.5": "float", "false": "bool"}',
    "bytes key": b'{"key": 1}',
    "enum keys": b'{"1": 1, "bee": 2}',
    "int enum": b"[1]",
    "ordered dict": b'{"b": 1, "a": 2}',
}
UNSERIALISABLE = {
    "43 set": "Object of type set is not JSON serializable",
    "43 class": "Object of type type is not JSON serializable",
    "43 object": "Object of type object is not JSON serializable",
    "43 datetime": "Object of type datetime is not JSON serializable",
    "43 enum": "Object of type Colour is not JSON serializable",
    "43 bytearray": "Object of type bytearray is not JSON serializable",
    "43 tuple key": "keys must be str, int, float, bool or None, not tuple",
    "43 bytes inside that are no text": "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    "43 circle": "Circular reference detected",
    "43 nested too deeply": "it is nested too deeply",
    "43 raising": "no items today",
}


def name_in(case: str) -> str:
    """The name of the case in ``tests/handlers``: without a number."""
    return re.sub(r"^\d+ ", "", case)


@pytest.mark.parametrize("codec", ["json", "orjson"])
def test_37_to_45_results_become_json(api: FakeRuntimeApi, start: Start, codec: str) -> None:
    """The same for both codecs but for blanks. All in one process: whatever is returned, the loop goes on."""
    names = [*RESULTS, *UNSERIALISABLE]
    ids = {name: api.add_event(name_in(name)) for name in names}
    environment = orjson_environment() if codec == "orjson" else {}
    start("results.handler", FAIRLEAD_JSON_CODEC=codec, **environment)
    answers = {name: api.wait_answer(request_id) for name, request_id in ids.items()}
    bodies = {name: answers[name].body for name in RESULTS}
    if codec == "json":
        assert bodies == RESULTS
    else:
        assert {name: without_blanks(body) for name, body in bodies.items()} == {
            name: without_blanks(body) for name, body in RESULTS.items()
        }
    documents = {name: error_of(answers[name]) for name in UNSERIALISABLE if name_in(name) not in NATIVE_TO[codec]}
    assert {name: document["errorMessage"] for name, document in documents.items()} == {
        name: f"Unable to marshal response: {UNSERIALISABLE[name]}" for name in documents
    }
    assert {document["errorType"] for document in documents.values()} == {"Runtime.MarshalError"}
    types = {name: answers[name].request.header("Content-Type") for name in RESULTS}
    assert {name for name, value in types.items() if value != "application/json"} == {"38 bytes", "38 no bytes"}
    assert types["38 bytes"] == "application/unknown"


# What orjson spells of its own accord, or without asking the value's own methods.
NATIVE_TO = {"json": frozenset[str](), "orjson": frozenset({"datetime", "enum", "raising"})}


def without_blanks(body: bytes) -> bytes:
    """orjson leaves out the blanks after commas and colons, and the plus sign of an exponent stays ours."""
    return body.replace(b", ", b",").replace(b": ", b":")


def orjson_environment() -> dict[str, str]:
    """Where this interpreter's orjson is."""
    orjson = pytest.importorskip("orjson")
    return {"PYTHONPATH": str(next(iter(orjson.__path__)).rpartition("/")[0])}


TYPES = {
    "39 text": ("text/plain", b"raw \xff", "bytes: b'raw \\xff'"),
    "39 another +json": ("application/cloudevents+json", b"{}", "bytes: b'{}'"),
    "40 charset": ("application/json; charset=utf-8", b"{}", "dict: {}"),
    "40 capitals": ("Application/JSON", b"[]", "list: []"),
    "40 absent": (None, b"1", "int: 1"),
    "40 empty": ("", b"1", "int: 1"),
}


@pytest.mark.parametrize(("content_type", "payload", "seen"), TYPES.values(), ids=TYPES)
def test_39_and_40_json_is_decoded_and_anything_else_comes_as_bytes(
    ask: Ask, content_type: str | None, payload: bytes, seen: str
) -> None:
    assert ask("results.kind", payload, headers={"Content-Type": content_type}).document == seen


NO_JSON = {
    "empty": (b"", "Expecting value: line 1 column 1 (char 0)"),
    "cut": (b'{"a": ', "Expecting value: line 1 column 7 (char 6)"),
    "more after it": (b"{} {}", "Extra data: line 1 column 4 (char 3)"),
    "not UTF-8": (b'"\xff"', "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"),
    "NaN": (b'{"a": NaN}', "NaN is not JSON"),
    "nested too deeply": (b"[" * 200_000, "it is nested too deeply"),
    "too many digits": (b"1" * 5000, "Exceeds the limit (4300 digits) for integer string conversion"),
}


def test_10_a_payload_that_is_no_json_is_an_unmarshal_error(api: FakeRuntimeApi, start: Start) -> None:
    ids = {name: api.add_event(payload) for name, (payload, _) in NO_JSON.items()}
    start("results.echo")
    for name, request_id in ids.items():
        document = error_of(api.wait_answer(request_id))
        assert document["errorType"] == "Runtime.UnmarshalError"
        assert document["errorMessage"].startswith(f"Unable to unmarshal input: {NO_JSON[name][1]}")


def test_19_a_result_over_the_limit_is_reported_and_not_sent(api: FakeRuntimeApi, start: Start) -> None:
    payload = b'"' + b"x" * (PAYLOAD_LIMIT - 2) + b'"'
    fits = api.add_event(payload)
    # Comes in as two bytes for each character, and goes out as the six of its escape.
    too_large = api.add_event(b'"' + b"\\n" * (PAYLOAD_LIMIT // 2) + b'"')
    start("results.echo")
    assert api.wait_answer(fits).body == payload
    document = error_of(api.wait_answer(too_large))
    assert document["errorType"] == "Function.ResponseSizeTooLarge"
    assert str(PAYLOAD_LIMIT) in document["errorMessage"]


# Exceptions


def test_46_an_exception_is_reported_with_the_users_frames(ask: Ask, api: FakeRuntimeApi) -> None:
    answer = ask("failures.handler", "value error")
    document = error_of(answer)
    assert document["errorMessage"] == "the value is wrong"
    assert document["errorType"] == "ValueError"
    assert f"/{document['requestId']}/" in answer.request.target
    first, second = document["stackTrace"]
    assert first.startswith(f'  File "{HANDLERS}/failures.py", line ')
    assert first.endswith(", in handler\n    return FAILURES[event]() if event in FAILURES else event\n")
    assert second.endswith(', in value_error\n    raise ValueError("the value is wrong")\n')
    assert answer.request.header(ERROR_TYPE) == "Function.ValueError"


class Expected:
    """What is expected of one entry of ``tests/handlers/failures.py``; None: not looked at."""

    def __init__(
        self,
        name: str,
        message: str | None,
        header: str = "",
        shows: tuple[str, ...] = (),
        hides: tuple[str, ...] = (),
    ) -> None:
        self.name, self.message, self.header = name, message, header or f"Function.{name}"
        self.shows, self.hides = shows, hides


FAILURES = {
    "47 empty message": Expected("ValueError", ""),
    "48 module not found": Expected("ModuleNotFoundError", "No module named 'no_such_module'"),
    "46 nested class": Expected("NestedError", "nested"),
    "46 snake case": Expected("snake_case", "snake", "Function.Snakecase"),
    "46 number in the name": Expected("E404", "404", "Function.Unknown"),
    "46 unicode name": Expected("Ünïcode", "ü", "Function.Ncode"),
    "46 two arguments": Expected("ValueError", "('one', 2)"),
    "46 key error": Expected("KeyError", "'missing'"),
    "46 os error": Expected("FileNotFoundError", "[Errno 2] No such file or directory: '/no/such/file'"),
    "46 memory error": Expected("MemoryError", "no room"),
    "46 stop iteration": Expected("StopIteration", "7"),
    "46 unicode message": Expected("ValueError", "é ☃ 😀"),
    "46 large message": Expected("ValueError", "é" * 90_000),
    "45 lone surrogate": Expected("ValueError", "half \ufffd"),
    "49 chained": Expected("RuntimeError", "cannot go on", shows=("Caused by: KeyError: 'missing'\n", '{}["missing"]')),
    "49 while handling": Expected(
        "RuntimeError", "cannot go on", shows=("Raised while handling: KeyError: 'missing'\n", '{}["missing"]')
    ),
    "49 suppressed": Expected("RuntimeError", "cannot go on", hides=("KeyError",)),
    "49 noted": Expected("ValueError", "noted", shows=("Note: while reading row 7\n",)),
    "49 notes that are none": Expected("Noted", "n"),
    "49 group": Expected(
        "ExceptionGroup",
        "several (2 sub-exceptions)",
        shows=("Member 1: ValueError: one\n", "Member 2: TypeError: two\n"),
    ),
    "49 circular causes": Expected("ValueError", "one", shows=("Caused by: ValueError: other\n",)),
    "49 many causes": Expected(
        "ValueError", "499", shows=("Caused by: ValueError: 498\n",), hides=("ValueError: 1\n",)
    ),
    "50 str() fails": Expected("Unspeakable", "<exception str() failed>"),
    "50 name fails": Expected("Anonymous", "a"),
    "52 cancelled": Expected("CancelledError", ""),
    "53 recursion": Expected("RecursionError", None, shows=("[Previous line repeated",)),
}


@pytest.mark.parametrize("handler", ["handler", "async_handler"])
def test_46_to_53_whatever_is_raised_is_reported_and_the_loop_goes_on(
    api: FakeRuntimeApi, start: Start, handler: str
) -> None:
    cases = dict(FAILURES)
    if handler == "async_handler":
        del cases["46 stop iteration"]  # Python itself makes a RuntimeError of it (PEP 479)
    ids = {case: api.add_event(name_in(case)) for case in cases}
    served = api.add_event("served")
    process = start(f"failures.{handler}")
    assert api.wait_answer(served).document == "served"
    for case, expected in cases.items():
        answer = api.wait_answer(ids[case])
        document = error_of(answer)
        text = "".join(document["stackTrace"])
        assert (case, document["errorType"]) == (case, expected.name)
        assert (case, answer.request.header(ERROR_TYPE)) == (case, expected.header)
        assert expected.message is None or (case, document["errorMessage"]) == (case, expected.message)
        assert all(part in text for part in expected.shows), (case, text)
        assert not any(part in text for part in expected.hides), (case, text)
        cause = cause_of(answer)
        assert cause["exceptions"][0]["type"] == expected.name
        assert len(answer.body) < 1024 * 1024
    # One record each, on one line.
    assert process.stdout.count("[ERROR]") == len(cases)


def test_46_wrong_arguments_are_the_users_and_no_frame_of_ours_is_shown(ask: Ask) -> None:
    document = error_of(ask("failures.wrong_arity", {}))
    assert document["errorType"] == "TypeError"
    assert "takes 1 positional argument but 2 were given" in document["errorMessage"]
    assert document["stackTrace"] == []


ENDS = {
    "51 sys.exit(3)": (3, "Runtime.ExitError", "the handler ended the process with sys.exit(3)"),
    "51 sys.exit(0)": (0, "Runtime.ExitError", "the handler ended the process with sys.exit(0)"),
    "51 sys.exit()": (0, "Runtime.ExitError", "the handler ended the process with sys.exit()"),
    "51 sys.exit(text)": (1, "Runtime.ExitError", "the handler ended the process with sys.exit('the reason')"),
    "51 exit(4)": (4, "Runtime.ExitError", "the handler ended the process with sys.exit(4)"),
    "52 interrupted": (130, "Runtime.ExitError", "the handler was interrupted (KeyboardInterrupt)"),
    "52 base exception": (1, "OtherEnd", "left"),
    "52 generator exit": (1, "GeneratorExit", ""),
}


@pytest.mark.parametrize(
    ("case", "handler"), [(case, "handler") for case in ENDS] + [("51 sys.exit(3)", "async_handler")]
)
def test_51_and_52_what_ends_the_process_is_reported_first(
    api: FakeRuntimeApi, start: Start, case: str, handler: str
) -> None:
    exit_code, error_type, message = ENDS[case]
    request_id = api.add_event(name_in(case))
    process = start(f"failures.{handler}")
    assert process.wait() == exit_code
    document = error_of(api.wait_answer(request_id))
    assert (document["errorType"], document["errorMessage"]) == (error_type, message)
    assert len(api.nexts) == 1
    assert process.stdout.count("[ERROR]") == 1


def test_53_the_log_of_a_recursion_is_short(ask: Ask, api: FakeRuntimeApi) -> None:
    answer = ask("failures.handler", "recursion")
    assert len(answer.body) < 2000
    stack = cause_of(answer)["exceptions"][0]["stack"]
    assert stack[0]["label"] == "handler"
    assert stack[-1]["label"] == "recursion"


def test_54_hostile_text_stays_inside_the_header(ask: Ask) -> None:
    answer = ask("failures.handler", "hostile message")
    message = "line 1\r\nX-Injected: yes\n\x7f\x00 é 😀 \u2028"
    assert error_of(answer)["errorMessage"] == message
    assert cause_of(answer)["exceptions"][0]["message"] == message
    assert answer.request.header_values("X-Injected") == []


def test_55_the_xray_document_has_the_managed_runtimes_form(ask: Ask) -> None:
    answer = ask("failures.handler", "chained")
    cause = cause_of(answer)
    assert list(cause) == ["working_directory", "exceptions", "paths"]
    assert cause["working_directory"] == str(HANDLERS)
    first, second = cause["exceptions"]
    assert (first["type"], first["message"]) == ("RuntimeError", "cannot go on")
    assert [frame["label"] for frame in first["stack"]] == ["handler", "chained"]
    assert all(frame["path"] == f"{HANDLERS}/failures.py" and frame["line"] > 0 for frame in first["stack"])
    assert (second["type"], second["message"]) == ("KeyError", "'missing'")
    assert cause["paths"] == [f"{HANDLERS}/failures.py"]


def test_55_a_fault_of_the_runtime_has_no_stack(ask: Ask) -> None:
    (exception,) = cause_of(ask("results.handler", "set"))["exceptions"]
    assert exception == {
        "message": "Unable to marshal response: Object of type set is not JSON serializable",
        "type": "LambdaValidationError",
        "stack": [],
    }


def test_56_a_cause_of_a_mebibyte_is_left_out(ask: Ask) -> None:
    answer = ask("failures.handler", "huge message")
    assert answer.request.header_values(XRAY_CAUSE) == []
    assert error_of(answer)["errorMessage"] == "x" * 100_000


# The context

CLIENT_CONTEXT = {
    "custom": {"key": "value"},
    "env": {"platform": "test"},
    "client": {
        "installation_id": "i",
        "app_title": "t",
        "app_version_name": "n",
        "app_version_code": "c",
        "app_package_name": "p",
        "unknown": "dropped",
    },
}
CLIENT_HEADER = "Lambda-Runtime-Client-Context"
IDENTITY_HEADER = "Lambda-Runtime-Cognito-Identity"
TENANT_HEADER = "Lambda-Runtime-Aws-Tenant-Id"

BROKEN = {
    "57 client context": (CLIENT_HEADER, "{", "Client Context"),
    "57 identity": (IDENTITY_HEADER, "nonsense", "Cognito Identity"),
    "58 client context is a list": (CLIENT_HEADER, "[]", "Client Context"),
    "58 client context is text": (CLIENT_HEADER, '"text"', "Client Context"),
    "58 client is a number": (CLIENT_HEADER, '{"client": 5}', "Client Context"),
    "58 identity is a number": (IDENTITY_HEADER, "7", "Cognito Identity"),
}


def test_57_and_58_a_context_that_cannot_be_read_fails_its_invocation(api: FakeRuntimeApi, start: Start) -> None:
    ids = {name: api.add_event({}, headers={header: text}) for name, (header, text, _) in BROKEN.items()}
    served = api.add_event({})
    start("contexts.handler")
    assert api.wait_answer(served).kind == "response"
    for name, request_id in ids.items():
        document = error_of(api.wait_answer(request_id))
        assert document["errorType"] == "Runtime.LambdaContextUnmarshalError"
        assert document["errorMessage"].startswith(f"Unable to parse {BROKEN[name][2]} JSON: ")
        assert document["requestId"] == request_id
        assert document["stackTrace"] == []


def test_59_a_full_context(api: FakeRuntimeApi, start: Start) -> None:
    deadline = int(time.time() * 1000) + 30_000
    headers = {
        CLIENT_HEADER: json.dumps(CLIENT_CONTEXT),
        IDENTITY_HEADER: '{"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"}',
        TENANT_HEADER: "blue",
    }
    request_id = api.add_event({}, headers=headers, deadline_ms=deadline)
    start("contexts.handler", AWS_LAMBDA_LOG_GROUP_NAME="/aws/lambda/test", AWS_LAMBDA_LOG_STREAM_NAME="2026/[1]")
    seen = api.wait_answer(request_id).document
    del seen["repr"], seen["public"], seen["variables"], seen["client_context_class"]
    client = {name: value for name, value in CLIENT_CONTEXT["client"].items() if name != "unknown"}
    assert seen == {
        "aws_request_id": request_id,
        "log_group_name": "/aws/lambda/test",
        "log_stream_name": "2026/[1]",
        "function_name": "fairlead-test",
        "memory_limit_in_mb": "128",
        "function_version": "$LATEST",
        "invoked_function_arn": FUNCTION_ARN,
        "tenant_id": "blue",
        "client_context": {**CLIENT_CONTEXT, "client": client},
        "identity": {"cognito_identity_id": "id", "cognito_identity_pool_id": "pool"},
        "w3c": {},
        "deadline": deadline,
    }


@pytest.mark.parametrize("absent", [None, ""], ids=["absent", "empty"])
def test_59_what_the_platform_does_not_say_is_none(ask: Ask, absent: str | None) -> None:
    headers = dict.fromkeys((CLIENT_HEADER, IDENTITY_HEADER, TENANT_HEADER), absent)
    seen = ask("contexts.handler", {}, headers=headers).document
    assert seen["client_context"] is None
    assert seen["tenant_id"] is None
    assert seen["identity"] == {"cognito_identity_id": None, "cognito_identity_pool_id": None}
    assert seen["log_group_name"] is None


def test_60_remaining_time_decreases(ask: Ask) -> None:
    before, after = ask("contexts.remaining", 0.02).document
    assert 0 < after <= before - 20
    assert before <= 60_000


@pytest.mark.parametrize("deadline", ["1", None, "soon"], ids=["in the past", "absent", "nonsense"])
def test_60_and_is_never_below_zero(ask: Ask, deadline: str | None) -> None:
    answer = ask("contexts.remaining", 0, headers={"Lambda-Runtime-Deadline-Ms": deadline})
    assert answer.document == [0, 0]


W3C = {
    "all": (
        {"traceparent": "tp", "tracestate": "ts", "baggage": "b"},
        {"traceparent": "tp", "tracestate": "ts", "baggage": "b"},
    ),
    "others are dropped": ({"traceparent": "tp", "other": "x"}, {"traceparent": "tp"}),
    "only text": ({"traceparent": 5, "baggage": ["x"], "tracestate": "ts"}, {"tracestate": "ts"}),
    "no object": ("traceparent", {}),
    "none": (None, {}),
}


@pytest.mark.parametrize(("passed", "seen"), W3C.values(), ids=W3C)
def test_61_w3c_is_filtered_and_taken_out_of_the_client_context(ask: Ask, passed: object, seen: object) -> None:
    header = json.dumps({"custom": {"kept": "yes"}, "w3c": passed})
    context = ask("contexts.handler", {}, headers={CLIENT_HEADER: header}).document
    assert context["w3c"] == seen
    assert context["client_context"]["custom"] == {"kept": "yes"}


def test_62_the_trace_id_is_set_changed_and_removed(api: FakeRuntimeApi, start: Start) -> None:
    """In ``os.environ`` and in the environment of child processes."""
    values = [TRACE_ID, "Root=2", "Root=2", None, "Root=3", ""]
    ids = [api.add_event({}, headers={"Lambda-Runtime-Trace-Id": value}) for value in values]
    start("contexts.trace")
    seen = [api.wait_answer(request_id).document for request_id in ids]
    assert seen == [[value or None, value or ""] for value in values]


def test_62_there_is_none_during_init(ask: Ask) -> None:
    assert ask("contexts.trace_at_init", {}).document is None


def test_context_log_writes_what_it_is_given(api: FakeRuntimeApi, start: Start) -> None:
    request_id = api.add_event("some text")
    process = start("contexts.log")
    api.wait_answer(request_id)
    assert process.stdout == "some text{'not': 'text'}"


# Handlers that are awaited, and what stays between invocations


def test_63_an_async_handler_is_awaited(ask: Ask) -> None:
    assert ask("failures.async_handler", "some event").document == "some event"


def test_63_its_exception_is_reported_without_the_loops_frames(ask: Ask) -> None:
    document = error_of(ask("failures.async_handler", "value error"))
    assert document["errorType"] == "ValueError"
    assert ", in async_handler\n" in document["stackTrace"][0]


@pytest.mark.parametrize("handler", ["lasting.lazy", "lasting.instance"])
def test_63_whatever_is_awaitable_is_awaited(ask: Ask, handler: str) -> None:
    assert ask(handler, "awaited").document == "awaited"


def test_63_there_is_one_loop_and_a_task_goes_on_in_the_next_invocation(api: FakeRuntimeApi, start: Start) -> None:
    ids = [api.add_event(event) for event in ("start", "end")]
    start("lasting.task")
    assert [api.wait_answer(request_id).document for request_id in ids] == ["started", ["finished", 1]]


def test_64_state_stays_and_the_process_is_the_same(api: FakeRuntimeApi, start: Start) -> None:
    ids = [api.add_event({}) for _ in range(3)]
    process = start("lasting.count")
    assert [api.wait_answer(request_id).document for request_id in ids] == [[n, process.pid] for n in (1, 2, 3)]


def test_64_a_thread_that_goes_on_holds_nothing_up(api: FakeRuntimeApi, start: Start) -> None:
    ids = [api.add_event({}) for _ in range(2)]
    api.add_stop()
    process = start("lasting.thread")
    assert [api.wait_answer(request_id).document for request_id in ids] == [2, 3]
    assert process.wait() == 1


# Signals and ends


def test_86_a_signal_handler_runs_while_nothing_is_invoked(api: FakeRuntimeApi, start: Start) -> None:
    request_id = api.add_event({})
    process = start("lasting.end_politely")
    api.wait_answer(request_id)
    api.wait_idle()
    assert wait_receiving(process.pid)
    process.terminate()
    assert process.wait() == 0
    assert process.stdout == "the signal handler ran\natexit ran\n"


def test_86_even_when_the_signal_comes_a_moment_before_the_wait(api: FakeRuntimeApi, start: Start) -> None:
    """Such a signal interrupts nothing: so no receive may last for ever. Without a handler there need be no limit."""
    idle = start("lasting.count")
    api.wait_idle()
    assert wait_receiving(idle.pid)
    port = int(api.address.rpartition(":")[2])
    try:
        limits = [time_limits_of(sock) for sock in sockets_to(idle.pid, port)]
    except PermissionError:
        pytest.skip("one process may not look into another here")
    assert limits == [[], []]  # next, and the extension
    idle.kill()
    with FakeRuntimeApi() as other:
        request_id = other.add_event({})
        process = start_bootstrap(
            other, handler="lasting.end_politely", environment={"LAMBDA_TASK_ROOT": str(HANDLERS)}
        )
        other.wait_answer(request_id)
        other.wait_idle()
        wait_asleep(process.pid)
        port = int(other.address.rpartition(":")[2])
        assert ["SO_RCVTIMEO"] in [time_limits_of(sock) for sock in sockets_to(process.pid, port)]


def test_86_a_signal_handler_of_asyncio_runs_too(api: FakeRuntimeApi, start: Start) -> None:
    request_id = api.add_event({})
    process = start("lasting.end_by_loop")
    api.wait_answer(request_id)
    api.wait_idle()
    process.terminate()
    assert process.wait() == 0
    assert process.stdout == "the signal handler ran\n"


def test_86_a_signal_handler_that_returns_ends_nothing(api: FakeRuntimeApi, start: Start) -> None:
    request_id = api.add_event({})
    process = start("lasting.ignore_once")
    api.wait_answer(request_id)
    api.wait_idle()
    process.terminate()
    process.wait_output("not yet")
    assert api.wait_answer(api.add_event({})).document == "ready"


def test_86_a_signal_handler_that_raises_ends_the_process_with_its_trace(api: FakeRuntimeApi, start: Start) -> None:
    request_id = api.add_event({})
    process = start("lasting.fail_on_signal")
    api.wait_answer(request_id)
    api.wait_idle()
    process.terminate()
    assert process.wait() == 1
    assert "in the signal handler" in process.stderr


def test_86_without_a_signal_handler_it_ends_at_once(api: FakeRuntimeApi, start: Start) -> None:
    process = start("lasting.count")
    api.wait_idle()
    process.terminate()
    assert process.wait() == -signal.SIGTERM


def test_88_the_extension_that_makes_sigterm_come_is_registered_before_next(api: FakeRuntimeApi, start: Start) -> None:
    start("lasting.count")
    api.wait_idle()
    registered = api.wait_registered()
    assert registered.number < api.nexts[0].number
    assert json.loads(registered.body) == {"events": []}


def test_90_and_not_when_it_is_switched_off(api: FakeRuntimeApi, start: Start) -> None:
    start("lasting.count", FAIRLEAD_SHUTDOWN_GRACE_MS="0")
    api.wait_idle()
    assert api.of_kind("register") == []


def test_83_what_was_printed_before_a_crash_is_there(api: FakeRuntimeApi, start: Start) -> None:
    api.add_event({})
    process = start("lasting.crash")
    assert process.wait() == -signal.SIGKILL
    assert process.stdout == "before the crash\nwithout a line end"


def test_83_and_before_an_end(api: FakeRuntimeApi, start: Start) -> None:
    api.add_event({})
    process = start("lasting.leave")
    assert process.wait() == 3
    assert process.stdout.startswith("before the end")
    assert process.stdout.endswith("atexit ran\n")
