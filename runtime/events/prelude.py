"""Response -> prelude: what goes in front of a streamed answer, so that a front end knows its status and its fields.

https://docs.aws.amazon.com/lambda/latest/dg/response-streaming-tutorial.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/response-streaming-lambda-configure.html
"""

from __future__ import annotations

from ..json_codec import dumps
from ..messages import header
from .fields import end_to_end_lines
from .response import BODILESS, joined, status_code, without_cookies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..messages import HttpResponse

CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
SEPARATOR = b"\0" * 8
# API Gateway looks for the separator in so many bytes, and answers 502 when it is not there.
PRELUDE_LIMIT = 16 * 1024
_BODILESS = (*BODILESS, 205)
# Of an answer without a body, on wish: some accounts are said to hold the connection of one (docs/not-seen-on-aws.md).
# White space to HTML, JSON, CSS and JavaScript.


PADDING = b"\n"


def padding_for(head: HttpResponse, method: str = "GET") -> bytes:
    """What may be sent as the body of an answer that has none, or ``b""``: not every answer may have one.

    RFC 9110 sections 6.4.1 and 15.3.6. A coded body cannot be one byte, so that it stays empty.
    """
    if method == "HEAD" or head.status in _BODILESS or header(head.headers, "content-encoding"):
        return b""
    return PADDING


def to_prelude(head: HttpResponse) -> bytes:
    """The JSON object and the eight NULs after it. One value per name: lists of them are REST APIs' alone."""
    others, cookies = without_cookies(end_to_end_lines(head.headers))
    prelude: dict[str, object] = {"statusCode": status_code(head), "headers": joined(others)}
    if cookies:
        prelude["cookies"] = cookies
    return dumps(prelude) + SEPARATOR
