"""The error of a build."""

from __future__ import annotations


class LayerError(Exception):
    """The message is complete: it names what is wrong and what to do, and is shown without a traceback."""
