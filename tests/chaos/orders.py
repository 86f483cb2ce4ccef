"""What is asked of ``tests/apps/chaotic.py``: events, what the app is to do with each, and what it has to answer."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from tests.events import function_url

BATCH_SOURCES = ("aws:sqs", "aws:kinesis", "aws:dynamodb", "aws:kafka")
OTHER_SOURCES = ("aws:sns", "aws:s3", "")  # the last one is a direct invoke
# What a client asks, and the status of the answer.
WEB = (
    *(("GET", 200), ("POST", 200), ("POST", 200), ("POST", 500), ("HEAD", 200), ("HEAD", 404)),
    *(("DELETE", 204), ("POST", 204), ("GET", 304)),
)
WEB_SHARE = 0.3


class Message(NamedTuple):
    """Something that is delivered until it is acknowledged. A web request is delivered once."""

    name: str
    source: str  # or "web"
    attempt: int = 1

    @property
    def token(self) -> str:
        """The name of this delivery."""
        return f"{self.name}.{self.attempt}"


class Delivery(NamedTuple):
    """A message on its way."""

    message: Message
    method: str
    words: dict[str, str]

    @property
    def event(self) -> dict[str, Any]:
        """What Lambda hands over."""
        spec = ";".join(f"{name}={value}" for name, value in self.words.items())
        source = self.message.source
        if source == "web":
            event = function_url(self.method, "/order", "" if self.method == "POST" else None)
            return {**event, "rawQueryString": spec}
        if source == "aws:kafka":
            return {"eventSource": source, "records": {}, "chaos": spec}
        if source == "aws:sns":
            return {"Records": [{"EventSource": source}], "chaos": spec}
        return {"Records": [{"eventSource": source}], "chaos": spec} if source else {"direct": 1, "chaos": spec}

    @property
    def is_web(self) -> bool:
        """Whether a client waits for it."""
        return self.message.source == "web"

    @property
    def to_do(self) -> set[str]:
        """What has to be done when it is acknowledged."""
        return {item for item in self.words["items"].split(",") if not item.endswith("!")}

    @property
    def body(self) -> bytes:
        """What the app says, when nothing happens to it."""
        failed = [item[:-1] for item in self.words["items"].split(",") if item.endswith("!")]
        failures = ",".join(f'{{"itemIdentifier":"{item}"}}' for item in failed)
        filler = "x" * int(self.words["size"])
        return f'{{"batchItemFailures":[{failures}],"token":"{self.message.token}","filler":"{filler}"}}'.encode()

    @property
    def may_be_cut(self) -> bool:
        """Whether the end of the answer is the connection's."""
        return self.words["framing"].startswith("close")


def new_message(dice: random.Random, number: int) -> Message:
    """A message of any source."""
    if dice.random() < WEB_SHARE:
        return Message(f"web-{number}", "web")
    return Message(f"message-{number}", dice.choice(BATCH_SOURCES + OTHER_SOURCES))


def delivery_of(message: Message, dice: random.Random, style: str) -> Delivery:
    """How the app is to treat the message this time."""
    method, status = dice.choice(WEB) if message.source == "web" else ("POST", 200)
    items = [f"{message.token}-{letter}" for letter in "abc"[: dice.randrange(1, 4)]]
    framing = dice.choice(("length", "chunked", "close", "close10"))
    order = dice.choice(("work-first", "work-first", "head-first"))
    if method == "HEAD" or status in (204, 304):
        order = "work-first"  # the head is the answer
    elif framing.startswith("close") and style != "alone":
        # When a worker of a supervisor is killed after its head, nothing tells that from an empty answer without a
        # length: docs/app.md says so.
        order = "work-first"
    words = {
        "token": message.token,
        "items": ",".join(item + dice.choice(("", "", "", "!")) * (message.source in BATCH_SOURCES) for item in items),
        "status": str(status),
        "framing": framing,
        "order": order,
        "pieces": str(dice.choice((1, 1, 2, 5))),
        "wait_ms": str(dice.choice((0, 0, 1, 3))),
        "size": str(dice.choice((0, 10, 200, 70_000))),
        "late": dice.choice(("yes", "no")),
    }
    return Delivery(message, method, words)
