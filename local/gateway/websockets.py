"""Notices requests for a WebSocket, which no front end of AWS opens to a function."""

from __future__ import annotations

from runtime.messages import header_values

from ..sources.values import ClientRequest

PATHS_KEPT = 200
WORDS = (
    "a page asks for a WebSocket at {path}: no front end on AWS opens one to a function, so it gets an ordinary answer "
    "here too. socket.io can poll instead (transports: ['polling'], with ENVIRONMENTS=1), Gradio can do without its "
    "queue (queue=False), Streamlit cannot run so"
)


def is_wanted(request: ClientRequest) -> bool:
    """Whether ``request`` is the opening handshake of one (RFC 6455 section 4.1)."""
    protocols = ",".join(header_values(request.headers, "upgrade")).split(",")
    return request.method == "GET" and any(name.strip().lower() == "websocket" for name in protocols)


class WebSocketNotes:
    """Gives a sentence about WebSockets once for each path."""

    def __init__(self) -> None:
        self._paths: set[str] = set()

    def of(self, request: ClientRequest) -> str:
        """A sentence for the developer, or ``""``."""
        path = request.target.partition("?")[0]
        if not is_wanted(request) or path in self._paths or len(self._paths) >= PATHS_KEPT:
            return ""
        self._paths.add(path)
        return WORDS.format(path=path)
