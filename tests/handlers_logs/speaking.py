"""A handler that logs: the event names what it does. Runs under Fairlead and under awslambdaric alike."""

import logging
import os
import sys
from decimal import Decimal

if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # the tests import this too
    print("init: printed")
    logging.warning("init: logged")

root = logging.getLogger()
own = logging.getLogger("app.own")
LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "NOTICE": 25, "WARNING": 30, "ERROR": 40, "FATAL": 50}


def handler(event, context):
    print(f"--- {event} ---")
    CASES[event]()


def all_levels(logger):
    for name, level in LEVELS.items():
        logger.log(level, name)


def with_a_level_of_its_own():
    own.setLevel(1)
    all_levels(own)
    own.setLevel(logging.NOTSET)


def caught(error):
    try:
        raise error
    except Exception:
        root.exception("caught")
    root.warning("the next record")


def chained():
    try:
        try:
            int("x")
        except ValueError as error:
            raise LookupError("outer") from error
    except LookupError:
        root.exception("caught")


def raises(error):
    raise error


def with_a_format_of_its_own():
    (handler,) = root.handlers
    formatter = handler.formatter
    handler.setFormatter(logging.Formatter("mine|%(levelname)s|%(aws_request_id)s|%(tenant_id)s|%(message)s"))
    root.warning("formatted")
    handler.setFormatter(formatter)
    root.warning("the next record")


def with_a_handler_of_its_own():
    mine = logging.StreamHandler(sys.stdout)
    mine.setFormatter(logging.Formatter("mine|%(levelname)s|%(message)s"))
    own.addHandler(mine)
    own.warning("heard twice: by its own handler and by the root's")
    own.removeHandler(mine)


def basic_config():
    logging.basicConfig(level=logging.DEBUG, format="basic %(message)s")
    root.warning("once")
    root.debug("not shown: the root logger has a handler, so basicConfig does nothing")


def cyclic():
    value = {}
    value["self"] = value
    root.warning({"value": value})


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no")


def crashes():
    root.warning("logged before the crash")
    print("printed before the crash")
    print("without an end", end="")
    os._exit(3)


CASES = {
    "message": lambda: root.warning("hello %s, %d times", "world", 3),
    "unicode": lambda: root.warning("zwölf Boxkämpfer \U0001f600"),
    "levels": lambda: all_levels(root),
    "levels of a logger of its own": with_a_level_of_its_own,
    "dict": lambda: root.warning({"order": 7, "nothing": None, "items": [1, 2.5, True]}),
    "dict with arguments": lambda: root.warning({"order": 7}, {"unused": 1}),
    "extra": lambda: root.warning("paid", extra={"order": 7, "amount": {"eur": 1.5}, "nothing": None}),
    "extra that JSON has no type for": lambda: root.warning("odd", extra={"a": {1}, "b": Decimal("1.10"), "c": object}),
    "extra NaN": lambda: root.warning("odd", extra={"ratio": float("nan")}),
    "extra with a tuple as key": lambda: root.warning("odd", extra={"a": {(1, 2): 3}}),
    "extra called like an empty key": lambda: root.warning("odd", extra={"errorType": "Own"}),
    "extra called like a key": lambda: root.warning("odd", extra={"requestId": "forged"}),
    "value that contains itself": cyclic,
    "two lines": lambda: root.warning("one\ntwo"),
    "lone surrogate": lambda: root.warning("\ud800"),
    "exception": lambda: caught(ValueError("bad")),
    "exception with a cause": chained,
    "exception whose text cannot be had": lambda: caught(Unspeakable()),
    "exception outside of an except block": lambda: root.exception("nothing was caught"),
    "stack": lambda: root.warning("here", stack_info=True),
    "wrong arguments": lambda: root.warning("%d apples", "many"),
    "format of its own": with_a_format_of_its_own,
    "handler of its own": with_a_handler_of_its_own,
    "basicConfig": basic_config,
    "print": lambda: print("printed", 2, sep="|"),
    "print without an end": lambda: (print("open", end=""), root.warning("logged"), print()),
    "raise": lambda: raises(ValueError("bad")),
    "raise with two lines": lambda: raises(ValueError("one\ntwo")),
    "crash": crashes,
    "variables": lambda: print(sorted(name for name in os.environ if "TELEMETRY" in name)),
}
