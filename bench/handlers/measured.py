"""The handler that is measured: as much as the event asks for, and next to no work of its own."""

from __future__ import annotations

from typing import Any

RESULTS = {size: "x" * size for size in (0, 1_000_000)}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """How many keys there are, and a text as long as ``result`` says."""
    return {"keys": len(event), "body": RESULTS[event.get("result", 0)]}
