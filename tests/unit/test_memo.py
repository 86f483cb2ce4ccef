"""What is remembered of a function's results, and how much."""

from __future__ import annotations

import pytest

from runtime.values import Memo


def test_a_result_is_worked_out_once() -> None:
    calls: list[str] = []

    def shout(text: str) -> str:
        calls.append(text)
        return text.upper()

    memo = Memo(shout, count=2, length=3)
    assert [memo["abc"], memo["abc"], memo["b"], memo["abc"]] == ["ABC", "ABC", "B", "ABC"]
    assert calls == ["abc", "b"]


def test_what_is_too_long_is_worked_out_and_not_kept() -> None:
    memo = Memo(str.upper, count=2, length=3)
    assert [memo["abcd"], memo["abc"]] == ["ABCD", "ABC"]
    assert list(memo) == ["abc"]


def test_a_full_one_goes_on_learning() -> None:
    memo = Memo(str.upper, count=3, length=3)
    for text in "abcdefghij":
        assert memo[text] == text.upper()
        assert text in memo
        assert len(memo) <= 3


def test_an_exception_is_not_kept() -> None:
    def refuse(text: str) -> str:
        raise ValueError(text)

    memo = Memo(refuse, count=3, length=3)
    for _ in range(2):
        with pytest.raises(ValueError, match="abc"):
            memo["abc"]
    assert not memo
