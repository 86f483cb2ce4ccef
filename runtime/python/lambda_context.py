"""The ``context`` that a handler gets: attribute for attribute that of the managed Python runtime
(https://docs.aws.amazon.com/lambda/latest/dg/python-context.html).
"""

from __future__ import annotations

import posix
import sys
import time

from ..errors import InvocationFault
from ..standard import standard_library
from ..values import NamedTuple
from .codec import decode_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..invocation import Invocation


W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class Function(NamedTuple):
    """The members that do not change from one invocation to the next: of each variable its value, or None."""

    log_group_name: str | None
    log_stream_name: str | None
    name: str | None
    memory_limit_in_mb: str | None  # a string, as the managed runtime has it
    version: str | None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Function:
        return cls(
            environ.get("AWS_LAMBDA_LOG_GROUP_NAME"),
            environ.get("AWS_LAMBDA_LOG_STREAM_NAME"),
            environ.get("AWS_LAMBDA_FUNCTION_NAME"),
            environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
            environ.get("AWS_LAMBDA_FUNCTION_VERSION"),
        )


class _Attributes:
    """An object with the attributes that ``__slots__`` of its class names, taken from a JSON object."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, values: Mapping[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, values.get(name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{','.join(f'{name}={getattr(self, name)}' for name in self.__slots__)}])"


class CognitoIdentity(_Attributes):
    """Who called, when that was through Amazon Cognito; both are None otherwise."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(_Attributes):
    """The app that called, as AWS's mobile SDKs describe it."""

    # In the order in which repr() shows them.
    __slots__ = (  # noqa: RUF023
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    )


class ClientContext(_Attributes):
    """The client context that the caller passed."""

    __slots__ = ("custom", "env", "client")  # noqa: RUF023
    client: Client | None


class _Writable:
    """A member that the managed runtime's context has not: a slot, so that ``vars`` of a context does not show it."""

    __slots__ = ("response_stream",)
    response_stream: Callable[..., Any]  # python_handler's


class LambdaContext(_Writable):
    """Tells a handler about its invocation and its function."""

    def __init__(self, invocation: Invocation, function: Function) -> None:
        """Raises ``InvocationFault`` when what the caller passed along is not what it has to be."""
        self.aws_request_id = invocation.request_id
        self.log_group_name = function.log_group_name
        self.log_stream_name = function.log_stream_name
        self.function_name = function.name
        self.memory_limit_in_mb = function.memory_limit_in_mb
        self.function_version = function.version
        self.invoked_function_arn = invocation.function_arn
        self.tenant_id = invocation.tenant_id or None
        self._w3c_fields: dict[str, str] = {}
        self.client_context = self._client_context(invocation.client_context) if invocation.client_context else None
        self.identity = _identity(invocation.cognito_identity) if invocation.cognito_identity else CognitoIdentity({})
        self._epoch_deadline_time_in_ms = invocation.deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation; 0 when none are left, or when there is no deadline."""
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def w3c(self) -> dict[str, str]:
        """The W3C trace context that the caller passed along: ``traceparent``, ``tracestate``, ``baggage``, if any."""
        return dict(self._w3c_fields)

    def log(self, msg: object) -> None:
        """Write ``msg`` to the function's log, as it stands: without a level, without a line end."""
        sys.stdout.write(str(msg))
        sys.stdout.flush()

    def __repr__(self) -> str:
        shown = ",".join(f"{name}={getattr(self, name)}" for name in _SHOWN)
        return f"{type(self).__name__}([{shown}])"

    def _client_context(self, text: str) -> ClientContext | None:
        values = _object(text, "Client Context")
        if values is None:
            return None
        passed = values.pop("w3c", None)
        if isinstance(passed, dict):
            self._w3c_fields = {name: passed[name] for name in W3C_FIELDS if isinstance(passed.get(name), str)}
        context = ClientContext(values)
        client: object = context.client
        if isinstance(client, dict):
            context.client = Client(client)
        elif client is not None:
            raise _unreadable("Client Context", f"client is no object but {type(client).__name__}")
        return context


_SHOWN = (
    "aws_request_id",
    "log_group_name",
    "log_stream_name",
    "function_name",
    "memory_limit_in_mb",
    "function_version",
    "invoked_function_arn",
    "client_context",
    "identity",
    "tenant_id",
)


def _identity(text: str) -> CognitoIdentity:
    values = _object(text, "Cognito Identity") or {}
    return CognitoIdentity(
        {
            "cognito_identity_id": values.get("cognitoIdentityId"),
            "cognito_identity_pool_id": values.get("cognitoIdentityPoolId"),
        }
    )


def _object(text: str, what: str) -> dict[str, Any] | None:
    try:
        value = decode_text(text)
    except ValueError as error:
        raise _unreadable(what, str(error)) from None
    if value is None or isinstance(value, dict):
        return value
    raise _unreadable(what, f"it is no object but {type(value).__name__}")


def _unreadable(what: str, why: str) -> InvocationFault:
    return InvocationFault("Runtime.LambdaContextUnmarshalError", f"Unable to parse {what} JSON: {why}")


# ---- the trace variable ----------------------------------------------------------------------------------------------
#
# The variable in which AWS's SDKs look for the trace that an invocation belongs to.


NAME = b"_X_AMZN_TRACE_ID"
# glibc keeps each value that setenv was ever given, because somebody may still hold a pointer to it: 140 bytes for each
# invocation, 140 MB for a million (measured with 2.36 and 2.41). An environment that lives so long gets a place of our
# own for the value, which is written over; that takes ctypes, hence 3 ms once.
CHANGES_BEFORE_PLACE = 1000
PLACE_SIZE = 4096


class TraceVariable:
    """Sets and removes it: in ``os.environ``, and for child processes and libraries that are not Python."""

    def __init__(self) -> None:
        self._value: str | None = None  # what it is at the start is not known
        self._changes = 0
        self._place: Any = None
        self._putenv: Any = None

    def set(self, value: str) -> None:
        """The variable has this value from now on; it is removed when that is empty."""
        if value == self._value:
            return
        self._value = value
        if not value:
            posix.environ.pop(NAME, None)
            posix.unsetenv(NAME)
            return
        octets = value.encode("utf-8", "surrogateescape")
        posix.environ[NAME] = octets  # the dictionary behind os.environ
        self._changes += 1
        if self._changes <= CHANGES_BEFORE_PLACE or not self._put(b"%b=%b" % (NAME, octets)):
            posix.putenv(NAME, octets)

    def _put(self, assignment: bytes) -> bool:
        """Write over the last value in place. False: it does not fit, or this Python has no ctypes."""
        if not self._place:
            try:
                with standard_library:
                    import ctypes  # 3 ms, long after the start

                self._putenv = ctypes.CDLL(None).putenv
                self._place = ctypes.create_string_buffer(PLACE_SIZE)
            except (ImportError, OSError, AttributeError):
                self._changes = 0
                return False
        if len(assignment) >= PLACE_SIZE:
            return False
        self._place.value = assignment
        self._putenv(self._place)  # again each time: the user's code may have set the variable too
        return True
