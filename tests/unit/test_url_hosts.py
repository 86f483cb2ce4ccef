"""Which Host fields can stand in a URL, and what stands there instead of the others."""

from __future__ import annotations

import pytest

from runtime.events.hosts import HOST_AS_SENT, host_lines, is_url_host


@pytest.mark.parametrize(
    "text",
    ["a", "shop.example", "SHOP.example.", "a-b_c.example:80", "10.0.0.1", "10.0.0.1:8080", "[::1]", "[2001:db8::1]:1"],
)
def test_names_and_addresses_can_stand_in_a_url(text: str) -> None:
    assert is_url_host(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "a..b", ".a", ":80", "a:", "a:x", "a:65536", "a:-1", "a/b", "a\\b", "a?b", "a#b", "a b", "a\tb"),
        *("u@a", "u:p@a", "[::1", "[x]", "[::1]x", "[::1]:", "::1", "1.2.3", "256.1.1.1", "a.1", "0x7f.1", "%41", "é"),
        *("xn--a", "a" * 300, "[::1%25eth0]", "a:٣"),
    ],
)
def test_whatever_a_url_parser_reads_otherwise_cannot(text: str) -> None:
    assert not is_url_host(text)


@pytest.mark.parametrize(
    ("sent", "fallbacks", "host"),
    [
        ("a/b", ("own.example", "127.0.0.1:8080"), "own.example"),
        ("a/b", ("", "127.0.0.1:8080"), "127.0.0.1:8080"),
        ("a/b", ("own/", "x y"), "localhost"),
    ],
)
def test_the_first_good_host_takes_the_place_of_one_that_is_none(
    sent: str, fallbacks: tuple[str, ...], host: str
) -> None:
    assert host_lines(sent, fallbacks) == [("host", host), (HOST_AS_SENT, sent)]


def test_a_good_host_stays_as_it_is() -> None:
    assert host_lines("a.example", ("b.example",)) == [("host", "a.example")]
