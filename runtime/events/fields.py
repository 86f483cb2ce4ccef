"""Field lines (RFC 9110 section 5): which names pass, what a value may hold, and the maps that events keep them in.

Then the fields that describe the invocation; at the end, what a member of an event means when its type is not the
documented one.
"""

from __future__ import annotations

from ..errors import ContextTooLarge
from ..json_codec import dumps, dumps_ascii, loads, quote_ascii, utf8
from ..messages import breaks_lines, is_token
from ..values import Memo, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ..invocation import Invocation

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
    """The name to pass on for a field name in an answer: in lower case, or "" when the field is dropped."""
    name = spelled.lower() if is_token(spelled) else ""
    return "" if name in HOP_BY_HOP else name


# The checks cost one look-up per line; no honest traffic has so many names.
_REQUEST_NAMES = Memo(_name_in_request, count=1024, length=64)
_RESPONSE_NAMES = Memo(_name_in_answer, count=1024, length=64)


def clean(value: object) -> str:
    """``value`` as a field value: CR, LF and NUL become spaces (RFC 9110 section 5.5), the ends are trimmed."""
    if isinstance(value, str) and value.isascii() and not ("\n" in value or "\r" in value or "\0" in value):
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
    # Nearly always they are clean but for blanks around them. ``breaks_lines`` is written out, here and in ``clean``,
    # which run for each event.
    if together.isascii() and not ("\n" in together or "\r" in together or "\0" in together):
        return [(name, value.strip(" \t")) for spelled, value in known.items() if (name := _REQUEST_NAMES[spelled])]
    return [(name, clean(value)) for spelled, value in known.items() if (name := _REQUEST_NAMES[spelled])]


def _lines_of_lists(fields: dict[str, Any]) -> list[Line]:
    """The lines of a map that has lists in it."""
    try:
        lines = [
            (name, value.strip(" \t"))
            for spelled, values in fields.items()
            if (name := _REQUEST_NAMES[spelled])
            for value in (values if isinstance(values, list) else (values,))
        ]
        together = "".join([value for _, value in lines])
        if together.isascii() and not breaks_lines(together):
            return lines
    except AttributeError:  # null, a number or the like is among them
        pass
    return [
        (name, clean(value))
        for spelled, values in fields.items()
        if (name := _REQUEST_NAMES[spelled])
        for value in items(values)
        if value is not None
    ]


def merged_lines(multi: object, single: object) -> list[Line]:
    """The lines of the multi-value map, then those whose name only the single-value map holds."""
    lists, singles = mapping(multi), mapping(single)
    if not lists:
        return lines_of(singles)
    lines = _lines_of_lists(lists)
    if all(lists.values()) and lists.keys() >= singles.keys():  # nearly always
        return lines
    rest = {spelled: value for spelled, value in singles.items() if not lists.get(spelled)}
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
    together = "".join([value for _, value in lines])
    if "\n" in together or "\r" in together or "\0" in together:  # ``breaks_lines``, written out for each answer
        return [line for line in lines if not breaks_lines(line[1])]
    return lines


def answer_fields(lines: list[Line]) -> tuple[dict[str, str], list[str]]:
    """The ``end_to_end_lines`` of an answer with one value per name, and its cookies.

    Several values of a name are one list to HTTP (RFC 9110 section 5.3), except for Set-Cookie.
    """
    fields: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in lines:
        if name == "set-cookie":
            cookies.append(value)
        else:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields, cookies


# ---- the fields that describe the invocation ------------------------------------------------------------------------
#
# Ours alone, with the peer's names and keys, printable ASCII only. A client must not decide, by the size of its
# request, whether the app learns what an authorizer says of it. When the request context is too long for a field, the
# copies in it of what the client has sent go first. One in which an authorizer has spoken may then be as long as a line
# of a head can be, and is refused with 431 when it is longer still. One without is left out.

# Bytes of one value. API Gateway lets 10,240 bytes of a client's header through and Node reads 16,384 in all, so 6,144
# are left: 1,024 for the other context header and 512 for trace id, tenant and forwarded fields. It also keeps the
# line below the 8,190 bytes of gunicorn and Apache. Beyond it the server, not the app, would answer: 400 or 431.
LONGEST_VALUE = 4_608
# The same with an authorizer's part, which must not get lost. Apache and gunicorn take lines of 8,190 bytes; a server
# with less room for a whole head answers 431 by itself.
LONGEST_WITH_AUTHORIZER = 8_000
# What the app gets in place of a request context that is too long, so that it can tell that from none.
LEFT_OUT = (LEFT_OUT_FIELD, REQUEST_CONTEXT)
# Where a request context repeats what the client has sent, which the app has anyway (of a certificate its names and
# its number stay). One of more bytes, as JSON, is null in a context that is too long.
_COPIES = (
    ("http", "userAgent"),
    ("http", "path"),
    ("identity", "userAgent"),
    ("path",),
    ("authentication", "clientCert", "clientCertPem"),
    ("identity", "clientCert", "clientCertPem"),
)
_LONGEST_COPY = 256


class RequestContext(dict[str, "Any"]):
    """The request context of an event, and the text that spells it there: JSON in printable ASCII.

    To write it again would take a fifteenth of the instructions of a small GET.
    """

    __slots__ = ("source",)
    source: str


class EnvironmentConfig(NamedTuple):
    """The function as its environment describes it: AWS_LAMBDA_FUNCTION_NAME and its relatives, "" when not set."""

    function_name: str = ""
    memory: str = ""  # MB
    version: str = ""
    log_group: str = ""
    log_stream: str = ""


class EventOptions(NamedTuple):
    """How events are translated; the same for every invocation."""

    events_path: str = "/events"  # where triggers are posted to
    context_headers: bool = True  # whether the app gets the two context headers, which can be many kilobytes
    environment: EnvironmentConfig = EnvironmentConfig()
    base_path: str = ""  # "/api": whole segments that the app does not see in front of its paths
    authorization_source: str = ""  # a field name in lower case: what it holds is the app's Authorization
    host: str = "localhost"  # of a request that comes from no client, or whose event names no host
    builds_url: bool = False  # whether the app makes a URL of Host and target, which then have to fit into one


def context_lines(request_context: dict[str, Any], invocation: Invocation, options: EventOptions) -> list[Line]:
    """The two context headers of an HTTP event, unless the options leave them out, and the tenant.

    Before them what is left out, if anything is. Raises ``ContextTooLarge``.
    """
    tenant = tenant_line(invocation) if invocation.tenant_id else []
    if not options.context_headers:
        return tenant
    try:
        told = request_context.source if isinstance(request_context, RequestContext) else dumps_ascii(request_context)
        of_invocation = lambda_context(invocation, options.environment)
    except ValueError:  # nested too deeply
        told, of_invocation = _spelled(request_context), _lambda_context(invocation, options)
    if 0 < len(told) <= LONGEST_VALUE and 0 < len(of_invocation) <= LONGEST_VALUE:
        return [(REQUEST_CONTEXT, told), (LAMBDA_CONTEXT, of_invocation), *tenant]
    if len(told) > LONGEST_VALUE:
        told = _spelled(request_context)  # shorter, where the payload has an escape for what needs none
    of_invocation = of_invocation if len(of_invocation) <= LONGEST_VALUE else ""
    left_out: list[str] = []
    told = told or _narrowed(request_context, left_out)
    of_invocation = of_invocation or _without_client_context(invocation, options, left_out)
    return [*_lines_that_fit(told, of_invocation, left_out), *tenant]


def trigger_context_lines(invocation: Invocation, options: EventOptions) -> list[Line]:
    """The context headers of a trigger. Its request context is ``null``: no client has sent this request."""
    left_out: list[str] = []
    of_invocation = ""
    if options.context_headers:
        of_invocation = _lambda_context(invocation, options) or _without_client_context(invocation, options, left_out)
    lines = _lines_that_fit("null", of_invocation, left_out)
    if is_safe(invocation.trace_id):
        lines.append((TRACE_ID, invocation.trace_id))
    return lines + tenant_line(invocation)


def tenant_line(invocation: Invocation) -> list[Line]:
    """The tenant that the platform names; a client's own header of that name never gets here."""
    return [(TENANT_ID, invocation.tenant_id)] if is_safe(invocation.tenant_id) else []


def _lines_that_fit(told: str, of_invocation: str, left_out: list[str]) -> list[Line]:
    lines = [(LEFT_OUT_FIELD, ", ".join(left_out))] if left_out else []
    if told:
        lines.append((REQUEST_CONTEXT, told))
    if of_invocation:
        lines.append((LAMBDA_CONTEXT, of_invocation))
    return lines


def _spelled(request_context: object, longest: int = LONGEST_VALUE) -> str:
    """The context as JSON, or "" when that is too long, or nested too deeply."""
    try:
        spelled = dumps_ascii(request_context)
    except ValueError:
        return ""
    return spelled if len(spelled) <= longest else ""


def _narrowed(request_context: dict[str, Any], left_out: list[str]) -> str:
    """As much of a context that is too long as is allowed, or "". Raises ``ContextTooLarge``."""
    narrowed: object = request_context
    for path in _COPIES:
        before, narrowed = narrowed, _without_copy(narrowed, path)
        if narrowed is not before:
            left_out.append(".".join((REQUEST_CONTEXT, *path)))
    has_authorizer = bool(request_context.get("authorizer"))
    told = _spelled(narrowed, LONGEST_WITH_AUTHORIZER if has_authorizer else LONGEST_VALUE)
    if has_authorizer and not told:
        raise ContextTooLarge(
            f"what the authorizer says of this request takes more than the {LONGEST_WITH_AUTHORIZER} bytes that fit"
            " into a header field, or is nested too deeply"
        )
    if not told:
        left_out[:] = [REQUEST_CONTEXT]  # half of a context would mislead
    return told


def _without_copy(value: object, path: Sequence[str]) -> object:
    """``value`` with null for the text at ``path``, or itself when no long text is there."""
    if not isinstance(value, dict):
        return value
    key, *rest = path
    inner = value.get(key)
    if rest:
        changed = _without_copy(inner, rest)
        return value if changed is inner else {**value, key: changed}
    return {**value, key: None} if isinstance(inner, str) and len(quote_ascii(inner)) > _LONGEST_COPY else value


def _lambda_context(invocation: Invocation, options: EventOptions) -> str:
    """The invocation's context, or "" when it is too long, or nested too deeply."""
    try:
        spelled = lambda_context(invocation, options.environment)
    except ValueError:
        return ""
    return spelled if len(spelled) <= LONGEST_VALUE else ""


def _without_client_context(invocation: Invocation, options: EventOptions, left_out: list[str]) -> str:
    """The invocation's context with null for the invoker's part, or "" when it is too long still."""
    spelled = _lambda_context(invocation._replace(client_context=""), options)
    left_out.append(f"{LAMBDA_CONTEXT}.client_context" if spelled else LAMBDA_CONTEXT)
    return spelled


def lambda_context(invocation: Invocation, environment: EnvironmentConfig) -> str:
    """The invocation under the keys that the AWS Lambda Web Adapter uses, so that apps can read either's header: JSON.

    ``ValueError`` when what the invoker says is nested too deeply.
    """
    trace_id, tenant_id = invocation.trace_id, invocation.tenant_id
    client_context, identity = invocation.client_context, invocation.cognito_identity
    # Written out: through the encoder it would take more than twice the time.
    return (
        f'{{"request_id":{quote_ascii(invocation.request_id)},"deadline":{invocation.deadline_ms}'
        f',"invoked_function_arn":{quote_ascii(invocation.function_arn)}'
        f',"xray_trace_id":{quote_ascii(trace_id) if trace_id else "null"}'
        f',"client_context":{dumps_ascii(_json_object(client_context)) if client_context else "null"}'
        f',"identity":{dumps_ascii(_identity(identity)) if identity else "null"}'
        f',"tenant_id":{quote_ascii(tenant_id) if tenant_id else "null"}'
        f',"env_config":{_ENV_CONFIGS[environment]}}}'
    )


def _env_config(environment: EnvironmentConfig) -> str:
    config = {
        "function_name": environment.function_name,
        "memory": _number(environment.memory),
        "version": environment.version,
        "log_stream": environment.log_stream,
        "log_group": environment.log_group,
    }
    return dumps_ascii(config)


# A process has one environment.
_ENV_CONFIGS = Memo(_env_config, count=1, length=len(EnvironmentConfig._fields))


def _number(digits: str) -> int:
    return int(digits) if digits.isdecimal() and len(digits) < 10 else 0


def _identity(source: str) -> dict[str, object] | None:
    cognito = _json_object(source)
    if cognito is None:
        return None
    return {"identityId": cognito.get("cognitoIdentityId"), "identityPoolId": cognito.get("cognitoIdentityPoolId")}


def _json_object(source: str) -> dict[str, object] | None:
    """The object that ``source`` spells, or None: whoever invokes chooses the client context and may send anything."""
    try:
        value = loads(utf8(source))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


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
