"""Everything that can go wrong, sorted by what becomes of it: each class has exactly one fate.

==================  ==========================================================================================
``InitFault``       posted as the init error, then the process exits with its ``exit_code``, which is not 0
``SnapshotFault``   the same, or posted as the restore error
``InvocationFault`` the invocation is answered with it (an HTTP status or an invocation error), the loop goes on
``FunctionFailed``  the same, and never as an HTTP status
``AppLost``         the same, and the app is started again
``ClientGone``      a streamed answer ends early, the loop goes on
``RuntimeApiFault`` logged, then the process exits 1: the platform and we no longer understand each other
``ExchangeError``   one HTTP exchange failed; whoever asked for it decides which of the above that means
==================  ==========================================================================================

``error_type`` is contract: users alarm on it and Step Functions match it. It is ``Runtime.<Name>`` for our faults and
``Function.<Name>`` for the app's and the user's; the platform keeps only names of that form. docs/errors.md lists all.
"""

from __future__ import annotations


class Fault(Exception):
    """A failure with a stable name. ``detail`` is posted with the message but not logged: the log has it already."""

    # Of an exception in the user's code: its class (posted as ``errorType``, where ``error_type`` is the header's),
    # where it came from, and the same for X-Ray. report.py fills them in.
    name = ""
    stack: tuple[str, ...] = ()
    xray_cause = ""
    document = b""  # what is posted, where somebody else has written it: the host of a JavaScript handler
    is_logged = False  # whoever found it has written a record of it that says more than ours would

    def __init__(self, error_type: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.detail = detail


class InitFault(Fault):
    """The function cannot be started as it is configured or built."""

    exit_code = 1


class SnapshotFault(InitFault):
    """A hook before a snapshot (SnapStart) has failed, or one after the restore. 64 and 65 are Lambda's statuses."""

    def __init__(self, error_type: str, message: str, was_restored: bool) -> None:
        super().__init__(error_type, message)
        self.was_restored = was_restored
        self.exit_code = 65 if was_restored else 64


class InvocationFault(Fault):
    """This invocation failed. An HTTP client sees ``status``; anybody else sees an invocation error."""

    status = 502


class BadRequest(InvocationFault):
    """The event cannot be turned into a request, and that is the client's doing. The app is not called."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__("Runtime.BadRequest", message)


class ContextTooLarge(BadRequest):
    """The app cannot be told who the authorizer says the client is, so it is not called: it might take it for nobody.

    How large that is the client can have a hand in, by the claims of its token.
    """

    status = 431

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.error_type = "Runtime.ContextTooLarge"


class ResponseTooLarge(InvocationFault):
    """The answer does not fit the payload limit. Known before anything is posted, so it can still be reported."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            "Function.ResponseSizeTooLarge",
            f"the response payload has {size} bytes, more than the limit of {limit} bytes",
        )


class FunctionFailed(InvocationFault):
    """The app itself has said that the invocation failed: an invocation error, for an HTTP event too."""


class AppNotReady(InvocationFault):
    """The app is still starting at the invocation's deadline. It is left to go on."""

    status = 504

    def __init__(self, message: str) -> None:
        super().__init__("Runtime.AppNotReady", message)


class AppLost(InvocationFault):
    """The app died or stopped answering; it has to be started again."""


class AppTimeout(AppLost):
    """The app did not answer before the invocation's deadline less the margin."""

    status = 504

    def __init__(self, message: str) -> None:
        super().__init__("Runtime.AppTimeout", message)

    @classmethod
    def of(cls, method: str, target: str) -> AppTimeout:
        """The fault for a request that was not answered in time."""
        path = target.partition("?")[0]  # queries carry secrets, and this is logged
        return cls(f"the app did not answer {method} {path} in time")


class EnvironmentLost(AppLost):
    """The app cannot be brought back: the invocation is reported, then the process exits for a fresh environment."""

    exit_code: int | None = None
    """With which the user's code has ended the process. None: it has not, and the reason is logged."""


class ClientGone(Exception):
    """Whoever asked for a streamed answer wants no more of it. Nobody's fault: the loop goes on."""


class RuntimeApiFault(Exception):
    """The Runtime API answered something that leaves no way on."""


class ExchangeError(Exception):
    """One HTTP exchange did not end in a complete, well-formed answer."""


class ConnectRefused(ExchangeError):
    """Nobody listens at the address. Nothing was sent."""


class ConnectionLost(ExchangeError):
    """The peer closed or reset the connection before its answer was complete."""

    is_unanswered = False
    """No byte of an answer has come."""


class ExchangeTimeout(ExchangeError):
    """The deadline of the exchange passed."""


class ProtocolError(ExchangeError):
    """The answer is not HTTP/1.1 as RFC 9112 has it, or has more than one reading."""


class BodyTooLarge(ExchangeError):
    """The body is larger than the caller is willing to hold. ``size`` is what was announced or read so far."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the body has at least {size} bytes, the limit is {limit}")
        self.size = size
        self.limit = limit
