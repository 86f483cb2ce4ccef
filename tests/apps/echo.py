"""An app that answers every request with what it received, byte for byte, as JSON.

``{"method", "target", "headers": [[name, value], ...], "body"}``: names and values as they came, their bytes as
latin-1; ``body`` in base64. To HEAD it answers without a body.
"""

from __future__ import annotations

from _json import encode_basestring_ascii
from binascii import b2a_base64

from serving import Connection, Request, serve


def quote(raw: bytes) -> str:
    """JSON text of the bytes, as latin-1."""
    return encode_basestring_ascii(raw.decode("latin-1"))


def echo(connection: Connection, request: Request) -> None:
    """Answer with the request."""
    members = (
        f'"method":{quote(request.method)}',
        f'"target":{quote(request.target)}',
        '"headers":[{}]'.format(",".join(f"[{quote(name)},{quote(value)}]" for name, value in request.headers)),
        f'"body":{quote(b2a_base64(connection.read_body(request), newline=False))}',
    )
    document = "{{{}}}".format(",".join(members)).encode()
    connection.answer(200, b"" if request.method == b"HEAD" else document)


if __name__ == "__main__":
    serve(echo)
