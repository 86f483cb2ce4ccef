"""The header fields that describe the invocation: ours alone, with the peer's names and keys, printable ASCII only."""

from __future__ import annotations

from ..json_codec import dumps_ascii, loads, quote_ascii, utf8
from ..memo import Memo
from .fields import LAMBDA_CONTEXT, LEFT_OUT_FIELD, REQUEST_CONTEXT, TENANT_ID, TRACE_ID, is_safe
from .options import EnvironmentConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..invocation import Invocation
    from .fields import Line
    from .options import EventOptions

# Bytes of one value. API Gateway lets 10,240 bytes of a client's header through and Node reads 16,384 in all, so 6,144
# are left: 1,024 for the other context header and 512 for trace id, tenant and forwarded fields. It also keeps the
# line below the 8,190 bytes of gunicorn and Apache. Beyond it the server, not the app, would answer: 400 or 431.
LONGEST_VALUE = 4_608
# What the app gets in place of a request context that is too long, so that it can tell that from none.
LEFT_OUT = (LEFT_OUT_FIELD, REQUEST_CONTEXT)
# A template: as a dict it would take more than twice the time.
_LAMBDA_CONTEXT = (
    '{"request_id":%s,"deadline":%d,"invoked_function_arn":%s,"xray_trace_id":%s,"client_context":%s,"identity":%s,'
    '"tenant_id":%s,"env_config":%s}'
)


def context_lines(request_context: object, invocation: Invocation, options: EventOptions) -> list[Line]:
    """The two context headers of an HTTP event, unless the options leave them out, and the tenant."""
    lines = tenant_line(invocation)
    if options.context_headers:
        return [_request_context_line(request_context), *_lambda_context_line(invocation, options), *lines]
    return lines


def trigger_context_lines(invocation: Invocation, options: EventOptions) -> list[Line]:
    """The same for a trigger: its request context is ``null``, which tells an app that no client sent this request."""
    lines = [(REQUEST_CONTEXT, "null")]
    if options.context_headers:
        lines += _lambda_context_line(invocation, options)
    if is_safe(invocation.trace_id):
        lines.append((TRACE_ID, invocation.trace_id))
    return lines + tenant_line(invocation)


def tenant_line(invocation: Invocation) -> list[Line]:
    """The tenant that the platform names; a client's own header of that name never gets here."""
    return [(TENANT_ID, invocation.tenant_id)] if is_safe(invocation.tenant_id) else []


def _request_context_line(request_context: object) -> Line:
    """``LEFT_OUT`` where it is too long or nested too deeply: half of a context would mislead."""
    try:
        spelled = dumps_ascii(request_context)
    except ValueError:
        return LEFT_OUT
    return (REQUEST_CONTEXT, spelled) if len(spelled) <= LONGEST_VALUE else LEFT_OUT


def _lambda_context_line(invocation: Invocation, options: EventOptions) -> list[Line]:
    """The line, or none for the same reasons."""
    try:
        spelled = lambda_context(invocation, options.environment)
    except ValueError:
        return []
    return [(LAMBDA_CONTEXT, spelled)] if len(spelled) <= LONGEST_VALUE else []


def lambda_context(invocation: Invocation, environment: EnvironmentConfig) -> str:
    """The invocation under the keys that the AWS Lambda Web Adapter uses, so that apps can read either's header: JSON.

    ``ValueError`` when what the invoker says is nested too deeply.
    """
    return _LAMBDA_CONTEXT % (
        quote_ascii(invocation.request_id),
        invocation.deadline_ms,
        quote_ascii(invocation.function_arn),
        quote_ascii(invocation.trace_id) if invocation.trace_id else "null",
        dumps_ascii(_json_object(invocation.client_context)) if invocation.client_context else "null",
        dumps_ascii(_identity(invocation.cognito_identity)) if invocation.cognito_identity else "null",
        quote_ascii(invocation.tenant_id) if invocation.tenant_id else "null",
        _ENV_CONFIGS[environment],
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
