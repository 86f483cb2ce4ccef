"""Agents around JavaScript handlers, black box: what they put in the place of something is on the way of an invocation.

The agents are of this file, each with one habit of the real ones, which ``make test-agents`` runs.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.fakes import BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.layer.small_elf import library

from .conftest import engine_of, javascript_environment, write

Start = Callable[..., BootstrapProcess]
HANDLER = "exports.handler = async (event) => event;\n"
OTHER = {"x86_64": "arm64", "aarch64": "x86_64"}[platform.machine()]
SHOWN = {"arm64": "aarch64", "x86_64": "x86_64"}[OTHER]


@pytest.fixture
def start(api: FakeRuntimeApi, tmp_path: Path) -> Start:
    """Starts a function that has these files: ``start(handler, files, runtime="node", **environment)``."""

    def started(handler: str, files: Mapping[str, str], runtime: str = "node", **environment: str) -> BootstrapProcess:
        write(files, tmp_path)
        given = {**javascript_environment(engine_of(runtime), tmp_path), **environment}
        return start_bootstrap(api, handler=handler, environment=given)

    return started


def answer_to(api: FakeRuntimeApi, event: object) -> object:
    answer = api.wait_answer(api.add_event(event))
    return answer.document if answer.kind == "response" else answer.document["errorType"]


# ---- what they find

WRAPS_REQUIRED = """
const Module = require("node:module");
const original = Module.prototype.require;
Module.prototype.require = function (id) {
  const found = original.call(this, id);
  if (id.endsWith("/index.js")) {
    const { handler } = found;
    found.handler = async (...given) => ({ seen: process.env._HANDLER, answer: await handler(...given) });
  }
  return found;
};
"""


@pytest.mark.parametrize("manifest", [{}, {"package.json": "{}"}, {"package.json": '{"type": "commonjs"}'}])
def test_an_agent_that_wraps_what_require_gives_sees_the_handler(
    api: FakeRuntimeApi, start: Start, manifest: dict[str, str]
) -> None:
    """As OpenTelemetry, Datadog and Elastic find it; ``_HANDLER`` is known when the agent is loaded."""
    agent = 'if (!process.env._HANDLER) throw new Error("no handler");' + WRAPS_REQUIRED
    start("index.handler", {"agent.cjs": agent, "index.js": HANDLER, **manifest}, NODE_OPTIONS="--require ./agent.cjs")
    assert answer_to(api, "tea") == {"seen": "index.handler", "answer": "tea"}


MODULES = {
    "ES module by its syntax": {
        "index.js": "import process from 'node:process';\nexport const handler = async () => 'm';"
    },
    "ES module by its manifest": {
        "index.js": "export const handler = async () => 'm';",
        "package.json": '{"type": "module"}',
    },
    "ES module that awaits": {"index.js": "export const handler = await (async () => async () => 'm')();"},
    "broken manifest below node_modules": {
        "index.mjs": "export const handler = async () => 'm';",
        "package.json": "{}",
    },
    "CommonJS with a line like a module's": {
        "index.js": "exports.handler = async () => `m`;\nconst text = `\nexport default nothing;`;"
    },
    "TypeScript as a module": {"index.ts": "export const handler = async (): Promise<string> => 'm';"},
    "TypeScript as CommonJS, by its syntax": {
        "index.ts": "exports.handler = async (event: { order: string }): Promise<string> => 'm';"
    },
    "TypeScript as CommonJS": {"index.cts": "exports.handler = async (): Promise<string> => 'm';"},
}


@pytest.mark.parametrize("files", MODULES.values(), ids=MODULES)
def test_modules_of_all_kinds_are_loaded_around_an_agent(
    api: FakeRuntimeApi, start: Start, files: dict[str, str]
) -> None:
    start("index.handler", {"agent.cjs": WRAPS_REQUIRED, **files}, NODE_OPTIONS="--require ./agent.cjs")
    assert answer_to(api, {}) in ("m", {"seen": "index.handler", "answer": "m"})


# ---- another handler in the place of the function's

AROUND = """
export const handler = async (event) => {
  const { handler } = await import(process.env.LAMBDA_TASK_ROOT + "/" + process.env.ORIGINAL.split(".")[0] + ".js");
  return { around: process.env.ORIGINAL, answer: await handler(event) };
};
"""
FILES = {"around/the.mjs": AROUND, "index.js": "module.exports.handler = async (event) => event;\n"}
BY_SCRIPT = '#!/bin/sh\nexport ORIGINAL=$_HANDLER _HANDLER=$PLACE\nexec "$@"\n'
BY_PRELOAD = "process.env.ORIGINAL = process.env._HANDLER; process.env._HANDLER = process.env.PLACE;\n"
PLACES = ("around/the.handler", "{root}/around/the.handler")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("runtime", ["node", "bun", "deno"])
def test_a_wrapper_may_set_another_handler(
    api: FakeRuntimeApi, start: Start, tmp_path: Path, runtime: str, place: str
) -> None:
    wrapper = str(tmp_path / "wrapper.sh")
    start(
        "index.handler",
        {**FILES, "wrapper.sh": BY_SCRIPT},
        runtime,
        AWS_LAMBDA_EXEC_WRAPPER=wrapper,
        PLACE=place.format(root=tmp_path),
    )
    assert answer_to(api, "tea") == {"around": "index.handler", "answer": "tea"}


@pytest.mark.parametrize("place", PLACES)
def test_an_agent_may_set_another_handler(api: FakeRuntimeApi, start: Start, tmp_path: Path, place: str) -> None:
    """As Sentry's does."""
    files = {**FILES, "agent.cjs": BY_PRELOAD}
    start("index.handler", files, NODE_OPTIONS="--require ./agent.cjs", PLACE=place.format(root=tmp_path))
    assert answer_to(api, "tea") == {"around": "index.handler", "answer": "tea"}


def test_another_handler_that_is_not_there_is_named(api: FakeRuntimeApi, start: Start) -> None:
    start(
        "index.handler", {**FILES, "agent.cjs": BY_PRELOAD}, NODE_OPTIONS="--require ./agent.cjs", PLACE="no/such.one"
    )
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.HandlerNotFound"
    assert "_HANDLER=no/such.one in the place of index.handler" in document["errorMessage"]


# ---- the end of an invocation

SEES_THE_END = """
exports.handler = async (event, context) => {
  const { succeed, fail } = context;
  const report = async (how, pass, value) => {
    %s
    console.log(`the agent saw ${how}`);
    pass(value);
  };
  context.succeed = (value) => report("a result", succeed, value);
  context.fail = (error) => report("an error", fail, error);
  if (event.fail) throw new RangeError("of the handler");
  return "of the handler";
};
"""
NEVER = "if (event.never) return;"
THROWS = 'throw new Error("the collector is gone");'
LATER = 'setImmediate(() => { throw new Error("the collector is gone"); }); await new Promise(() => {});'
REJECTS = 'Promise.reject(new Error("the collector is gone")); await new Promise(() => {});'


def test_an_agent_that_replaces_the_contexts_functions_sees_the_end(api: FakeRuntimeApi, start: Start) -> None:
    """As Elastic's does: Lambda's runtime ends an invocation through them when the handler's promise is settled."""
    process = start("index.handler", {"index.js": SEES_THE_END % NEVER})
    assert answer_to(api, {}) == "of the handler"
    process.wait_output("the agent saw a result")
    assert answer_to(api, {"fail": True}) == "RangeError"
    process.wait_output("the agent saw an error")
    for event, answer in (({"never": True}, "of the handler"), ({"never": True, "fail": True}, "RangeError")):
        assert answer_to(api, event) == answer


@pytest.mark.parametrize("runtime", ["node", "bun", "deno"])
@pytest.mark.parametrize("fault", [THROWS, LATER, REJECTS])
def test_an_answer_is_not_lost_where_the_agent_fails_to_report(
    api: FakeRuntimeApi, start: Start, fault: str, runtime: str
) -> None:
    process = start("index.handler", {"index.js": SEES_THE_END % fault}, runtime)
    for _ in range(2):
        assert answer_to(api, {}) == "of the handler"
        assert answer_to(api, {"fail": True}) == "RangeError"
    process.wait_output("the collector is gone")


PATCHES_REQUIRED = """
const Module = require("node:module");
const original = Module.prototype.require;
Module.prototype.require = function (id) {
  const found = original.call(this, id);
  if (id !== "node:http") return found;
  const createServer = (...given) => {
    console.log("the agent saw a server");
    return found.createServer(...given);
  };
  return { ...found, createServer };
};
"""
TAKES_REQUESTS = """
const http = require("node:http");
const { emit } = http.Server.prototype;
http.Server.prototype.emit = function (name, ...rest) {
  if (name === "request") console.log("the agent saw a request");
  return emit.call(this, name, ...rest);
};
require("node:diagnostics_channel").subscribe("http.server.request.start", ({ server }) => {
  const { emit } = server;
  server.emit = function (name, ...rest) {
    if (name === "request") console.log("the agent saw a request");
    return emit.call(this, name, ...rest);
  };
});
"""


def test_an_event_is_no_web_request_to_an_agent(api: FakeRuntimeApi, start: Start) -> None:
    """Who begins a transaction with each request has none left for the handler's."""
    files = {"agent.cjs": TAKES_REQUESTS, "index.js": HANDLER + "console.log('loaded');"}
    process = start("index.handler", files, NODE_OPTIONS="--require ./agent.cjs")
    assert [answer_to(api, event) for event in (1, 2, 3)] == [1, 2, 3]
    process.wait_output("loaded")
    assert "the agent saw" not in process.output


def test_the_requests_of_a_web_handler_are(api: FakeRuntimeApi, start: Start) -> None:
    files = {
        "one.cjs": PATCHES_REQUIRED,
        "two.cjs": TAKES_REQUESTS,
        "index.mjs": "export const fetch = () => new Response(process.env._HANDLER ?? 'none');",
    }
    process = start("index.fetch", files, NODE_OPTIONS="--require ./one.cjs --require ./two.cjs")
    answer = api.wait_answer(api.add_event({"httpMethod": "GET", "path": "/"}))
    assert answer.document["body"] == "none"
    process.wait_output("the agent saw a server")
    process.wait_output("the agent saw a request")


def test_two_agents_at_once_both_see_the_handler(api: FakeRuntimeApi, start: Start) -> None:
    files = {"one.cjs": WRAPS_REQUIRED, "two.cjs": WRAPS_REQUIRED, "index.js": HANDLER}
    start("index.handler", files, NODE_OPTIONS="--require ./one.cjs --require ./two.cjs")
    seen = {"seen": "index.handler", "answer": "tea"}
    assert answer_to(api, "tea") == {**seen, "answer": seen}


# ---- a start that fails

PRELOADS = {"agent.cjs": "--require ./agent.cjs", "agent.mjs": "--import ./agent.mjs"}
LOADS = {
    "agent.cjs": "require(process.env.LAMBDA_TASK_ROOT + '/native.node');",
    "agent.mjs": "import { createRequire } from 'node:module';\n"
    "createRequire(import.meta.url)(process.env.LAMBDA_TASK_ROOT + '/native.node');",
}


@pytest.mark.parametrize("agent", PRELOADS)
def test_an_agent_that_throws_when_it_is_loaded_is_an_init_error_with_its_words(
    api: FakeRuntimeApi, start: Start, agent: str
) -> None:
    files = {agent: 'throw new Error("AGENT_KEY is not set");', "index.js": HANDLER}
    process = start("index.handler", files, NODE_OPTIONS=PRELOADS[agent])
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.AppExited"
    assert "AGENT_KEY is not set" in document["errorMessage"]
    assert process.wait() == 1


def test_an_agent_that_does_not_come_to_its_end_is_named_for_what_it_is(api: FakeRuntimeApi, start: Start) -> None:
    """Nobody who has a handler has a server that should listen."""
    files = {"agent.mjs": "setInterval(() => {}, 2 ** 30);\nawait new Promise(() => {});", "index.js": HANDLER}
    process = start("index.handler", files, NODE_OPTIONS=PRELOADS["agent.mjs"])
    process.wait_output("is still being loaded: it, or what NODE_OPTIONS or a wrapper loads before it, awaits")


@pytest.mark.parametrize("agent", [*PRELOADS, "index.js"])
def test_an_agent_for_another_processor_is_named(api: FakeRuntimeApi, start: Start, tmp_path: Path, agent: str) -> None:
    (tmp_path / "native.node").write_bytes(library(OTHER))
    loads = LOADS.get(agent, LOADS["agent.cjs"])
    options = {"NODE_OPTIONS": PRELOADS[agent]} if agent in PRELOADS else {}
    process = start("index.handler", {"index.js": HANDLER, agent: loads}, **options)
    said = f"{tmp_path}/native.node is built for {SHOWN}, and this function runs on {platform.machine()}"
    assert said in json.loads(api.wait_init_error().body)["errorMessage"]
    assert process.wait() == 1


def test_an_agent_for_another_processor_that_does_without_is_no_error(
    api: FakeRuntimeApi, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "native.node").write_bytes(library(OTHER))
    agent = f"try {{ {LOADS['agent.cjs']} }} catch (error) {{ console.warn('agent off:', error.message); }}"
    process = start("index.handler", {"agent.cjs": agent, "index.js": HANDLER}, NODE_OPTIONS=PRELOADS["agent.cjs"])
    assert answer_to(api, "tea") == "tea"
    process.wait_output("agent off:")


IGNORED = [("bun", "--require ./agent.cjs"), ("bun", "--import=./agent.mjs"), ("deno", "--import ./agent.mjs")]


@pytest.mark.parametrize(("runtime", "options"), IGNORED)
def test_a_runtime_that_does_not_load_the_agent_says_so(
    api: FakeRuntimeApi, start: Start, runtime: str, options: str
) -> None:
    process = start("index.handler", {"index.js": HANDLER}, runtime, NODE_OPTIONS=options)
    assert answer_to(api, "tea") == "tea"
    process.wait_output(f"NODE_OPTIONS has Node load an agent ({options})")
    process.wait_output("FAIRLEAD_JAVASCRIPT_RUNTIME=node")


def test_options_that_load_nothing_are_no_reason_to_warn(api: FakeRuntimeApi, start: Start) -> None:
    process = start("index.handler", {"index.js": HANDLER}, "bun", NODE_OPTIONS="--enable-source-maps")
    assert answer_to(api, "tea") == "tea"
    assert "NODE_OPTIONS" not in process.output


@pytest.mark.parametrize(("given", "seen"), [({}, "AWS_Lambda_nodejs22.x"), ({"AWS_EXECUTION_ENV": "own"}, "own")])
def test_agents_are_told_that_handlers_have_callbacks(
    api: FakeRuntimeApi, start: Start, given: dict[str, str], seen: str
) -> None:
    start("index.handler", {"index.js": "exports.handler = async () => process.env.AWS_EXECUTION_ENV;"}, **given)
    assert answer_to(api, {}) == seen
