"""Application Load Balancer and VPC Lattice (event structure 2): path, names and values of the query stay as sent.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html

What VPC Lattice decodes, and how it words its own answers, is not documented.
"""

from __future__ import annotations

from typing import Any

from runtime.messages import HttpResponse, header

from . import reply
from .request import body_of, end_to_end, forwarded, is_balanced_text, last, listed, lower, path_and_query, raw_lists
from .values import Answer, Arrival, ClientRequest, Front, Refused

TARGET_GROUP = "arn:aws:elasticloadbalancing:{region}:123456789012:targetgroup/fairlead/0123456789abcdef"
LATTICE = "arn:aws:vpc-lattice:{region}:123456789012:{resource}"
UNTYPED = "application/octet-stream"


def alb_event(request: ClientRequest, front: Front, arrival: Arrival) -> dict[str, Any]:
    """The event for a target group without multi-value headers: the last value of each name."""
    _, query = path_and_query(request)
    maps = {"queryStringParameters": last(raw_lists(query)), "headers": last(_alb_headers(request, front, arrival))}
    return _alb(request, front, maps)


def alb_multi_event(request: ClientRequest, front: Front, arrival: Arrival) -> dict[str, Any]:
    """The event for a target group with multi-value headers: all values of each name."""
    _, query = path_and_query(request)
    headers = _alb_headers(request, front, arrival)
    return _alb(request, front, {"multiValueQueryStringParameters": raw_lists(query), "multiValueHeaders": headers})


def _alb_headers(request: ClientRequest, front: Front, arrival: Arrival) -> dict[str, list[str]]:
    return listed(lower([*end_to_end(request), *forwarded(request, front, arrival, is_appending=True)]))


def _alb(request: ClientRequest, front: Front, maps: dict[str, Any]) -> dict[str, Any]:
    path, _ = path_and_query(request)
    return {
        "requestContext": {"elb": {"targetGroupArn": TARGET_GROUP.format(region=front.region)}},
        "httpMethod": request.method,
        "path": path,
        **maps,
        **(body_of(request, is_balanced_text) if request.body else {"body": "", "isBase64Encoded": False}),
    }


def lattice_event(request: ClientRequest, front: Front, arrival: Arrival) -> dict[str, Any]:
    """The event of VPC Lattice, structure 2: lists everywhere, and of the forwarded fields only the address."""
    path, query = path_and_query(request)
    address = forwarded(request, front, arrival, is_appending=True)[0]
    body = body_of(request, is_balanced_text) if request.body else {}

    def arn(resource: str) -> str:
        return LATTICE.format(region=front.region, resource=resource)

    return {
        "version": "2.0",
        "path": path,
        "method": request.method,
        "headers": listed(lower([*end_to_end(request), address])),
        **({"queryStringParameters": raw_lists(query)} if query else {}),
        **{name: value for name, value in body.items() if value is not False},  # the flag is there when it is true
        "requestContext": {
            "serviceNetworkArn": arn("servicenetwork/sn-0123456789abcdef0"),
            "serviceArn": arn("service/svc-0123456789abcdef0"),
            "targetGroupArn": arn("targetgroup/tg-0123456789abcdef0"),
            "identity": {"sourceVpcArn": f"arn:aws:ec2:{front.region}:123456789012:vpc/vpc-0123456789abcdef0"},
            "region": front.region,
            "timeEpoch": str(int(arrival.now * 1_000_000)),
        },
    }


def check_upgrade(request: ClientRequest) -> None:
    """A load balancer opens no WebSocket to a function."""
    if header(request.headers, "upgrade"):
        raise Refused(400, "a load balancer refuses an Upgrade when its target is a function")


def alb_answer(document: object, payload: bytes, request: ClientRequest, front: Front) -> Answer:
    known = reply.mapping(document)
    lines = reply.text_fields(reply.pairs(known.get("headers"), "headers"))
    return _answer(known, lines, _ignored(known, "headers", "multiValueHeaders", "off"))


def alb_multi_answer(document: object, payload: bytes, request: ClientRequest, front: Front) -> Answer:
    known = reply.mapping(document)
    lines = reply.text_fields(reply.listed_pairs(known.get("multiValueHeaders"), "multiValueHeaders"))
    return _answer(known, lines, _ignored(known, "multiValueHeaders", "headers", "on"))


def lattice_answer(document: object, payload: bytes, request: ClientRequest, front: Front) -> Answer:
    """One map, in which a value may be a list."""
    known = reply.mapping(document)
    lines = [
        (name, value)
        for name, values in reply.pairs(known.get("headers"), "headers")
        for value in (values if isinstance(values, list) else [values])
    ]
    return _answer(known, reply.text_fields(lines), ())


def _answer(known: dict[str, Any], lines: list[tuple[str, str]], words: tuple[str, ...]) -> Answer:
    status = reply.status_code(known["statusCode"])
    return Answer(reply.response(status, lines, reply.body_bytes(known), UNTYPED, _reason(known, status)), words)


def _reason(known: dict[str, Any], status: int) -> str:
    """The words of ``statusDescription``, which is ``"404 Not Found"``."""
    description = str(known.get("statusDescription") or "")
    words = description.removeprefix(str(status)).strip()
    return words if words.isascii() and words.isprintable() else ""


def _ignored(known: dict[str, Any], read: str, other: str, setting: str) -> tuple[str, ...]:
    if known.get(read) or not known.get(other):
        return ()
    return (f"{other} is ignored: multi-value headers are {setting}, so a load balancer reads {read} alone",)


PAGE = """<html>\r
<head><title>{0}</title></head>\r
<body>\r
<center><h1>{0}</h1></center>\r
</body>\r
</html>\r
"""


def alb_page(status: int) -> HttpResponse:
    words = PAGE.format(f"{status} {reply.reason_of(status)}")
    return reply.own_page(status, "text/html", words, ("server", "awselb/2.0"))


def lattice_page(status: int) -> HttpResponse:
    return reply.own_page(status, "text/plain; charset=utf-8", reply.reason_of(status))
