"""A Flask app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask

app = flask.Flask(__name__)


@app.get("/")
def index() -> str:
    return "hello"


@app.route("/seen/<path:rest>", methods=["GET", "POST"])
def seen(rest: str) -> dict[str, Any]:
    request = flask.request
    return {
        "path": request.path,
        "rest": rest,
        "root": request.script_root,
        "url": request.url,
        "args": request.args.to_dict(flat=False),
        "form": request.form.to_dict(),
        "cookies": request.cookies,
        "client": request.remote_addr,
        "secure": request.is_secure,
        "link": flask.url_for("index", _external=True),
        "event": request.environ["aws.event"]["version"],
    }


@app.get("/login")
def login() -> flask.Response:
    response = flask.redirect("/")
    response.set_cookie("session", "abc", httponly=True)
    response.set_cookie("theme", "dark")
    return response  # type: ignore[return-value]


@app.get("/stream")
def stream() -> flask.Response:
    def lines() -> Iterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    return flask.Response(lines(), mimetype="text/plain")


@app.get("/binary")
def binary() -> flask.Response:
    return flask.Response(bytes(range(256)), mimetype="image/png")


@app.get("/boom")
def boom() -> str:
    raise ValueError("boom")


@app.post("/events")
def events() -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": flask.request.get_json()["Records"][0]["messageId"]}]}
