"""A cache of a function's results, for arguments that come again with nearly every message."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Key = TypeVar("Key", bound="str | bytes | tuple[str, ...]")
    Result = TypeVar("Result")


class Memo(dict["Key", "Result"]):
    """``memo[argument]`` is ``function(argument)``, computed once; from then on a look-up in a dict.

    It keeps at most ``count`` results, of arguments that are at most ``length`` long: peers choose these, and an
    environment lives for hours. A full cache is cleared. If it stopped adding instead, the first clients could fill it
    for good with arguments of their own making. An exception is not kept.
    """

    def __init__(self, function: Callable[[Key], Result], count: int, length: int) -> None:
        super().__init__()
        self._function = function
        self._count = count
        self._length = length

    def __missing__(self, argument: Key) -> Result:
        result = self._function(argument)
        if len(argument) <= self._length:
            if len(self) >= self._count:
                self.clear()
            self[argument] = result
        return result
