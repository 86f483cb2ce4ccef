"""Field lines (RFC 9110 section 5): which names pass, what a value may hold, and the maps that events keep them in.

At the end: what a member of an event means when its type is not the documented one.
"""

from __future__ import annotations

from ..json_codec import dumps, utf8
from ..memo import Memo
from ..messages import breaks_lines, is_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Line = tuple[str, str]

# RFC 9110 section 7.6.1. The names that a Connection field lists are kept all the same: a client could list
# Authorization or X-Forwarded-For there and have them removed.
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length")
)
# Expect was the front end's to answer; Proxy would become HTTP_PROXY in a CGI environment (https://httpoxy.org).
_NOT_FOR_THE_APP = HOP_BY_HOP | {"expect", "proxy"}

# Names that are ours to set: an app may believe what they say, so a client's are removed whether or not we set them,
# however they are spelled. The last prefix is that of the Runtime API's own fields, which some frameworks look for.
REQUEST_CONTEXT = "x-amzn-request-context"
LAMBDA_CONTEXT = "x-amzn-lambda-context"
TENANT_ID = "x-amz-tenant-id"
TRACE_ID = "x-amzn-trace-id"
EVENT_SOURCE = "x-fairlead-event-source"
LEFT_OUT_FIELD = "x-fairlead-left-out"
_OURS = frozenset((REQUEST_CONTEXT, LAMBDA_CONTEXT, TENANT_ID, EVENT_SOURCE))
_OUR_PREFIXES = ("x-fairlead-", "lambda-runtime-")
# Names that AWS's front ends set: here only another spelling is a client's for certain, and removed.
_FRONT_END_PREFIXES = ("x-amz", "x-forwarded-", "cloudfront-")

# CGI and WSGI make a variable of a name, and have "_" for every character that is neither letter nor digit, or for some
# of them: php-cgi for "." too, Apache and lighttpd for all. So all spellings that may become one variable are one name.
_FOLDED = {ord(character): "-" for character in "!#$%&'*+.^_`|~"}

_TO_SPACE = {ord(character): " " for character in "\r\n\0"}


def _is_dropped_from_request(name: str) -> bool:
    folded = name.translate(_FOLDED)
    if folded in _NOT_FOR_THE_APP or folded in _OURS or folded.startswith(_OUR_PREFIXES):
        return True
    return folded != name and folded.startswith(_FRONT_END_PREFIXES)


def _name_in_request(spelled: str) -> str:
    """The name to send for a field name as somebody spelled it: in lower case, or "" when the field is dropped."""
    name = spelled.lower() if is_token(spelled) else ""
    return "" if _is_dropped_from_request(name) else name


def _name_in_answer(spelled: str) -> str:
    """The same of an answer."""
    name = spelled.lower() if is_token(spelled) else ""
    return "" if name in HOP_BY_HOP else name


# The checks cost one look-up per line; no honest traffic has so many names.
_REQUEST_NAMES = Memo(_name_in_request, count=1024, length=64)
_RESPONSE_NAMES = Memo(_name_in_answer, count=1024, length=64)


def clean(value: object) -> str:
    """``value`` as a field value: CR, LF and NUL become spaces (RFC 9110 section 5.5), the ends are trimmed."""
    if isinstance(value, str) and value.isascii() and not breaks_lines(value):
        return value.strip(" \t")
    return utf8(text(value)).decode().translate(_TO_SPACE).strip(" \t")


def is_safe(value: str) -> bool:
    """Whether ``value``, which did not come from the client, can stand in a field exactly as it is. "" cannot."""
    return value != "" and value.isascii() and value.isprintable() and value == value.strip(" ")


def lines_of(fields: object) -> list[Line]:
    """The field lines of a map of names to a value or a list of values, in order, names and values cleaned."""
    known: dict[str, Any] = fields if isinstance(fields, dict) else {}
    try:
        together = "".join(known.values())
    except TypeError:  # there are lists
        return _lines_of_lists(known)
    if together.isascii() and together.isprintable():  # nearly always: then values are clean but for blanks around them
        return [(name, value.strip(" ")) for spelled, value in known.items() if (name := _REQUEST_NAMES[spelled])]
    return [(name, clean(value)) for spelled, value in known.items() if (name := _REQUEST_NAMES[spelled])]


def _lines_of_lists(fields: dict[str, Any]) -> list[Line]:
    """The lines of a map that has lists in it."""
    lines: list[tuple[str, Any]] = [
        (name, value)
        for spelled, values in fields.items()
        if (name := _REQUEST_NAMES[spelled])
        for value in (values if isinstance(values, list) else (values,))
        if value is not None
    ]
    try:
        together = "".join([value for _, value in lines])
    except TypeError:  # numbers and the like
        together = "\n"
    if together.isascii() and together.isprintable():
        return [(name, value.strip(" ")) for name, value in lines]
    return [(name, clean(value)) for name, value in lines]


def merged_lines(multi: object, single: object) -> list[Line]:
    """The lines of the multi-value map, then those whose name only the single-value map holds."""
    lists = mapping(multi)
    lines = _lines_of_lists(lists)
    rest = {spelled: value for spelled, value in mapping(single).items() if not lists.get(spelled)}
    if not rest:
        return lines
    known = {name for name, _ in lines}
    return lines + [line for line in lines_of(rest) if line[0] not in known]


def without_aliases(lines: list[Line]) -> list[Line]:
    """The lines without those that pass for another one where names are folded: ``x_user`` beside ``x-user``.

    Alone such a name stays, since it may be an honest one.
    """
    plain = {name for name, _ in lines}
    return [line for line in lines if (folded := line[0].translate(_FOLDED)) == line[0] or folded not in plain]


def end_to_end_lines(headers: Iterable[Line]) -> list[Line]:
    """The lines of an answer that may go on to the client: no hop-by-hop field, no length, nothing malformed.

    Lambda's front ends compute the length themselves and rename one that is given.
    """
    lines = [(name, value) for spelled, value in headers if (name := _RESPONSE_NAMES[spelled])]
    if breaks_lines("".join([value for _, value in lines])):
        return [line for line in lines if not breaks_lines(line[1])]
    return lines


def answer_fields(headers: Iterable[Line]) -> tuple[dict[str, str], list[str]]:
    """The ``end_to_end_lines`` of an answer with one value per name, and its cookies.

    Several values of a name are one list to HTTP (RFC 9110 section 5.3), except for Set-Cookie.
    """
    fields: dict[str, str] = {}
    cookies: list[str] = []
    for spelled, value in headers:
        name = _RESPONSE_NAMES[spelled]
        if not name or "\n" in value or "\r" in value or "\0" in value:
            continue
        if name == "set-cookie":
            cookies.append(value)
        else:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields, cookies


# ---- what a member of an event means when its type is not the documented one ----------------------------------------
#
# An event that is plainly HTTP is never treated as anything else because some member is odd: hand-written test events,
# emulators and authorizer contexts hold nulls, numbers and lists where AWS documents strings.


def text(value: object) -> str:
    """A string as it is, null as "", anything else as JSON spells it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return dumps(value).decode()
    except ValueError:  # nested deeper than the encoder can go
        return ""


def items(value: object) -> list[object]:
    """A list as it is, anything else as the only item of one."""
    return value if isinstance(value, list) else [value]


def mapping(value: object) -> dict[str, Any]:
    """A JSON object as it is, anything else as an empty one."""
    return value if isinstance(value, dict) else {}
