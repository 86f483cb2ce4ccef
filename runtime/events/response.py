"""Response -> payload: what holds for every HTTP source; and the prelude, which goes in front of a streamed answer.

https://docs.aws.amazon.com/lambda/latest/dg/response-streaming-tutorial.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/response-streaming-lambda-configure.html
"""

from __future__ import annotations

from ..json_codec import dumps, quote, quote_large
from ..messages import TEXT_APPLICATION_TYPES, TEXT_SUFFIXES, header
from ..values import Memo
from .binary import encode
from .fields import answer_fields, end_to_end_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..messages import Headers, HttpResponse
    from .fields import Line

_REASONS = {
    100: "Continue",
    101: "Switching Protocols",
    102: "Processing",
    103: "Early Hints",
    200: "OK",
    201: "Created",
    202: "Accepted",
    203: "Non-Authoritative Information",
    204: "No Content",
    205: "Reset Content",
    206: "Partial Content",
    207: "Multi-Status",
    208: "Already Reported",
    226: "IM Used",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    305: "Use Proxy",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    418: "I'm a teapot",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    423: "Locked",
    424: "Failed Dependency",
    425: "Too Early",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    451: "Unavailable For Legal Reasons",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    506: "Variant Also Negotiates",
    507: "Insufficient Storage",
    508: "Loop Detected",
    511: "Network Authentication Required",
}

# Above this the work on the text counts, below it the calls do.
LARGE = 16 * 1024
BODILESS = (204, 304)  # statuses whose answer never has a body (RFC 9110 section 6.4.1)
_UTF_8 = frozenset(("", "utf-8", "utf8", "us-ascii", "ascii"))


def status_code(response: HttpResponse) -> int:
    """The status, or 502 for a number that is none (RFC 9110 section 15): a gateway would say 502 and drop the body."""
    return response.status if 100 <= response.status <= 599 else 502


def status_description(status: int) -> dict[str, str]:
    """ALB's ``statusDescription``, which it wants as ``"404 Not Found"``; nothing for a status without a name."""
    return {"statusDescription": f"{status} {_REASONS[status]}"} if status in _REASONS else {}


def listed(lines: list[Line]) -> dict[str, list[str]]:
    """All values per name."""
    fields: dict[str, list[str]] = {}
    for name, value in lines:
        fields.setdefault(name, []).append(value)
    return fields


def payload(head: dict[str, object], lines: list[Line], response: HttpResponse) -> bytes:
    """``head`` as JSON, with ``body`` and ``isBase64Encoded`` added. ``lines``: the ``end_to_end_lines`` of the answer.

    The body is put between the bytes of the rest: through the encoder it would be copied several times.
    """
    body = b"" if response.status in BODILESS else response.body
    if not body:
        return dumps(head)[:-1] + b',"body":"","isBase64Encoded":false}'
    text = text_of(lines, body)
    start = dumps(head)[:-1]
    if text is None:
        return b"".join((start, b',"body":"', encode(body), b'","isBase64Encoded":true}'))
    if len(body) < LARGE:
        quoted = quote(text)
    else:
        del text  # it would be one more copy of megabytes
        quoted = quote_large(body)
    return b"".join((start, b',"body":', quoted, b',"isBase64Encoded":false}'))


class BinaryBody(bytes):
    """A body that is sent in base64 whatever its type says: some texts fit into a payload in no other way."""


def text_of(headers: Headers, body: bytes) -> str | None:
    """``body`` as the text that it says it is, or None when only base64 carries it.

    Without loss by construction: what is not UTF-8 is never text.
    """
    if not body:
        return ""
    if isinstance(body, BinaryBody):
        return None
    content_type = None
    for name, value in headers:
        if name == "content-encoding" and value.strip().lower() not in ("", "identity"):
            return None
        if name == "content-type" and content_type is None:
            content_type = value
    if content_type is not None and not _TEXT_TYPES[content_type]:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _is_utf8_text(content_type: str) -> bool:
    """Whether a Content-Type value names text, in UTF-8."""
    media_type, _, parameters = content_type.lower().partition(";")
    return _names_text(media_type.strip()) and _charset(parameters) in _UTF_8


_TEXT_TYPES = Memo(_is_utf8_text, count=256, length=128)


def _names_text(media_type: str) -> bool:
    kind, _, subtype = media_type.partition("/")
    if kind in ("", "text"):
        return True
    return (kind == "application" and subtype in TEXT_APPLICATION_TYPES) or subtype.endswith(TEXT_SUFFIXES)


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            return value.strip(' \t"')
    return ""


# ---- the prelude ----------------------------------------------------------------------------------------------------

STREAM_TYPE = "application/vnd.awslambda.http-integration-response"
SEPARATOR = b"\0" * 8
# API Gateway looks for the separator in so many bytes, and answers 502 when it is not there.
PRELUDE_LIMIT = 16 * 1024
_WITHOUT_BODY = (*BODILESS, 205)
# Of an answer without a body, on wish: some accounts are said to hold the connection of one (docs/not-seen-on-aws.md).
# White space to HTML, JSON, CSS and JavaScript.
PADDING = b"\n"


def padding_for(head: HttpResponse, method: str = "GET") -> bytes:
    """Returns a body for an answer that has none; ``b""``: this answer must not have one.

    RFC 9110 sections 6.4.1 and 15.3.6. A coded body cannot be one byte, so that it stays empty.
    """
    if method == "HEAD" or head.status in _WITHOUT_BODY or header(head.headers, "content-encoding"):
        return b""
    return PADDING


def to_prelude(head: HttpResponse) -> bytes:
    """The JSON object and the eight NULs after it. One value per name: lists of them are REST APIs' alone."""
    fields, cookies = answer_fields(end_to_end_lines(head.headers))
    prelude: dict[str, object] = {"statusCode": status_code(head), "headers": fields}
    if cookies:
        prelude["cookies"] = cookies
    return dumps(prelude) + SEPARATOR
