"""Answers with what is loaded."""

from __future__ import annotations

import sys


def handler(event: object, context: object) -> list[str]:
    return sorted(sys.modules)
