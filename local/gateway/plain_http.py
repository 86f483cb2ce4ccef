"""A browser that speaks plain HTTP, before an app that is to see what it sees on AWS, where all is HTTPS.

Apps compare what the browser says of its own site (``Origin``, ``Referer``) with the scheme that the front end says
(``X-Forwarded-Proto``), and redirect to addresses made of it. Between both stands this: the browser's own site is
``https`` to the app, and a redirect back to it is ``http`` again to the browser. Other sites stay what they are.
"""

from __future__ import annotations

from runtime.messages import HttpResponse

from ..hosts import Authority
from ..sources.values import ClientRequest

OWN_SITE = ("origin", "referer")
HTTPS_PORT = 443
PLAIN, SECURE = "http://", "https://"


def as_over_tls(request: ClientRequest, host: str) -> ClientRequest:
    """``request`` as the browser would have sent it over TLS; ``host`` is what it calls this server (Host)."""
    site = PLAIN + host.lower()

    def secured(value: str) -> str:
        return SECURE + value[len(PLAIN) :] if _is_below(value, site) else value

    lines = [(name, secured(value) if name.lower() in OWN_SITE else value) for name, value in request.lines]
    return request._replace(lines=lines)


def as_without_tls(response: HttpResponse, host: str, own: Authority) -> HttpResponse:
    """``response`` with a redirect that the browser can follow without TLS.

    An app that leaves the port out means this server too: on AWS there is none to name.
    """
    sites = [SECURE + host.lower(), f"{SECURE}{own.in_url}:{HTTPS_PORT}", SECURE + own.in_url]

    def plain(value: str) -> str:
        site = next((site for site in sites if _is_below(value, site)), None)
        return value if site is None else PLAIN + host + value[len(site) :]

    lines = [(name, plain(value) if name.lower() == "location" else value) for name, value in response.headers]
    return response._replace(headers=lines)


def _is_below(address: str, site: str) -> bool:
    rest = address[len(site) :]
    return address[: len(site)].lower() == site and (not rest or rest[0] in "/?#")
