"""A Python handler in the built layer: on its own interpreter, with the system's certificates and no more of it."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layer import build
from tests.fakes import FakeRuntimeApi, start_bootstrap

from .conftest import LAMBDA_ENVIRONMENT, way_into
from .test_https import authority, url  # noqa: F401 (fixtures)

pytestmark = pytest.mark.integration

LOOK = """
import os, sys
def handler(event, context):
    return {"executable": sys.executable, "version": list(sys.version_info[:2]), "path": sys.path,
            "modules": sorted(sys.modules), "names": sorted(os.environ)}
"""
EVAL = """
import traceback
def handler(event, context):
    try:
        eval("no_such_name")
    except NameError as error:
        return traceback.format_tb(error.__traceback__)[-1]
"""
FETCH = """
import urllib.request
def handler(event, context):
    return urllib.request.urlopen(event, timeout=30).read().decode()
"""
# Files elsewhere, and built in on Debian's interpreter.
BUILT_IN_HERE = ("array", "binascii", "cmath", "fcntl", "grp", "math", "pyexpat", "select", "unicodedata", "zlib")
OWN_NAME = """
import math
def handler(event, context):
    return [__name__, round(math.pi)]
"""
WHOSE = """
import importlib
def handler(event, context):
    return [name for name in event if hasattr(importlib.import_module(name), "OF_THE_USER")]
"""
FAILS = """
async def handler(event, context):
    try:
        1 / 0
    except ArithmeticError as error:
        import logging
        logging.exception("shown")
        raise LookupError("the second") from error
"""
LOADED_BY_SITECUSTOMIZE = {"os", "os.path", "stat", "_stat", "genericpath", "posixpath", "_collections_abc"}

Invoke = Callable[..., Any]


@pytest.fixture
def invoke(layer: build.Layer, tmp_path: Path) -> Invoke:
    """What a handler in the layer answers; with ``bundle``, /etc holds nothing but that, as Amazon Linux has it."""

    def invoke(
        source: str, event: object = None, bundle: Path | None = None, module: str = "app", **environment: str
    ) -> Any:
        (tmp_path / f"{module}.py").write_text(source)
        bootstrap = tmp_path / "bootstrap"
        prefix = shlex.join(way_into(layer.tree, bundle=bundle))
        bootstrap.write_text(f'#!/bin/sh\nexec {prefix} /opt/bootstrap "$@"\n')
        bootstrap.chmod(0o755)
        with FakeRuntimeApi() as api:
            request_id = api.add_event(event)
            variables = {**LAMBDA_ENVIRONMENT, "LAMBDA_TASK_ROOT": str(tmp_path), **environment}
            start_bootstrap(api, handler=f"{module}.handler", bootstrap=bootstrap, environment=variables)
            return api.wait_answer(request_id).document

    return invoke


def test_it_runs_on_the_layers_interpreter_and_finds_the_users_code_first(invoke: Invoke, tmp_path: Path) -> None:
    seen = invoke(LOOK)
    major, minor = seen["version"]
    assert seen["executable"] == "/opt/fairlead/bin/python3"
    assert seen["path"][:4] == [
        str(tmp_path),
        f"/opt/python/lib/python{major}.{minor}/site-packages",
        "/opt/python",
        f"/opt/fairlead/lib/python{major}{minor}.zip",
    ]
    assert [name for name in seen["names"] if name.startswith("_FAIRLEAD")] == []


def test_little_is_loaded_besides_the_users_module(invoke: Invoke) -> None:
    """What is written in Python, that is: a built-in module costs nothing."""
    modules = {name for name in invoke(LOOK)["modules"] if not name.startswith(("_", "fairlead"))}
    expected = {"abc", "app", "binascii", "builtins", "codecs", "encodings", "encodings.aliases", "encodings.utf_8"}
    expected |= {
        "errno",
        "gc",
        "io",
        "linecache",
        "marshal",
        "posix",
        "select",
        "sitecustomize",
        "sys",
        "time",
        "zipimport",
    }
    assert modules - expected <= LOADED_BY_SITECUSTOMIZE


def test_no_line_of_ours_is_shown_for_what_has_no_source(invoke: Invoke) -> None:
    """Python 3.13 keeps the text after ``-c`` for tracebacks, under the name that ``eval`` has too."""
    assert invoke(EVAL) == '  File "<string>", line 1, in <module>\n'


@pytest.mark.parametrize("name", BUILT_IN_HERE)
def test_a_handler_may_be_called_like_a_module_that_is_built_in_here(invoke: Invoke, name: str) -> None:
    assert invoke(OWN_NAME, module=name) == ["handler_math" if name == "math" else name, 3]


def test_the_users_modules_may_have_any_name(invoke: Invoke, tmp_path: Path) -> None:
    names = sorted(name for name in sys.stdlib_module_names if name.isidentifier())
    for name in names:
        (tmp_path / f"{name}.py").write_text("OF_THE_USER = True\n")
    assert invoke(FAILS)["errorMessage"] == "the second"
    stack = "".join(invoke(FAILS, AWS_LAMBDA_LOG_FORMAT="JSON")["stackTrace"])
    assert 'raise LookupError("the second") from error' in stack
    assert "1 / 0" in stack
    found = set(invoke(WHOSE, names))
    assert found.issuperset({*BUILT_IN_HERE, "queue", "asyncio", "token"} - {"math"})
    assert found.isdisjoint({"math", "types", "json", "logging", "traceback", "sys", "time"})


@pytest.mark.skipif(not shutil.which("openssl"), reason="certificates are made with the command openssl")
def test_it_trusts_the_systems_certificates(invoke: Invoke, authority: Path, url: str) -> None:  # noqa: F811
    assert invoke(FETCH, url, authority / "ca.pem") == "verified"
