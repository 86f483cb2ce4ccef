"""runtime/python/codec.py: both of its ways to spell a value agree, with each other and with the standard library."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.python import codec as handler_json

ROOT = Path(__file__).parents[2]
EXAMPLES = settings(derandomize=True, deadline=None, max_examples=200)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=()))  # halves of surrogate pairs too
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS | st.integers() | st.none(), inner),
    max_leaves=30,
)


def load_without_c_accelerator() -> Any:
    """The same source as it runs on a Python that has no ``_json``."""
    accelerator = sys.modules["_json"]
    sys.modules["_json"] = None  # type: ignore[assignment]  # how an import is made to fail
    try:
        spec = importlib.util.spec_from_file_location("runtime.python.codec_without_c", handler_json.__file__)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.modules["_json"] = accelerator
    return module


CODECS = {
    "with _json": handler_json.Codec(handler_json.decode, handler_json.encode),
    "without _json": load_without_c_accelerator(),
    "orjson": handler_json.orjson_codec(),
}
ORDINARY = {name: codec for name, codec in CODECS.items() if name != "orjson"}


def expected(value: Any) -> bytes:
    """What the standard library makes of it; UTF-8 has no surrogates, and JSON has escapes for them."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


@pytest.mark.parametrize("codec", ORDINARY.values(), ids=ORDINARY)
@given(value=VALUES)
@EXAMPLES
def test_plain_values_are_spelled_as_the_standard_library_does(codec: Any, value: Any) -> None:
    assert codec.encode(value) == expected(value)


@given(value=VALUES)
@EXAMPLES
def test_the_careful_way_spells_them_alike(value: Any) -> None:
    mixed = [Decimal("1.0"), value]  # whatever is no plain value takes the careful way with all that is around it
    assert handler_json.encode(mixed) == b"[1.0, %b]" % expected(value)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(value=VALUES)
@EXAMPLES
def test_what_was_written_reads_the_same(codec: Any, value: Any) -> None:
    read = codec.decode(codec.encode(value))
    if codec is CODECS["orjson"] and has_large_integer(value):
        return  # orjson reads them as floats
    assert read == json.loads(json.dumps(value))


def has_large_integer(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(has_large_integer, [*value, *value.values()]))
    if isinstance(value, list):
        return any(map(has_large_integer, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**64


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(
    payload=st.binary() | st.text().map(str.encode) | st.from_regex(r'[\[\]{}",:0-9.eE+\-nulltrue ]*').map(str.encode)
)
@EXAMPLES
def test_what_is_no_json_is_a_value_error_and_the_rest_is_as_json_has_it(codec: Any, payload: bytes) -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        value = json.loads(payload.decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError):
        with pytest.raises(ValueError):  # noqa: PT011 (its text is for people)
            codec.decode(payload)
    else:
        read = codec.decode(payload)
        assert read == value or has_large_integer(value)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")], Decimal("NaN"), {"a": Decimal("sNaN")}])
def test_no_result_is_invalid_json(codec: Any, value: Any) -> None:
    read = json.loads(codec.encode(value), parse_constant=pytest.fail)
    assert read in (None, [None], {"a": None})


def test_nothing_is_imported_for_values_that_are_plain() -> None:
    code = (
        "import sys; before = set(sys.modules); from runtime.python.codec import decode, encode;"
        "encode(decode(b'[1, {\"a\": 1.5}]')); encode([b'x']); encode({'nan': float('nan')});"
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-SB", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "json" not in done.stdout.split()
    assert "decimal" not in done.stdout.split()
