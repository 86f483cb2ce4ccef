"""What keeps a layer from being built, said so that the developer knows what to do."""

from __future__ import annotations


class LayerError(Exception):
    """The message is complete: it names what is wrong and what to do, and is shown without a traceback."""
