"""A look at the connection on which a streamed answer is sent, while code of the user's makes the next piece."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Watch:
    """One descriptor, once it is known which."""

    def __init__(self) -> None:
        self._poll: select.poll | None = None

    def on(self, watched: int) -> Self:
        """The same, which watches ``watched`` from now on; -1 is none."""
        if watched >= 0 and self._poll is None:
            self._poll = select.poll()
            self._poll.register(watched, select.POLLIN)
        return self

    @property
    def is_gone(self) -> bool:
        """Whether the platform has said something, or closed: a write would succeed all the same, once."""
        return self._poll is not None and bool(self._poll.poll(0))
