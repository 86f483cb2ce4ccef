"""The header fields that describe the invocation: ours alone, with the peer's names and keys, printable ASCII only."""

from __future__ import annotations

from ..json_codec import dumps_ascii, loads, utf8
from .fields import LAMBDA_CONTEXT, LEFT_OUT_FIELD, REQUEST_CONTEXT, TENANT_ID, TRACE_ID, is_safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..invocation import Invocation
    from .fields import Line
    from .options import EnvironmentConfig, EventOptions

# Bytes of one value. API Gateway lets 10,240 bytes of a client's header through and Node reads 16,384 in all, so 6,144
# are left: 1,024 for the other context header and 512 for trace id, tenant and forwarded fields. It also keeps the
# line below the 8,190 bytes of gunicorn and Apache. Beyond it the server, not the app, would answer: 400 or 431.
LONGEST_VALUE = 4_608
# What the app gets in place of a request context that is too long, so that it can tell that from none.
LEFT_OUT = (LEFT_OUT_FIELD, REQUEST_CONTEXT)


def context_lines(request_context: object, invocation: Invocation, options: EventOptions) -> list[Line]:
    """The two context headers of an HTTP event, unless the options leave them out, and the tenant."""
    lines = []
    if options.context_headers:
        lines += _json_line(REQUEST_CONTEXT, request_context) or [LEFT_OUT]
        lines += _json_line(LAMBDA_CONTEXT, lambda_context(invocation, options.environment))
    return lines + tenant_line(invocation)


def trigger_context_lines(invocation: Invocation, options: EventOptions) -> list[Line]:
    """The same for a trigger: its request context is ``null``, which tells an app that no client sent this request."""
    lines = [(REQUEST_CONTEXT, "null")]
    if options.context_headers:
        lines += _json_line(LAMBDA_CONTEXT, lambda_context(invocation, options.environment))
    if is_safe(invocation.trace_id):
        lines.append((TRACE_ID, invocation.trace_id))
    return lines + tenant_line(invocation)


def tenant_line(invocation: Invocation) -> list[Line]:
    """The tenant that the platform names; a client's own header of that name never gets here."""
    return [(TENANT_ID, invocation.tenant_id)] if is_safe(invocation.tenant_id) else []


def lambda_context(invocation: Invocation, environment: EnvironmentConfig) -> dict[str, object]:
    """The invocation under the keys that the AWS Lambda Web Adapter uses, so that apps can read either's header."""
    return {
        "request_id": invocation.request_id,
        "deadline": invocation.deadline_ms,
        "invoked_function_arn": invocation.function_arn,
        "xray_trace_id": invocation.trace_id or None,
        "client_context": _json_object(invocation.client_context),
        "identity": _identity(_json_object(invocation.cognito_identity)),
        "tenant_id": invocation.tenant_id or None,
        "env_config": {
            "function_name": environment.function_name,
            "memory": _number(environment.memory),
            "version": environment.version,
            "log_stream": environment.log_stream,
            "log_group": environment.log_group,
        },
    }


def _number(digits: str) -> int:
    return int(digits) if digits.isdecimal() and len(digits) < 10 else 0


def _identity(cognito: dict[str, object] | None) -> dict[str, object] | None:
    if cognito is None:
        return None
    return {"identityId": cognito.get("cognitoIdentityId"), "identityPoolId": cognito.get("cognitoIdentityPoolId")}


def _json_object(source: str) -> dict[str, object] | None:
    """The object that ``source`` spells, or None: whoever invokes chooses the client context and may send anything."""
    if not source:
        return None
    try:
        value = loads(utf8(source))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _json_line(name: str, value: object) -> list[Line]:
    """The line, or none where the value is too long or nested too deeply: half of a context would mislead."""
    try:
        spelled = dumps_ascii(value)
    except ValueError:
        return []
    return [(name, spelled)] if len(spelled) <= LONGEST_VALUE else []
