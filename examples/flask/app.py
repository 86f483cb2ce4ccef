"""A small Flask app: a page, forms, files, cookies, queue messages. Only /events knows that it is on Lambda."""

from __future__ import annotations

import atexit
import hashlib
import platform
from typing import Any
from urllib.parse import parse_qsl

from flask import Flask, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 6 * 1024 * 1024
# The connection comes from Fairlead. The last address of X-Forwarded-For, and the scheme, are those that AWS has seen.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
EVERY_BYTE = bytes(range(256))

# At SIGTERM gunicorn ends as programs of Python do. A WSGI app without a server is told nothing.
atexit.register(print, "stopped", flush=True)


@app.get("/")
def page() -> str:
    return render_template("page.html", name=request.args.get("name", ""))


@app.post("/greet")
def greet() -> Any:
    # See Other: reloading the page that follows does not send the form again.
    return redirect(url_for("page", name=request.form["name"]), 303)


@app.post("/upload")
def upload() -> dict[str, Any]:
    file = request.files["file"]
    content = file.read()
    return {"name": file.filename, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@app.get("/download")
def download() -> Response:
    """1 KiB in which every byte value occurs."""
    headers = {"content-disposition": 'attachment; filename="every-byte.bin"'}
    return Response(EVERY_BYTE * 4, mimetype="application/octet-stream", headers=headers)


@app.get("/api/request")
def described() -> dict[str, Any]:
    """The request as Flask understands it."""
    return {
        "runtime": f"Python {platform.python_version()}",
        "method": request.method,
        # request.url is for people: %2F is / in it.
        "url": request.host_url.rstrip("/") + request.environ["RAW_URI"],
        # request.args sorts by name.
        "query": parse_qsl(request.query_string.decode(), keep_blank_values=True),
        "headers": [[name.lower(), value] for name, value in request.headers],
        "client": request.remote_addr,
    }


@app.post("/api/bytes")
def same_bytes() -> Response:
    body = request.get_data()
    headers = {"x-length": str(len(body)), "x-sha256": hashlib.sha256(body).hexdigest()}
    return Response(body, mimetype="application/octet-stream", headers=headers)


@app.get("/api/cookies")
def two_cookies() -> Response:
    response = make_response(dict(request.cookies))
    response.set_cookie("theme", "dark", max_age=86400)
    response.set_cookie("visited", "yes", httponly=True)
    return response


@app.post("/form")
def form() -> dict[str, list[str]]:
    return {name: request.form.getlist(name) for name in request.form}


@app.post("/events")
def events() -> dict[str, Any]:
    """Queues, topics, schedules. Of an SQS batch, the messages whose body is "fail" are delivered again."""
    # Anybody can POST here from outside. Fairlead sets this header for events and takes it from every other request.
    if "x-fairlead-event-source" not in request.headers:
        abort(403)
    records = request.get_json().get("Records", [])
    failed = [record["messageId"] for record in records if record.get("body") == "fail"]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
