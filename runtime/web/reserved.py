"""Paths of the app that only we may ask for, and what we ask there.

Lambda freezes a function as soon as it asks for its next invocation, in the middle of whatever the app still does. With
``FAIRLEAD_AFTER_RESPONSE_PATH`` the app is asked there once an answer is on its way, and the next invocation waits for
what it says to that, at most until the deadline of this one. The client has its answer long before.

Which request paths may an app take for a reserved one?

Each server and framework reads a path in its own way. Some decode it once or twice, join slashes, resolve dot segments
before or after that, take ``\\`` for ``/``, drop ``;parameters`` and what follows a NUL, take what follows ``//`` for a
host (``new URL(request.url, base)``), or ignore case, a slash or an extension at the end (Rails: ``/done.json``) and
the name of a script at the beginning (PHP: ``/index.php/done``). Which server the app is, is not known. So a path
counts as reserved when any of these readings, in any order, gives the reserved one. That refuses some paths that no
honest client sends.
"""

from __future__ import annotations

from ..events.request import percent_decoded
from ..messages import HttpRequest, HttpResponse, header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .handler import Exchange

    Segments = tuple[str, ...]

UNFINISHED = "x-fairlead-unfinished"  # between the host of ``fetch`` and us: of its answer, and of our question
FORBIDDEN = HttpResponse(
    403, "Forbidden", (("content-type", "text/plain"), ("cache-control", "no-store")), b"403 Forbidden\n"
)

# No server decodes as often as that, and each turn costs time that a client would choose.
MOST_READINGS = 32
SCRIPTS = (".php", ".cgi", ".fcgi", ".pl", ".py", ".asp", ".aspx", ".jsp")
# Tables for str.translate. Blanks and control characters are nothing; NUL ends a path, or is nothing as well.
_BLANKS = dict.fromkeys((*range(33), 127))
_SEPARATORS = _BLANKS | dict.fromkeys(map(ord, "\\;?#"), "/")
_MORE_SEPARATORS = _SEPARATORS | {0: "/"}


def internal_request(path: str, host: str, request_id: str = "") -> HttpRequest:
    """Returns the request to a reserved path. ``host``: ``Config.host_header``. No client can send its last field."""
    headers = [("host", host), ("content-length", "0"), ("user-agent", "fairlead")]
    if request_id:
        headers.append(("x-fairlead-request-id", request_id))
    return HttpRequest("POST", path, headers)


class AfterResponse:
    """Middleware: the app is asked at ``path`` after each of its answers."""

    def __init__(self, path: str, host: str) -> None:
        self._path = path
        self._host = host

    def before(self, exchange: Exchange) -> None:
        """Let the request pass."""

    def after(self, exchange: Exchange) -> None:
        """Have the app asked once more, when the invocation is answered."""
        request = internal_request(self._path, self._host, exchange.invocation.request_id)
        exchange.follow_ups = (request, *exchange.follow_ups)


class Unfinished(AfterResponse):
    """Middleware for the host of ``fetch``: it is asked after an answer that says that work is left (``waitUntil``)."""

    def after(self, exchange: Exchange) -> None:
        """Take the mark off the answer, and have the host asked once more if it was there."""
        response = exchange.response
        if response is None or header(response.headers, UNFINISHED) is None:
            return
        exchange.response = response._replace(headers=[line for line in response.headers if line[0] != UNFINISHED])
        request = internal_request(self._path, self._host, exchange.invocation.request_id)
        request = request._replace(headers=[*request.headers, (UNFINISHED, "1")])
        exchange.follow_ups = (*exchange.follow_ups, request)


class Reserved:
    """Middleware: clients get 403 for the reserved ``paths``, and the app is not asked."""

    def __init__(self, paths: Iterable[str], base_path: str) -> None:
        self._paths = ReservedPaths(paths, base_path)

    def before(self, exchange: Exchange) -> None:
        """Answer a request whose path an app may take for a reserved one."""
        if exchange.request.target.partition("?")[0] in self._paths:
            exchange.response = FORBIDDEN

    def after(self, exchange: Exchange) -> None:
        """Let the answer pass."""


class ReservedPaths:
    """Paths that are not for clients. ``base_path`` may stand before each: an app that knows it ignores it."""

    def __init__(self, paths: Iterable[str], base_path: str = "") -> None:
        base = _segments(_decoded(base_path), _BLANKS)
        alone = [_resolved(_segments(_decoded(path.partition("?")[0]), _BLANKS)) for path in paths]
        self._paths = {_without_extension(segments) for path in alone for segments in (path, base + path)}
        self._plain = {"/".join(("", *segments)) for segments in self._paths}

    def __contains__(self, path: str) -> bool:
        """Whether an app may take ``path``, the part of a request target before the query, for a reserved one."""
        if "%" in path or ";" in path or "\\" in path or "//" in path or "/." in path:
            return self._may_be_taken_for(path)
        if "." in path:
            return not self._paths.isdisjoint(_endings(path))
        return path.rstrip("/").lower() in self._plain

    def _may_be_taken_for(self, path: str) -> bool:
        readings = _readings(path)
        if len(readings) > MOST_READINGS:
            return True
        decoded = _decoded(path)
        for separators in (_SEPARATORS, _MORE_SEPARATORS):
            segments = _segments(decoded, separators)
            # What it takes away depends on all the rest: whatever could be left counts.
            if ".." in segments and any(_may_be_left(reserved, segments) for reserved in self._paths):
                return True
        return any(not self._paths.isdisjoint(_endings(reading)) for reading in readings)


def _readings(path: str) -> list[str]:
    """The path as it is, and as it is after each of some steps, in any order and number; not many more than enough."""
    found = [path]
    for text in found:
        ends = [text.partition(end)[0] for end in "\0?#"]  # delimiters that were encoded
        for reading in (percent_decoded(text), _without_parameters(text), text.replace("\\", "/"), *ends):
            if reading not in found:
                found.append(reading)
        if len(found) > MOST_READINGS:
            break
    return found


def _without_parameters(path: str) -> str:
    return "/".join([segment.partition(";")[0] for segment in path.split("/")]) if ";" in path else path


def _decoded(path: str) -> str:
    """The path when nothing is left to decode, or it has been often enough."""
    for _ in range(MOST_READINGS):
        if (decoded := percent_decoded(path)) == path:
            break
        path = decoded
    return path


def _endings(path: str) -> Iterator[Segments]:
    """The segments of a path, those after what may be a host, and those after the name of a script."""
    segments = _without_extension(_segments(path, _BLANKS))
    yield segments
    if [part for part in path.translate(_BLANKS).split("/") if part != "."][:2] == ["", ""]:
        yield segments[1:]
    for number, segment in enumerate(segments[:-1], 1):
        if segment.endswith(SCRIPTS):
            yield segments[number:]


def _segments(path: str, separators: dict[int, str | None]) -> Segments:
    """The segments that are neither empty nor a dot."""
    parts = path.casefold().translate(separators).split("/")
    return tuple([part for part in parts if part not in ("", ".")])


def _resolved(segments: Segments) -> Segments:
    kept: list[str] = []
    for segment in segments:
        if segment != "..":
            kept.append(segment)
        elif kept:
            kept.pop()
    return tuple(kept)


def _without_extension(segments: Segments) -> Segments:
    return (*segments[:-1], *map(_stem, segments[-1:]))


def _stem(segment: str) -> str:
    dot = segment.find(".", 1)
    return segment if dot < 0 else segment[:dot]


def _may_be_left(reserved: Segments, segments: Segments) -> bool:
    """Whether the reserved segments are among these, in their order."""
    rest = iter(segments)
    return all(any(wanted in (segment, _stem(segment)) for segment in rest) for wanted in reserved)
