"""runtime/json_codec.py agrees with the standard library's json where that is strict; it raises ValueError only."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import json_codec

ROOT = Path(__file__).parents[2]
EXAMPLES = settings(derandomize=True, deadline=None, max_examples=200)
WITHOUT_C = "runtime.json_codec_without_c"


def load_without_c_accelerator() -> Any:
    """The same source as it runs on a Python that has no ``_json``."""
    accelerator = sys.modules["_json"]
    sys.modules["_json"] = None  # type: ignore[assignment]  # how an import is made to fail
    try:
        spec = importlib.util.spec_from_file_location(WITHOUT_C, json_codec.__file__)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.modules["_json"] = accelerator
    return module


CODECS = {"with _json": json_codec, "without _json": load_without_c_accelerator()}


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Any:
    return CODECS[request.param]


def test_the_fallback_really_runs_without_the_c_module() -> None:
    assert CODECS["with _json"]._json is not None
    assert CODECS["without _json"]._json is None


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b'{"a":[1,-2.5e3,true,false,null,"\\u00e9\\n"]}', {"a": [1, -2500.0, True, False, None, "é\n"]}),
        (b" \t\r\n[1]\r\n\t ", [1]),
        ('"日本"'.encode(), "日本"),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"12345678901234567890123", 12345678901234567890123),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\ud83d"', "\ud83d"),
        (b"-0", 0),
        (b"[1E400]", ["1E400"]),
        (b"[-1e400]", ["-1e400"]),
    ],
)
def test_loads(codec: Any, payload: bytes, value: object) -> None:
    assert codec.loads(payload) == value


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(payload, id=name)
        for name, payload in {
            "empty": b"",
            "only-white-space": b"  ",
            "not-utf-8": b'"\xff"',
            "utf-8-surrogate": b'"\xed\xa0\x80"',
            "byte-order-mark": b"\xef\xbb\xbf1",
            "utf-16": '"a"'.encode("utf-16"),
            "trailing-garbage": b"1 2",
            "trailing-comma": b'{"a":1,}',
            "trailing-nul": b"1\0",
            "open-object": b'{"a":1',
            "open-array": b"[1,",
            "open-string": b'"a',
            "bare-word": b"nul",
            "capital-true": b"True",
            "single-quotes": b"{'a':1}",
            "leading-zero": b"01",
            "plus-sign": b"+1",
            "lone-minus": b"-",
            "control-character-in-a-string": b'"\x01"',
            "bad-escape": b'"\\x"',
            "short-escape": b'"\\u12"',
            "number-as-key": b"{1:2}",
            "NaN": b"NaN",
            "Infinity": b"[Infinity]",
            "minus-Infinity": b'{"a":-Infinity}',
            "non-breaking-space": "\u00a01".encode(),
            "vertical-tab": b"\x0b1",
            "nested-too-deeply": b"[" * 200_000 + b"]" * 200_000,
            "nested-and-open": b'{"a":' * 200_000,
        }.items()
    ],
)
def test_loads_refuses(codec: Any, payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"^\S.{3,120}$"):  # a short reason, on one line
        codec.loads(payload)


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_million_digits_come_back_as_text(codec: Any, sign: str) -> None:
    """As an int they would take quadratic time; CPython refuses them."""
    digits = sign + "9" * 1_000_000
    assert codec.loads(f'{{"n":{digits},"m":1}}'.encode()) == {"n": digits, "m": 1}


def test_an_integer_of_the_longest_length_is_an_integer(codec: Any) -> None:
    assert codec.loads(b"9" * 4300) == int("9" * 4300)


@pytest.mark.parametrize(
    ("value", "plain", "ascii_only"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, '{"a":[1,2.5,null,true,"é"]}', '{"a":[1,2.5,null,true,"\\u00e9"]}'),
        ('\x00\x1f\x7f"\\/\r\n\t', '"\\u0000\\u001f\x7f\\"\\\\/\\r\\n\\t"', '"\\u0000\\u001f\\u007f\\"\\\\/\\r\\n\\t"'),
        ("😀", '"😀"', '"\\ud83d\\ude00"'),
        ("\u2028", '"\u2028"', '"\\u2028"'),
        ("a\ud83db", '"a\ufffdb"', '"a\\ud83db"'),
        ("\ude00\ud83d", '"\ufffd\ufffd"', '"\\ude00\\ud83d"'),
        ({}, "{}", "{}"),
        (None, "null", "null"),
        (12345678901234567890123, "12345678901234567890123", "12345678901234567890123"),
    ],
)
def test_dumps(codec: Any, value: object, plain: str, ascii_only: str) -> None:
    assert codec.dumps(value) == plain.encode()
    assert codec.dumps_ascii(value) == ascii_only


@pytest.mark.parametrize("dump", ["dumps", "dumps_ascii"])
def test_dumps_refuses_what_json_cannot_spell(codec: Any, dump: str) -> None:
    endless: list[object] = []
    for _ in range(200_000):
        endless = [endless]
    for value in (float("nan"), float("inf"), -float("inf"), {"a": {1, 2}}, b"bytes", endless):
        with pytest.raises(ValueError, match=r"\S"):
            getattr(codec, dump)(value)


@pytest.mark.parametrize("text", ["", "plain", 'a"\\\n\0', "é😀", "\ud800", "\ud83d x \ude00"])
def test_quote_is_dumps_of_a_string(codec: Any, text: str) -> None:
    assert codec.quote(text) == codec.dumps(text)
    assert codec.quote_ascii(text) == codec.dumps_ascii(text)
    assert codec.utf8(text) == json.loads(codec.quote(text)).encode()


LARGE = {
    "nothing-to-escape": "abc é 😀 \x7f" * 20_000,
    "few-escapes": 'He said: "no" \\ yes.\t\r\nAnd so on, and so on, for a while.' * 5_000,
    "dense-escapes": '{"a":"b","c":["d"]}\n' * 10_000,
    "sparse-then-dense": "a" * 100_000 + '"\\' * 100_000,
    "a-rare-control-character-at-the-end": "a" * 100_000 + "\x00\x1f\x0b\x08\x0c",
    "short": '"',
    "empty": "",
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_text_is_quoted_like_a_small_one(codec: Any, name: str) -> None:
    assert codec.quote_large(LARGE[name].encode()) == codec.quote(LARGE[name])


texts = st.text(st.characters(codec=None, exclude_categories=()))
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@EXAMPLES
@given(documents)
def test_writes_what_json_writes_and_reads_it_back(value: object) -> None:
    for codec in CODECS.values():
        ascii_text = codec.dumps_ascii(value)
        assert ascii_text == json.dumps(value, separators=(",", ":"))
        assert ascii_text.isprintable()
        assert codec.loads(ascii_text.encode()) == json.loads(ascii_text)
        plain = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        if not any("\ud800" <= character <= "\udfff" for character in plain):
            assert codec.dumps(value) == plain.encode()


def finite_or_text(digits: str) -> float | str:
    return float(digits) if math.isfinite(float(digits)) else digits


@EXAMPLES
@given(st.text('[]{},:"\\0123456789.eE+- truefalsn\n\x01é', max_size=12))
def test_accepts_what_json_accepts(text: str) -> None:
    try:
        expected = json.loads(text, parse_float=finite_or_text, parse_constant=pytest.fail)
    except ValueError:
        for codec in CODECS.values():
            with pytest.raises(ValueError, match=r"\S"):
                codec.loads(text.encode())
    else:
        for codec in CODECS.values():
            assert codec.loads(text.encode()) == expected


@EXAMPLES
@given(st.binary(max_size=30))
def test_what_loads_returns_can_be_written(payload: bytes) -> None:
    for codec in CODECS.values():
        try:
            value = codec.loads(payload)
        except ValueError:
            continue
        assert codec.loads(codec.dumps(value)) == value


def in_a_fresh_interpreter(program: str) -> str:
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from runtime import json_codec\n"
    done = subprocess.run(
        [sys.executable, "-IS", "-c", start + program], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


# Payloads, and the text of the member "a" of the outermost object; "": it is not known, and has to be written again.
SOURCES = {
    "as Lambda writes it": (b'{"x":1,"a":{"b":"c","d":[1,{}]},"y":2}', '{"b":"c","d":[1,{}]}'),
    "first and alone": (b'{"a":{"b":1}}', '{"b":1}'),
    "with an escape": (rb'{"a":{"b":"\u00e4\""}}', r'{"b":"\u00e4\""}'),
    "twice, the last one counts": (b'{"a":{"b":1},"a":{"b":2}}', ""),
    "twice, the first one escaped": (rb'{"\u0061":{"b":1},"a":{"b":2}}', '{"b":2}'),
    "twice, the last one escaped": (rb'{"a":{"b":1},"\u0061":{"b":2}}', ""),
    "inside of another member": (b'{"x":{"a":{"b":1}},"a":{"b":2}}', ""),
    "inside of another member alone": (b'{"x":{"a":{"b":1}}}', ""),
    "inside of a list": (b'[{"a":{"b":1}}]', ""),
    "inside of a string": (rb'{"x":"\"a\":{\"b\":1}","a":{"b":2}}', '{"b":2}'),
    "the end of a longer name": (rb'{"x\"a":{"b":1}}', ""),
    "no object": (b'{"a":"b"}', ""),
    "with blanks": (b'{"a":{"b": 1, "c": 2}}', ""),
    "with line breaks": (b'{"a":{"b":1,\n"c":2}}', ""),
    "with blanks before": (b'  {"a":{"b":1}} ', ""),
    "not ASCII": ('{"a":{"b":"ä"}}'.encode(), ""),
    "with DEL": (b'{"a":{"b":"\x7f"}}', ""),
    "not there": (b'{"x":1}', ""),
    "a number of many digits": (b'{"a":{"b":1' + b"0" * 5000 + b"}}", ""),
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_text_of_a_member_is_its_own(name: str) -> None:
    payload, source = SOURCES[name]
    event, found = json_codec.loads_with_source(payload, "a")
    assert (event, found) == (json_codec.loads(payload), source)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b'{"a":{"b":1}', b'{"a":{"b":1}}x', b'{"a":{b}}', b"\xff", b"[" * 100_000]
)
def test_the_text_of_a_member_of_what_is_not_json_is_refused_as_by_loads(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as expected:
        json_codec.loads(payload)
    with pytest.raises(ValueError, match=f"^{re.escape(str(expected.value))}$"):
        json_codec.loads_with_source(payload, "a")


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.sampled_from("ab"), inner)))
def test_the_text_of_a_member_spells_it(value: object) -> None:
    payload = json.dumps({"x": value, "a": value, "y": value}, separators=(",", ":")).encode()
    event, source = json_codec.loads_with_source(payload, "a")
    assert event == json_codec.loads(payload)
    assert not source or json.loads(source) == value


def test_start_needs_neither_json_nor_re() -> None:
    program = "json_codec.loads(b'[1]'); json_codec.dumps([1]); print([m for m in ('json', 're') if m in sys.modules])"
    assert in_a_fresh_interpreter(program) == "[]"


def test_the_first_malformed_payload_of_a_process_is_a_value_error() -> None:
    """Without the json package loaded, CPython 3.11's scanner raises SystemError here."""
    program = "try: json_codec.loads(b'{')\nexcept ValueError: print('refused')"
    assert in_a_fresh_interpreter(program) == "refused"
