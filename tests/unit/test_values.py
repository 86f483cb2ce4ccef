"""The value types: they read like typing.NamedTuple, so they have to behave like it."""

from __future__ import annotations

import pickle

import pytest

from runtime.invocation import Invocation
from runtime.messages import HttpRequest, HttpResponse, header, header_values

GET = HttpRequest("GET", "/", (("host", "x"),))


def test_fields_by_position_and_name_with_defaults() -> None:
    assert HttpRequest("GET", "/", (("host", "x"),)) == HttpRequest(method="GET", target="/", headers=(("host", "x"),))
    assert (GET.method, GET.target, GET.body) == ("GET", "/", b"")
    assert tuple(Invocation("id", b"{}")) == ("id", b"{}", 0, "", "", "", "", "", "", "")


def value_type(count: int) -> type:
    """A value type with so many fields, the last of which has a default."""
    names = [f"field_{number}" for number in range(count)]
    scope: dict[str, type] = {}
    head = "from __future__ import annotations\nfrom runtime.values import NamedTuple\nclass Value(NamedTuple):\n"
    exec(head + "".join([f"    {name}: int\n" for name in names[:-1]]) + f"    {names[-1]}: int = -1\n", scope)
    return scope["Value"]


@pytest.mark.parametrize("count", range(1, 41))
def test_any_number_of_fields(count: int) -> None:
    """The constructors of the usual numbers are prepared, the others are compiled."""
    kind, numbers = value_type(count), tuple(range(count))
    by_name = {f"field_{number}": number for number in reversed(numbers)}
    assert tuple(kind(*numbers)) == tuple(kind(**by_name)) == numbers
    assert tuple(kind(*numbers[:-1])) == (*numbers[:-1], -1)
    for wrong in ((*numbers, 0), numbers[:-2] if count > 1 else (0, 0)):
        with pytest.raises(TypeError):
            kind(*wrong)
    with pytest.raises(TypeError, match="field_unknown"):
        kind(**by_name, field_unknown=0)


@pytest.mark.parametrize("arguments", [(), ("GET",), ("GET", "/", (), b"", "more")])
def test_too_few_and_too_many_fields_are_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        HttpRequest(*arguments)


def test_values_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        GET.method = "POST"
    with pytest.raises(AttributeError):
        GET.other = 1


def test_a_changed_copy() -> None:
    assert GET._replace(method="PUT") == HttpRequest("PUT", "/", GET.headers)
    with pytest.raises(TypeError, match="verb"):
        GET._replace(verb="PUT")


def test_a_value_is_made_of_a_tuple() -> None:
    made = HttpRequest._make(("GET", "/", (("host", "x"),), b""))
    assert (made, type(made)) == (GET, HttpRequest)


def test_representation_and_pattern() -> None:
    assert repr(HttpResponse(200, "OK", ())) == "HttpResponse(status=200, reason='OK', headers=(), body=b'')"
    match GET:
        case HttpRequest(method, target="/"):
            assert method == "GET"
        case _:
            pytest.fail("the pattern did not match")


def test_a_value_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(GET)) == GET


def test_header_lookup_takes_the_first_and_all() -> None:
    headers = (("vary", "a"), ("x", "1"), ("vary", "b"))
    assert (header(headers, "vary"), header(headers, "none")) == ("a", None)
    assert header_values(headers, "vary") == ["a", "b"]
