"""The error of the local tools."""

from __future__ import annotations


class LocalFailure(Exception):
    """Its message names what is wrong and the way out, and is shown without a traceback."""
