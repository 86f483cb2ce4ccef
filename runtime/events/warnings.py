"""What to tell the app's author about an exchange that went well for all the platform can see.

Each function is given the event, the request made of it, the app's answer and the payload made of that. Nearly always
there is nothing to say, so each begins with a look at sizes that are known already. What a client did wrong (a header
name that is dropped) is not warned about: anybody could fill the log.
"""

from __future__ import annotations

from ..json_codec import utf8
from . import trigger
from .context import LONGEST_VALUE
from .fields import LAMBDA_CONTEXT, LEFT_OUT_FIELD, REQUEST_CONTEXT, answer_fields
from .response import BODILESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messages import HttpRequest, HttpResponse

# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html: "total combined size of request line and
# header values" of a request. That answers are held to about the same is believed, not documented; the margin is for
# what API Gateway adds.
_API_GATEWAY_LIMIT = 10_240
_API_GATEWAY_ALARM = 9_728
# A payload spells a field in more bytes than HTTP does, except Set-Cookie in format 2.0, which takes a third at least.
_SMALL_HEAD = _API_GATEWAY_ALARM // 3
_COOKIE_SPELLINGS = 512
_LINE_FRAME = 4  # a colon, a blank and the line's end


def of_request(_event: object, request: HttpRequest, _response: HttpResponse, _payload: bytes) -> Sequence[str]:
    """Whether a context header was left out for its size. Parts of one that a client can make long are not told."""
    second = request.headers[1:2]  # it comes right after the host, or not at all
    if not second or second[0][0] != LEFT_OUT_FIELD:
        return ()
    left_out = second[0][1].split(", ")
    return [
        f"the {named} context is larger than the {LONGEST_VALUE} bytes that fit into a header field safely; the app got"
        f" {LEFT_OUT_FIELD}: {name} instead"
        for named, name in (("request", REQUEST_CONTEXT), ("invocation's", LAMBDA_CONTEXT))
        if name in left_out
    ]


def of_api_gateway(event: object, request: HttpRequest, response: HttpResponse, payload: bytes) -> Sequence[str]:
    """Returns what ``of_request`` does, and whether API Gateway may refuse the answer for the size of its header."""
    found = of_request(event, request, response, payload)
    if response.status not in BODILESS and len(payload) - len(response.body) <= _SMALL_HEAD:
        return found
    size = header_size(response)
    if size <= _API_GATEWAY_ALARM:
        return found
    return (
        *found,
        f"the answer has {size} bytes of header fields; API Gateway takes about {_API_GATEWAY_LIMIT} and may"
        " fail the request beyond that. Large or many cookies are the usual cause",
    )


def header_size(response: HttpResponse) -> int:
    """The bytes that the answer's fields take on the wire, repeated ones joined."""
    fields, cookies = answer_fields(response.headers)
    lines = [*fields.items(), *(("set-cookie", cookie) for cookie in cookies)]
    return sum(len(name) + _LINE_FRAME + len(utf8(value)) for name, value in lines)


def of_single_values(event: object, request: HttpRequest, response: HttpResponse, payload: bytes) -> Sequence[str]:
    """Returns what ``of_request`` does, and whether cookies were cut because their name has no further spelling."""
    found = of_request(event, request, response, payload)
    if len(response.headers) <= _COOKIE_SPELLINGS:
        return found
    cookies = sum(name == "set-cookie" for name, _ in response.headers)
    if cookies <= _COOKIE_SPELLINGS:
        return found
    return (*found, f"the answer has {cookies} cookies, only the first {_COOKIE_SPELLINGS} were sent")


def of_trigger(event: object, request: HttpRequest, response: HttpResponse, payload: bytes) -> Sequence[str]:
    """Returns what ``of_request`` does, and whether the answer means something else than its author may think."""
    found = of_request(event, request, response, payload)
    is_as_it_was = payload == response.body
    if payload != b"null" and not (is_as_it_was and b'"statusCode"' in payload):
        return found
    warning = trigger.warning_for(response, event)
    return (*found, warning) if warning else found
