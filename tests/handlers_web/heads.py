"""A handler that brings a text of the caller's to every place from which it may get into a head.

The event is ``{"way": ..., "text": ..., "other": ...}``; what stands in a head, if anything, is for the runtime to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def raised(name: str, message: str) -> BaseException:
    """An exception of a class that is called ``name``, if Python allows that."""
    try:
        return type(name, (Exception,), {})(message)  # type: ignore[no-any-return]
    except (ValueError, UnicodeError):
        return Exception(message)


def fails(name: str, message: str) -> None:
    raise raised(name, message)


def fails_late(name: str, message: str) -> Iterator[bytes]:
    yield b"begun "
    fails(name, message)


def frame(text: str) -> Any:
    """``fails``, under that name in a file of that name, as a stack shows it."""
    try:
        return type(fails)(fails.__code__.replace(co_name=text, co_filename=text), fails.__globals__)
    except (ValueError, UnicodeError):
        return fails


def handler(event: dict[str, Any], context: Any) -> Any:
    text, other = event["text"], event["other"]
    match event["way"]:
        case "call":
            context.response_stream(content_type=text).write("body")
        case "property":
            out = context.response_stream()
            out.content_type = text
            out.write("body")
        case "swallowed":
            try:
                context.response_stream(content_type=text).write("body")
            except Exception:
                return text
        case "dict":
            return {"contentType": text, "body": iter(["body"])}
        case "head":
            return {
                "statusCode": 200,
                "headers": {text: other, "x-a": text},
                "cookies": [other],
                "body": iter(["body"]),
            }
        case "lists":
            return {"statusCode": 200, "multiValueHeaders": {"x-a": [text, other]}, "body": iter(["body"])}
        case "prelude":
            context.response_stream({"statusCode": 200, "headers": {"x-a": text}, "cookies": [other]}).write("body")
        case "status":
            return {"statusCode": text, "body": iter(["body"])}
        case "raise":
            fails(text, other)
        case "raise late":
            return fails_late(text, other)
        case "raise late in http":
            return {"statusCode": 200, "headers": {"x-a": other}, "body": fails_late(text, other)}
        case "frame":
            frame(text)(other, text)
        case "cause":
            try:
                fails(text, other)
            except Exception as error:
                error.add_note(text)
                raise raised(other, text) from error
        case "group":
            raise ExceptionGroup(other, [raised(text, other), ValueError(text)])
        case "exit":  # an answer of another type than text
            return {"contentType": event, "body": iter(["body"])}
        case _:
            return text
    return None
