"""Base64 of bodies, with and without pybase64: both must agree, also about what is none."""

from __future__ import annotations

import base64
import sys

import pytest

from runtime.events import binary

LARGE = bytes(range(256)) * 1024
TEXT = base64.b64encode(LARGE).decode()


@pytest.fixture(params=["pybase64", "binascii"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pybase64":
        pytest.importorskip("pybase64")
    else:
        monkeypatch.setitem(sys.modules, "pybase64._pybase64", None)
    monkeypatch.setattr(binary, "_is_known", False)
    monkeypatch.setattr(binary, "_fast", None)
    return str(request.param)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 70_000, len(LARGE)])
def test_there_and_back(way: str, size: int) -> None:
    octets = LARGE[:size]
    encoded = binary.encode(octets)
    assert encoded == base64.b64encode(octets)
    assert binary.decode(encoded.decode()) == octets
    assert binary.decode(encoded.decode().rstrip("=")) == octets


DAMAGED = {
    "a blank": TEXT[:1000] + " " + TEXT[1000:],
    "a line end": TEXT[:1000] + "\n" + TEXT[1000:],
    "url-safe": "-_" + TEXT[2:],
    "padding in the middle": TEXT[:1000] + "==" + TEXT[1002:],
    "padding at the start": "====" + TEXT,
    "not ASCII": "é" + TEXT[1:],
    "one character too many": TEXT + "A",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_base64_is_refused(way: str, text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        binary.decode(text)
