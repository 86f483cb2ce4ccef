"""A large body is cut out of its payload before that is read as JSON, or held as octets: what comes of it is the same.

"The same" is what the app gets, or what the invocation fails with, in exactly the same words: ``outcome`` of the event
as it was read whole, and of the event as ``events.event_of`` reads it.
"""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import InvocationFault
from runtime.events import FORMATS, TRIGGER, EventOptions, binary, detect, event_of, large_body
from runtime.invocation import Invocation
from runtime.json_codec import loads
from runtime.python.web_callable import Current
from tests.events import rest_api

DATA = Path(__file__).parents[1] / "data" / "events"
OPTIONS = EventOptions()
OCTETS = bytes(range(256)) * 300
BASE64 = base64.b64encode(OCTETS).decode()
EVENTS = [path for path in sorted(DATA.glob("*/*.json")) if "." not in path.stem]


@pytest.fixture(params=["pybase64", "binascii"], autouse=True)
def decoder(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each of the two base64 decoders; and no body is too small."""
    with pytest.MonkeyPatch.context() as patch:
        pair = None
        if request.param == "pybase64":
            found = pytest.importorskip("pybase64._pybase64")
            pair = found.b64encode, found.b64decode
        patch.setattr(binary, "_is_known", True)
        patch.setattr(binary, "_fast", pair)
        patch.setattr(binary, "LARGE", 1)
        patch.setattr(large_body, "LARGE", 1)
        yield


def outcome(read: Callable[[bytes], object], payload: bytes) -> object:
    """All that anybody can see of how the payload was read: in its own format, and in every other."""
    try:
        event = read(payload)
    except ValueError as error:
        return str(error)
    # What the event's own format makes of it, and a format to which the other one of the two flags belongs.
    others = [candidate for candidate in FORMATS if candidate.name in ("function-url", "lattice-1", "alb")]
    rest = {key: value for key, value in event.items() if key != "body"} if isinstance(event, dict) else event
    candidates = [detect(event), TRIGGER, *(others if isinstance(event, dict) else ())]
    keys = list(event) if isinstance(event, dict) else None
    return [(each.name, request_or_fault(each.to_request, event, payload), rest, keys) for each in candidates]


def request_or_fault(to_request: Callable[..., Any], event: object, payload: bytes) -> object:
    try:
        return to_request(event, Invocation("id", payload), OPTIONS)
    except InvocationFault as fault:
        return type(fault), fault.error_type, fault.message


def is_cut(event: object) -> bool:
    """Whether the body was cut out: then it is shown as a part of the payload."""
    body = event.get("body") if isinstance(event, dict) else None
    return isinstance(body, binary.LargeBody) and isinstance(body.text, memoryview)


# ---- what is cut out ------------------------------------------------------------------------------------------------

NAMES = '"body":"' + "x" * 4000
SOURCES: dict[str, dict[str, Any]] = {
    "a Function URL": {
        "version": "2.0",
        "rawPath": "/",
        "requestContext": {"domainName": "a.lambda-url.x.on.aws", "http": {"method": "POST", "path": "/"}},
    },
    "an HTTP API": {"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "POST"}}},
    "a REST API": rest_api("POST", "/"),
    "a load balancer": {"httpMethod": "POST", "path": "/", "headers": {}, "requestContext": {"elb": {}}},
    "VPC Lattice": {"method": "POST", "path": "/", "requestContext": {"serviceArn": "arn:aws:vpc-lattice:x"}},
}


def spelled(event: dict[str, Any], **members: object) -> bytes:
    """The event as compact JSON, with the members at its end."""
    members = {"body": BASE64, "isBase64Encoded": True, **members}
    return json.dumps({**event, **members}, ensure_ascii=False, separators=(",", ":")).encode()


URL = SOURCES["a Function URL"]
LATTICE_1 = {"raw_path": "/", "method": "POST", "body": BASE64, "is_base64_encoded": True}
CUT = {
    **{name: spelled(event) for name, event in SOURCES.items()},
    "VPC Lattice, structure 1": json.dumps(LATTICE_1).encode(),
    "the flag as a string": spelled(URL, isBase64Encoded="true"),
    "blanks after the colons": json.dumps({**URL, "body": BASE64, "isBase64Encoded": True}).encode(),
    "written over several lines": json.dumps({**URL, "body": BASE64, "isBase64Encoded": True}, indent=4).encode(),
    "the body comes first": json.dumps({"body": BASE64, "isBase64Encoded": True, **URL}).encode(),
    "a name in escapes": spelled(URL).replace(b'"body"', b'"b\\u006fdy"'),
    "text that is not ASCII around it": spelled(URL, headers={"x-name": "Zoë"}, cookies=["名=値"]),
    "a header named body": spelled({**URL, "headers": {"body": "A" * 4000}}),
    "a query parameter named body": spelled({**SOURCES["a REST API"], "queryStringParameters": {"body": "A" * 4000}}),
    "names that look like it": spelled({**URL, "headers": {NAMES: NAMES, 'a"body': "A" * 4000}}),
    "a nested body in base64": spelled({**URL, "x": {"body": "A" * 4000, "isBase64Encoded": True}}),
    "an empty body before it": b'{"body":"",' + spelled(URL)[1:],
    "a small body before it": b'{"body":"QQ==",' + spelled(URL)[1:],
    "a flag that was taken back": b'{"isBase64Encoded":false,' + spelled(URL)[1:],
}


@pytest.mark.parametrize("payload", CUT.values(), ids=CUT)
def test_a_large_body_in_base64_is_cut_out(payload: bytes) -> None:
    assert is_cut(event_of(payload))
    seen = outcome(event_of, payload)
    assert seen == outcome(loads, payload)
    request = seen[0][1]  # type: ignore[index]
    assert request.body == OCTETS


# ---- what is not ----------------------------------------------------------------------------------------------------

HALF = "A" * 100_000
NOT_CUT = {
    "a small payload": spelled(URL, body="QUJD"),
    "text": spelled(URL, body="A" * 100_000, isBase64Encoded=False),
    "text with half a character": spelled(URL, body="A" * 100_000, isBase64Encoded=False).replace(b"AA", b"\\ud83d", 1),
    "text that is not ASCII": spelled(URL, body="Zoë" * 30_000, isBase64Encoded=False),
    "text with quotation marks": spelled(URL, body='"A"' * 30_000, isBase64Encoded=False),
    "no flag": spelled(URL, isBase64Encoded=None),
    "a flag that is not true": spelled(URL, isBase64Encoded="True"),
    "the flag in a nested object": spelled({**URL, "x": {"isBase64Encoded": True}}, isBase64Encoded=False),
    "a flag that was taken back at the end": spelled(URL)[:-1] + b',"isBase64Encoded":false}',
    "a second body, small": spelled(URL)[:-1] + b',"body":"QQ=="}',
    "a second body, its name in escapes": spelled(URL)[:-1] + b',"b\\u006fdy":"QQ=="}',
    "a second body, null": spelled(URL)[:-1] + b',"body":null}',
    "a second body, as large": spelled(URL)[:-1] + b',"body":"' + HALF.encode() + b'"}',
    "a header named body, larger than the body": spelled({**URL, "headers": {"body": HALF}}, body="QUJD"),
    "a query parameter named body, and no body": spelled({**URL, "q": {"body": HALF}}, body=None),
    "another member": spelled(URL, body="QUJD", other=HALF),
    "a member of a list": b"[%b]" % spelled(URL),
    "a member of an object": b'{"a":%b,"isBase64Encoded":true}' % spelled(URL),
    "an array of bodies": b'{"isBase64Encoded":true,"body":["%b"]}' % BASE64.encode(),
    "a bare string": b'"%b"' % BASE64.encode(),
    "a name": b'{"%b":"body","isBase64Encoded":true}' % BASE64.encode(),
    "a record of a batch": json.dumps({"Records": [{"body": BASE64, "isBase64Encoded": True}]}).encode(),
    "no padding": spelled(URL, body=BASE64 + "QQ"),
    "another large part": spelled({**URL, "x": "A" * 50_000}),
    "escaped slashes": spelled(URL).replace(b"/", b"\\/"),
    "an escape inside": spelled(URL, body=BASE64[:-4]).replace(BASE64[-8:-4].encode(), b"\\u0041" + b"AAA", 1),
}


@pytest.mark.parametrize("payload", NOT_CUT.values(), ids=NOT_CUT)
def test_all_else_is_read_as_it_always_was(payload: bytes) -> None:
    assert not is_cut(event_of(payload))
    assert outcome(event_of, payload) == outcome(loads, payload)


# ---- what fails -----------------------------------------------------------------------------------------------------

AT = 1000


def damaged(text: str) -> bytes:
    """An upload in whose base64 there is this, spelled in JSON."""
    return spelled(URL, body=BASE64[:AT] + text + BASE64[AT + len(text) :])


WHOLE = spelled(URL)
NO_BASE64 = {
    "a blank": damaged(" "),
    "an escaped line feed": spelled(URL, body=BASE64[:AT] + "\n" + BASE64[AT:]),
    "an escaped quotation mark": spelled(URL, body=BASE64[:AT] + '"' + BASE64[AT:]),
    "url-safe": damaged("-_"),
    "padding in the middle": damaged("=="),
    "padding at the start": spelled(URL, body="====" + BASE64),
    "more after the padding": spelled(URL, body=BASE64 + "QQ==QUJD"),
    "padding of one that stands alone": spelled(URL, body=BASE64 + "Q==="),
    "one character too many": spelled(URL, body=BASE64 + "A"),
    "not ASCII": damaged("é"),
}
# Of these it depends on Python's version, and on the decoder, whether they pass.
DISPUTED = {
    "padding of its own": spelled(URL, body=BASE64 + "===="),
    "padding that is too much by one": spelled(URL, body=BASE64 + "QUJD="),
    "padding that is too much by two": spelled(URL, body=BASE64 + "QQ===="),
    "bits that are left over": spelled(URL, body=BASE64 + "QR=="),
}
NO_JSON = {
    "a line feed in the body": spelled(URL, body=BASE64 + "****").replace(b"****", b"\n\n\n\n"),
    "a NUL in the body": spelled(URL, body=BASE64 + "****").replace(b"****", b"AA\0A"),
    "a body that does not end": WHOLE[: WHOLE.rindex(b'"', 0, -30)],
    "a body that ends early": damaged("A").replace(BASE64[:AT].encode(), BASE64[: AT - 1].encode() + b'"', 1),
    "an unknown escape in the body": spelled(URL, body=BASE64 + "****").replace(b"****", b"\\xAA"),
    "cut off": WHOLE[:-1],
    "more after the event": WHOLE + b"}",
    "a comma too many": WHOLE[:-1] + b",}",
    "not UTF-8 before the body": WHOLE.replace(b"2.0", b"2\xff0"),
    "not UTF-8 in the body": spelled(URL, body=BASE64 + "****").replace(b"****", b"AA\xffA"),
    "not UTF-8 after the body": WHOLE[:-1] + b',"x":"\xff"}',
    "half a character before the body": WHOLE.replace(b'"body":"', b'"x\xc3":"'),
    "a byte order mark": b"\xef\xbb\xbf" + WHOLE,
    "nested too deeply": WHOLE[:-1] + b',"x":' + b"[" * 5_000 + b"}",
    "no event at all": b'"' * 70_000,
}


@pytest.mark.parametrize("payload", NO_BASE64.values(), ids=NO_BASE64)
def test_base64_that_is_none_is_refused_in_the_same_words(payload: bytes) -> None:
    seen = outcome(event_of, payload)
    assert seen == outcome(loads, payload)
    error, _, message = seen[0][1]  # type: ignore[index]
    assert error.__name__ == "BadRequest"
    assert message.startswith("the event's body is not valid base64: ")


@pytest.mark.parametrize("payload", DISPUTED.values(), ids=DISPUTED)
def test_base64_that_is_disputed_is_taken_or_refused_as_before(payload: bytes) -> None:
    assert outcome(event_of, payload) == outcome(loads, payload)


@pytest.mark.parametrize("payload", NO_JSON.values(), ids=NO_JSON)
def test_json_that_is_none_is_refused_in_the_same_words(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r".+") as expected:
        loads(payload)
    with pytest.raises(ValueError, match=r".+") as found:
        event_of(payload)
    assert str(found.value) == str(expected.value)


# ---- any event ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_kind_of_event_stays_what_it_is_with_a_large_body(path: Path) -> None:
    """As it is, and with an upload for its body."""
    payload = path.read_bytes()
    assert outcome(large_body.event_of, payload) == outcome(loads, payload)
    event = loads(payload)
    if isinstance(event, dict):
        for flag in ("isBase64Encoded", "is_base64_encoded"):
            upload = json.dumps({**event, "body": BASE64 * 3, flag: True}).encode()
            assert outcome(event_of, upload) == outcome(loads, upload)


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


LONG = st.binary(min_size=40, max_size=90).map(_base64)
TEXTS = st.one_of(
    LONG, LONG.map(lambda text: text.rstrip("=")), st.text(max_size=12), st.sampled_from(['"body":"', "\ud83d"])
)
VALUES = st.recursive(
    st.one_of(TEXTS, st.sampled_from([None, True, False, 1, "true"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["body", "x", 'a"body']), inner, max_size=2)
    ),
    max_leaves=3,
)
FLAGS = st.sampled_from([True, True, True, "true", False, None, 1, "false"])
MEMBERS = st.one_of(
    st.tuples(st.just("body"), st.one_of(LONG, LONG, VALUES)),
    st.tuples(st.sampled_from(["isBase64Encoded", "isBase64Encoded", "is_base64_encoded"]), FLAGS),
    st.tuples(st.sampled_from(["headers", "x", "queryStringParameters", "raw_path", "method"]), VALUES),
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """An object with members that may come twice, in any order and spelling; often with damage somewhere."""
    members = draw(st.lists(MEMBERS, max_size=4))
    members.insert(
        draw(st.integers(0, len(members))), ("body", draw(st.binary(min_size=600, max_size=900).map(_base64)))
    )
    members.insert(draw(st.integers(0, len(members))), ("isBase64Encoded", draw(FLAGS)))
    is_ascii, colon, comma = (
        draw(st.booleans()),
        draw(st.sampled_from([":", ": ", " :\n"])),
        draw(st.sampled_from([",", ", ", "\n,"])),
    )
    spelled = [json.dumps(name) + colon + json.dumps(value, ensure_ascii=is_ascii) for name, value in members]
    payload = ("{" + comma.join(spelled) + "}").encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 2)):
        return payload
    at = draw(st.integers(0, len(payload)))
    damage = draw(
        st.sampled_from([b"", b'"', b"\\", b"\\u0041", b"\xff", b"\xc3", b"\0", b"=", b"A", b"}", b'"body":"'])
    )
    return payload[:at] + damage + payload[at + draw(st.integers(0, 4)) :]


@settings(derandomize=True, deadline=None, max_examples=800)
@given(payload=payloads())
def test_any_payload_is_read_as_if_nothing_were_cut_out(payload: bytes) -> None:
    assert outcome(large_body.event_of, payload) == outcome(loads, payload)


def test_the_payloads_above_are_such_as_are_cut_out_and_such_as_are_not() -> None:
    cut: list[bool] = []

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(payload=payloads())
    def look(payload: bytes) -> None:
        try:
            event = large_body.event_of(payload)
        except ValueError:
            return
        cut.append(is_cut(event))

    look()
    assert 40 < sum(cut) < len(cut) - 40


# ---- what it is for -------------------------------------------------------------------------------------------------


def test_an_upload_is_held_as_payload_and_body_alone() -> None:
    """Three quarters of the payload, that is the decoded body: no text of it, no copy of its base64."""
    payload = spelled(URL, body=BASE64 * 10)
    event_of(payload)  # what is imported for it is not counted
    tracemalloc.start()
    try:
        event = event_of(payload)
        detect(event).to_request(event, Invocation("id", payload), OPTIONS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.77 * len(payload)


def test_large_text_is_held_once() -> None:
    payload = spelled(URL, body="Zoë" * 30_000, isBase64Encoded=False)
    event: Any = event_of(payload)
    assert detect(event).to_request(event, Invocation("id", payload), OPTIONS).body is event["body"].octets


def test_an_app_that_is_shown_the_event_is_shown_text() -> None:
    payload = spelled(URL)
    assert Current().decode(payload) == json.loads(payload)
