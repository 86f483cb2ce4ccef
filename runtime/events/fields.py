"""Field lines (RFC 9110 section 5): which names pass, what a value may hold, and the maps that events keep them in."""

from __future__ import annotations

from ..json_codec import utf8
from ..messages import is_token
from .lenient import mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Line = tuple[str, str]

# RFC 9110 section 7.6.1. The names that a Connection field lists are kept all the same: a client could list
# Authorization or X-Forwarded-For there and have them removed.
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length")
)
# Expect was the front end's to answer; Proxy would become HTTP_PROXY in a CGI environment (https://httpoxy.org).
_NOT_FOR_THE_APP = _HOP_BY_HOP | {"expect", "proxy"}

# Names that are ours to set: an app may believe what they say, so a client's are removed whether or not we set them.
REQUEST_CONTEXT = "x-amzn-request-context"
LAMBDA_CONTEXT = "x-amzn-lambda-context"
TENANT_ID = "x-amz-tenant-id"
TRACE_ID = "x-amzn-trace-id"
EVENT_SOURCE = "x-fairlead-event-source"
LEFT_OUT_FIELD = "x-fairlead-left-out"
_OURS = frozenset((REQUEST_CONTEXT, LAMBDA_CONTEXT, TENANT_ID, EVENT_SOURCE))
_OUR_PREFIX = "x-fairlead-"

_TO_SPACE = {ord(character): " " for character in "\r\n\0"}
_BREAKING = frozenset("\r\n\0")


def _is_dropped_from_request(name: str) -> bool:
    # WSGI and CGI read `_` and `-` in a name as the same, so both spellings are the same name here.
    folded = name.replace("_", "-")
    if folded in _NOT_FOR_THE_APP or folded in _OURS or folded.startswith(_OUR_PREFIX):
        return True
    return folded == TRACE_ID and name != TRACE_ID  # the real spelling is compared with the invocation's later


class FieldNames(dict[str, str]):
    """A field name as somebody spelled it -> the name to send, in lower case, or "" when the field is dropped.

    It remembers the names it has seen, so that the checks cost one look-up per line; it stops learning at a size that
    no honest traffic reaches.
    """

    def __init__(self, is_dropped: Callable[[str], bool]) -> None:
        super().__init__()
        self.is_dropped = is_dropped

    def __missing__(self, spelled: str) -> str:
        name = spelled.lower() if is_token(spelled) else ""
        if name and self.is_dropped(name):
            name = ""
        if len(self) < 1024 and len(spelled) <= 64:
            self[spelled] = name
        return name


_REQUEST_NAMES = FieldNames(_is_dropped_from_request)
_RESPONSE_NAMES = FieldNames(_HOP_BY_HOP.__contains__)


def clean(value: object) -> str:
    """``value`` as a field value: CR, LF and NUL become spaces (RFC 9110 section 5.5), the ends are trimmed."""
    if isinstance(value, str) and value.isprintable():  # nearly always: no control, no lone surrogate
        return value.strip(" ")
    return utf8(text(value)).decode().translate(_TO_SPACE).strip(" \t")


def is_safe(value: str) -> bool:
    """Whether ``value``, which did not come from the client, can stand in a field exactly as it is. "" cannot."""
    return value != "" and value.isascii() and value.isprintable() and value == value.strip(" ")


def lines_of(fields: object) -> list[Line]:
    """The field lines of a map of names to a value or a list of values, in order, names and values cleaned."""
    lines = []
    for spelled, value in mapping(fields).items():
        name = _REQUEST_NAMES[spelled]
        if not name:
            continue
        if isinstance(value, list):
            lines += [(name, clean(item)) for item in value if item is not None]
        elif value is not None:
            lines.append((name, clean(value)))
    return lines


def merged_lines(multi: object, single: object) -> list[Line]:
    """The lines of the multi-value map, then those whose name only the single-value map holds."""
    lists = mapping(multi)
    lines = lines_of(lists)
    rest = {spelled: value for spelled, value in mapping(single).items() if not lists.get(spelled)}
    if not rest:
        return lines
    known = {name for name, _ in lines}
    return lines + [line for line in lines_of(rest) if line[0] not in known]


def end_to_end_lines(headers: Iterable[Line]) -> list[Line]:
    """The lines of an answer that may go on to the client: no hop-by-hop field, no length, nothing malformed.

    Lambda's front ends compute the length themselves and rename one that is given.
    """
    lines = []
    for spelled, value in headers:
        name = _RESPONSE_NAMES[spelled]
        if name and (value.isprintable() or _BREAKING.isdisjoint(value)):
            lines.append((name, value))
    return lines
