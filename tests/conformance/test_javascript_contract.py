"""What else Lambda's Node runtime gives to handlers of events, and the function's own configuration, by runtime."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.events import function_url
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, start_bootstrap

from .conftest import javascript_environment, write

Start = Callable[..., BootstrapProcess]
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"


@pytest.fixture
def start(api: FakeRuntimeApi, engine: Path, tmp_path: Path) -> Start:
    """Starts a function that has these files."""

    def started(handler: str, files: Mapping[str, str], **environment: str) -> BootstrapProcess:
        write(files, tmp_path)
        given = {**javascript_environment(engine, tmp_path), **environment}
        return start_bootstrap(api, handler=handler, environment=given)

    return started


def ask(api: FakeRuntimeApi, event: Any) -> Answer:
    return api.wait_answer(api.add_event(event))


def test_an_error_has_its_own_name_and_the_header_has_it_in_letters(api: FakeRuntimeApi, start: Start) -> None:
    source = "export const handler = async (name) => { throw Object.assign(new Error('so'), { name }); };"
    start("index.handler", {"index.mjs": source})
    names = {
        "OrderNotFound": "Function.OrderNotFound",
        "S3ServiceException": "Function.SServiceException",
        "notFound": "Function.NotFound",
        "My.Custom Err": "Function.MyCustomErr",
        "Runtime.Own": "Runtime.Own",
        "Runtime.Own\r\nX: y": "Function.RuntimeOwnXy",
        "!": "Function.Unknown",
    }
    for name, header in names.items():
        answer = ask(api, name)
        assert (answer.kind, answer.document["errorType"]) == ("error", name)
        assert answer.request.header(ERROR_TYPE) == header
        cause = json.loads(answer.request.header("Lambda-Runtime-Function-XRay-Error-Cause") or "")
        assert cause["exceptions"][0]["type"] == name
        assert cause["paths"][0].endswith("/index.mjs")


CONSOLE = """
export const handler = async (level) => {
  console[level]("order %d\\nis late", 7);
  if (level === "error") console.error("failed", new RangeError("too far"));
};
"""
METHODS = {"trace": "TRACE", "debug": "DEBUG", "log": "INFO", "info": "INFO", "warn": "WARN", "error": "ERROR"}


def test_console_writes_lines_with_time_request_id_and_level(api: FakeRuntimeApi, start: Start) -> None:
    process = start("index.handler", {"index.mjs": CONSOLE})
    for method, level in METHODS.items():
        request_id = api.add_event(method)
        api.wait_answer(request_id)
        process.wait_output(f"\t{request_id}\t{level}\torder 7\ris late\n")
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t", process.output, re.MULTILINE)


def test_console_writes_json_from_the_level_that_is_set(api: FakeRuntimeApi, start: Start) -> None:
    process = start("index.handler", {"index.mjs": CONSOLE}, AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="WARN")
    for method in METHODS:
        last = api.add_event(method)
        api.wait_answer(last)
    process.wait_output("too far")
    records = [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{"timestamp"')]
    assert [record["level"] for record in records] == ["WARN", "ERROR", "ERROR"]
    assert records[0]["message"] == "order 7\nis late"
    assert records[2]["requestId"] == last
    assert (records[2]["errorType"], records[2]["errorMessage"]) == ("RangeError", "too far")


def test_after_a_rejection_that_nobody_catches_the_next_invocation_is_served(api: FakeRuntimeApi, start: Start) -> None:
    source = """
    export const handler = async (event) => {
      if (event.fail) Promise.reject(new Error("nobody waits"));
      await new Promise((resolve) => setTimeout(resolve, event.fail ? 10_000 : 0));
      return "served";
    };
    """
    start("index.handler", {"index.mjs": source})
    for _ in range(3):
        answer = ask(api, {"fail": True})
        assert answer.document["errorType"] == answer.request.header(ERROR_TYPE) == "Runtime.UnhandledPromiseRejection"
        assert ask(api, {}).document == "served"


def test_a_streaming_handler_streams_its_metadata(api: FakeRuntimeApi, start: Start) -> None:
    source = """
    export const handler = awslambda.streamifyResponse(async (event, stream) => {
      stream = awslambda.HttpResponseStream.from(stream, { statusCode: 418 });
      stream.end(event.text);
    });
    """
    start("index.handler", {"index.mjs": source})
    answer = ask(api, {"text": "tea"})
    assert answer.request.header("Content-Type") == "application/vnd.awslambda.http-integration-response"
    assert answer.request.header("Lambda-Runtime-Function-Response-Mode") == "streaming"
    assert answer.body == b'{"statusCode":418}' + b"\0" * 8 + b"tea"


def test_the_request_log_has_the_bytes_and_the_error_of_a_stream(api: FakeRuntimeApi, start: Start) -> None:
    source = """
    export const handler = awslambda.streamifyResponse(async (event, stream) => {
      stream.write("tea");
      if (event.fail) throw new RangeError("no more");
      stream.end();
    });
    """
    process = start("index.handler", {"index.mjs": source}, FAIRLEAD_REQUEST_LOG="true")
    ask(api, {})
    ask(api, {"fail": True})
    api.wait_idle()
    lines = [json.loads(line) for line in process.stdout.splitlines() if '"type":"request"' in line]
    whole, broken = lines
    assert (whole["responseBytes"], whole.get("errorType")) == (3, None)
    assert (broken["responseBytes"], broken["errorType"]) == (3, "Function.RangeError")


def test_a_result_that_is_too_large_is_named(api: FakeRuntimeApi, start: Start) -> None:
    start("index.handler", {"index.mjs": "export const handler = async (size) => 'x'.repeat(size);"})
    assert ask(api, 6_291_557).document["errorType"] == "Function.ResponseSizeTooLarge"
    assert len(ask(api, 6_291_554).body) == 6_291_556


def test_invocations_at_once_keep_their_ids_apart(engine: Path, tmp_path: Path) -> None:
    """Lambda Managed Instances: each waits until all are there."""
    source = """
    const waiting = [];
    export const handler = async (event, context) => {
      await new Promise((resolve) => { if (waiting.push(resolve) === 4) for (const one of waiting) one(); });
      console.log("number", event);
      return { event, id: context.awsRequestId };
    };
    """
    (tmp_path / "index.mjs").write_text(source)
    environment = {
        **javascript_environment(engine, tmp_path),
        "AWS_LAMBDA_MAX_CONCURRENCY": "4",
    }
    with FakeRuntimeApi(concurrency=4) as api:
        process = start_bootstrap(api, handler="index.handler", environment=environment)
        ids = {api.add_event(number): number for number in range(4)}
        answers = api.wait_answers(list(ids))
        for request_id, number in ids.items():
            assert answers[request_id].document == {"event": number, "id": request_id}
            process.wait_output(f"\t{request_id}\tINFO\tnumber {number}\n")


def test_a_sigterm_handler_of_the_module_runs(api: FakeRuntimeApi, start: Start) -> None:
    source = """
    process.on("SIGTERM", () => { console.log("ending well"); process.exit(0); });
    export const handler = async () => 1;
    """
    process = start("index.handler", {"index.mjs": source})
    ask(api, {})
    process.terminate()
    assert process.wait() == 0
    assert "ending well" in process.output


def test_the_next_invocation_waits_for_what_is_left_to_do(api: FakeRuntimeApi, start: Start) -> None:
    source = """
    const done = [];
    const work = async (name) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      if (name === "/fail") throw new Error("work failed");
      done.push(name);
    };
    export default {
      fetch(request, _env, context) {
        const { pathname } = new URL(request.url);
        const answer = Response.json(done);
        if (pathname !== "/idle") context.waitUntil(work(pathname));
        return answer;
      },
    };
    """
    process = start("index.fetch", {"index.mjs": source})
    answers = [ask(api, function_url("GET", path)).document for path in ("/a", "/b", "/fail", "/idle")]
    assert [json.loads(answer["body"]) for answer in answers] == [[], ["/a"], ["/a", "/b"], ["/a", "/b"]]
    assert not any("x-fairlead" in name for answer in answers for name in answer["headers"])
    process.wait_output("work failed")


def test_an_error_while_the_module_is_loaded_keeps_its_name(api: FakeRuntimeApi, start: Start) -> None:
    source = "throw Object.assign(new Error('no table'), { name: 'ConfigMissing' });"
    start("index.handler", {"index.mjs": source})
    request = api.wait_init_error()
    document = json.loads(request.body)
    assert (document["errorType"], document["errorMessage"]) == ("ConfigMissing", "no table")
    assert request.header(ERROR_TYPE) == "Function.ConfigMissing"


PACKAGE = {
    "package.json": '{"type": "module", "dependencies": {"greeting": "1.0.0"}}',
    "node_modules/greeting/package.json": '{"name": "greeting", "version": "1.0.0", "main": "index.js"}',
    "node_modules/greeting/index.js": "module.exports = { greet: (name) => `hello ${name}` };",
}


def test_packages_in_node_modules_are_found(api: FakeRuntimeApi, start: Start) -> None:
    source = "import greeting from 'greeting'; export const handler = async (name) => greeting.greet(name);"
    start("index.handler", {**PACKAGE, "index.js": source})
    assert ask(api, "you").document == "hello you"


def test_a_handler_may_be_a_package(api: FakeRuntimeApi, start: Start) -> None:
    """That of an agent, which loads the function's own handler by itself."""
    wrapper = "exports.handler = async (event) => `wrapped ${event}, as ${process.env._HANDLER}`;"
    start("some-wrapper.handler", {"node_modules/some-wrapper/index.js": wrapper})
    assert ask(api, "it").document == "wrapped it, as some-wrapper.handler"


@pytest.mark.parametrize(
    "source",
    ["exports.handler = async () => typeof require;", "export const handler = async () => await 'function';"],
    ids=["CommonJS", "ESM"],
)
def test_a_file_that_nothing_describes_is_what_it_looks_like(api: FakeRuntimeApi, start: Start, source: str) -> None:
    start("index.handler", {"index.js": source})
    assert ask(api, {}).document == "function"


def test_commonjs_under_its_own_type_is_loaded(api: FakeRuntimeApi, start: Start) -> None:
    source = "const { greet } = require('greeting'); exports.fetch = (request) => new Response(greet(request.method));"
    files = {**PACKAGE, "package.json": '{"type": "commonjs", "dependencies": {"greeting": "1.0.0"}}'}
    start("src/index.fetch", {**files, "src/index.js": source})
    assert ask(api, function_url("GET", "/")).document["body"] == "hello GET"


def test_an_enum_of_typescript_is_compiled(api: FakeRuntimeApi, start: Start) -> None:
    source = "enum Level { Low = 1, High = 7 }\nexport const handler = async (): Promise<number> => Level.High;\n"
    start("index.handler", {"index.ts": source, "package.json": '{"type": "module"}'})
    assert ask(api, {}).document == 7


def test_deno_uses_the_functions_import_map(api: FakeRuntimeApi, start: Start, engine: Path) -> None:
    if engine.name != "deno":
        pytest.skip("of Deno alone")
    files = {
        "deno.json": '{"imports": {"words/": "./lib/"}}',
        "lib/hello.ts": "export const hello: string = 'from the map';",
        "src/index.ts": "import { hello } from 'words/hello.ts'; export const handler = async () => hello;",
    }
    start("src/index.handler", files)
    assert ask(api, {}).document == "from the map"


def test_bun_uses_the_functions_bunfig(api: FakeRuntimeApi, start: Start, engine: Path) -> None:
    if engine.name != "bun":
        pytest.skip("of Bun alone")
    files = {
        "bunfig.toml": 'preload = ["./first.ts"]\n',
        "first.ts": "(globalThis as any).first = 'preloaded';",
        "index.ts": "export const handler = async () => (globalThis as any).first ?? null;",
    }
    start("index.handler", files)
    assert ask(api, {}).document == "preloaded"
