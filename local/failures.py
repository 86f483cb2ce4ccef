"""What keeps the local tools from working, said so that the developer knows what to do."""

from __future__ import annotations


class LocalFailure(Exception):
    """The message is complete: it names what is wrong and the way out, and is shown without a traceback."""
