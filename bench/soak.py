"""A million invocations through the real bootstrap: its memory has to stay where it is.

Small ones first: events of several sources, whose field names change from block to block, so that what is remembered of
them is seen. Then large ones: 1 MB to the app and the same back, binary and text. Memory is looked at between blocks,
when the process waits in next and holds nothing of an invocation.

``python -m bench.soak [--small N] [--large N]``. Exits 1 when the process has grown, or when something went wrong.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .build import BuildError, build

CHECKOUT = Path(__file__).parents[1]
LAYER = CHECKOUT / ".cache" / "layer" / os.uname().machine
SMALL_BLOCKS = 40
LARGE_BLOCKS = 40
LARGE_SIZE = 1_000_000
# The first quarter of a kind's blocks is warm-up: buffers have been of every size by then, and the tables that remember
# names have been full (runtime/values.py). The medians of the second and of the last quarter are
# compared. The allocator's noise is some 100 kB; the smallest object leaked by each of 500 000 invocations is 8 MB.
NAMES_IN_WARM_UP = 120
NAMES = 20
BOUND_KB = {"small": 512, "large": 1024}
# Four sources of events, in turn. The app is asked for the same whatever comes.
DOMAIN = "abcdefghij.lambda-url.us-east-1.on.aws"
# A shared machine needs about a third of this.
TIME_LIMIT_S = 1500


class Sample(NamedTuple):
    """The memory of the process after a block of invocations."""

    kind: str
    invocations: int  # of all blocks so far
    seconds: float
    rss_kb: int
    pss_kb: int
    app_starts: int


class SoakError(Exception):
    """The run could not be carried out; the text says why."""


# ---- events ---------------------------------------------------------------------------------------------------------


def small_event(block: int) -> dict[str, Any]:
    """An event of one of four sources, with field names of this block's own."""
    names = NAMES_IN_WARM_UP if block < SMALL_BLOCKS // 4 else NAMES
    headers = {"host": DOMAIN, "cookie": "a=b", **{f"x-block-{block}-{number}": "1" for number in range(names)}}
    lists = {name: [value] for name, value in headers.items()}
    events: Sequence[dict[str, Any]] = (
        {
            "version": "2.0",
            "rawPath": "/small",
            "rawQueryString": f"block={block}",
            "cookies": ["a=b", f"block={block}"],
            "headers": headers,
            "requestContext": {
                "domainName": DOMAIN,
                "http": {"method": "GET", "path": "/small", "sourceIp": "1.2.3.4"},
            },
        },
        {
            "httpMethod": "POST",
            "path": "/length",
            "headers": headers,
            "multiValueHeaders": lists,
            "queryStringParameters": {"a": "1"},
            "multiValueQueryStringParameters": {"a": ["1"]},
            "requestContext": {"identity": {"sourceIp": "1.2.3.4"}, "stage": "prod"},
            "body": "some text, " * 40,
        },
        {
            "httpMethod": "GET",
            "path": "/chunked",
            "queryStringParameters": {"300&chunk": "100"},
            "headers": headers,
            "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
        },
        {"Records": [{"eventSource": "aws:sqs", "messageId": str(block), "body": "some text, " * 20}]},
    )
    return events[block % len(events)]


def large_event(block: int) -> dict[str, Any]:
    """1 MB to the app and the same back: binary and text in turn."""
    if block % 2:
        body = {"body": "The quick brown fox jumps. " * (LARGE_SIZE // 27), "isBase64Encoded": False}
    else:
        octets = bytes(number * 131 % 256 for number in range(256)) * (LARGE_SIZE // 256)
        body = {"body": base64.b64encode(octets).decode(), "isBase64Encoded": True}
    return {
        "version": "2.0",
        "rawPath": "/echo",
        "rawQueryString": "text" if block % 2 else "",
        "headers": {"host": DOMAIN},
        "requestContext": {"domainName": DOMAIN, "http": {"method": "POST", "path": "/echo", "sourceIp": "1.2.3.4"}},
        **body,
    }


class Block(NamedTuple):
    """A number of invocations with one event."""

    kind: str
    event: dict[str, Any]
    invocations: int


def blocks(small: int, large: int) -> list[Block]:
    """The invocations in the order in which they are made."""
    return [
        *(Block("small", small_event(at), count) for at, count in enumerate(_shares(small, SMALL_BLOCKS))),
        *(Block("large", large_event(at), count) for at, count in enumerate(_shares(large, LARGE_BLOCKS))),
    ]


def _shares(total: int, parts: int) -> Iterator[int]:
    for part in range(parts):
        if count := total * (part + 1) // parts - total * part // parts:
            yield count


# ---- processes ------------------------------------------------------------------------------------------------------


def interpreter_of_the_layer() -> str | None:
    """Why the layer's interpreter cannot be used, or None when it can: its programs run under ``/opt`` only."""
    if not (LAYER / "bootstrap").exists():
        return "no layer was built"
    if not shutil.which("unshare"):
        return "unshare (util-linux) was not found"
    command = _under_opt(["/opt/fairlead/bin/python3", "-ISB", "-c", ""])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return f"it cannot be mounted on /opt ({done.stderr.strip()})" if done.returncode else None


def _under_opt(command: list[str]) -> list[str]:
    """``command`` where ``/opt`` is the layer, for it alone. ``exec`` all the way: the pid stays."""
    script = 'mount --bind "$0" /opt && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(LAYER.resolve()), *command]


def start_mock(program: Path, todo: list[Block], directory: Path) -> tuple[subprocess.Popen[str], str]:
    """The mock Runtime API, which will ask before each block, and its address."""
    arguments = []
    for number, block in enumerate(todo):
        path = directory / f"{number}.json"
        path.write_text(json.dumps(block.event))
        arguments += [str(path), str(block.invocations)]
    command = [str(program), "--step", "--linger", "60", "--limit", str(TIME_LIMIT_S), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    words = process.stdout.readline().split()
    if words[:1] != ["listening"]:
        raise SoakError("the mock Runtime API did not start")
    return process, f"127.0.0.1:{words[1]}"


def start_bootstrap(api: str, app: Path, directory: Path, in_layer: bool, log: Path) -> subprocess.Popen[bytes]:
    """The real bootstrap, out of the layer or out of the checkout."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TMPDIR": str(directory),
        "LAMBDA_TASK_ROOT": str(directory),
        "AWS_LAMBDA_RUNTIME_API": api,
        "AWS_LAMBDA_FUNCTION_NAME": "soak",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "FAIRLEAD_PORT": str(port),
        "FAIRLEAD_COMMAND": f"exec '{app}'",
    }
    command = _under_opt(["/opt/bootstrap"]) if in_layer else [str(CHECKOUT / "bootstrap")]
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stderr=output)


def memory_of(pid: int) -> tuple[int, int]:
    """VmRSS and Pss in kB (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text() + Path(f"/proc/{pid}/smaps_rollup").read_text()
    fields = {name: value for name, _, value in (line.partition(":") for line in lines.splitlines())}
    return int(fields["VmRSS"].split()[0]), int(fields["Pss"].split()[0])


def app_pid(pid: int) -> int:
    """The process that the bootstrap has started; 0 when there is none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


# ---- the run --------------------------------------------------------------------------------------------------------


def run(todo: list[Block], mock: Path, app: Path, in_layer: bool) -> tuple[list[Sample], dict[str, Any]]:
    """A sample from before the first block, one after each, and what the mock says. Raises ``SoakError``."""
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    log = directory / "log"
    processes: list[subprocess.Popen[Any]] = []
    try:
        api, address = start_mock(mock, todo, directory)
        processes.append(api)
        bootstrap = start_bootstrap(address, app, directory, in_layer, log)
        processes.append(bootstrap)
        return _step(todo, api, bootstrap)
    except (SoakError, OSError) as error:
        said = log.read_text(errors="replace")[-3000:] if log.exists() else ""
        raise SoakError(f"{error}\nits log ends with:\n{said}") from error
    finally:
        for process in reversed(processes):
            _end(process)
        shutil.rmtree(directory, ignore_errors=True)


def _step(
    todo: list[Block], api: subprocess.Popen[str], bootstrap: subprocess.Popen[bytes]
) -> tuple[list[Sample], dict[str, Any]]:
    assert api.stdin
    assert api.stdout
    samples: list[Sample] = []
    began = time.monotonic()
    done = 0
    apps: set[int] = set()
    for block in [*todo, None]:
        line = api.stdout.readline()
        if block and not line.startswith("ready"):
            raise SoakError(f"the mock Runtime API ended early: {line[:300].strip()}")
        result: dict[str, Any] = {} if block else json.loads(line or "{}")
        if not block and not result.get("complete"):
            raise SoakError("not every invocation was answered")
        if not block:
            _wait_asleep(bootstrap.pid)
        apps.add(app_pid(bootstrap.pid))
        kind = todo[len(samples) - 1].kind if samples else "start"
        samples.append(Sample(kind, done, time.monotonic() - began, *memory_of(bootstrap.pid), len(apps)))
        _print_sample(samples)
        if not block:
            return samples, result
        done += block.invocations
        api.stdin.write("\n")
        api.stdin.flush()
    raise AssertionError("unreachable")


def _wait_asleep(pid: int) -> None:
    """After the last answer nobody tells that the process is in next again: its main thread sleeps for good then."""
    was = -1
    while True:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        used = int(fields[11]) + int(fields[12])
        if fields[0] == "S" and used == was:
            return
        was = used
        time.sleep(0.2)


def _end(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, upon which the bootstrap ends its app; SIGKILL for what does not listen."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def _print_sample(samples: list[Sample]) -> None:
    sample = samples[-1]
    if len(samples) == 1:
        print(f"{'':6}{'invocations':>12}{'seconds':>9}{'VmRSS kB':>10}{'Pss kB':>9}")
    shown = len(samples) % 4 == 1 or samples[-1].kind != samples[-2].kind
    if shown or (len(samples) > 2 and abs(sample.rss_kb - samples[-2].rss_kb) > 256):
        print(f"{sample.kind:6}{sample.invocations:>12}{sample.seconds:>9.1f}{sample.rss_kb:>10}{sample.pss_kb:>9}")
        sys.stdout.flush()


def growth(samples: list[Sample], kind: str) -> tuple[int, int] | None:
    """VmRSS in kB after the warm-up with this kind, and how much more it was at the end; None for too few blocks."""
    mine = [sample.rss_kb for sample in samples if sample.kind == kind]
    quarter = len(mine) // 4
    if not quarter:
        return None
    level = int(statistics.median(mine[quarter : 2 * quarter]))
    return level, int(statistics.median(mine[-quarter:])) - level


def report(samples: list[Sample], result: dict[str, Any]) -> list[str]:
    """Print what it came to; what is wrong with that."""
    problems = []
    for kind, bound in BOUND_KB.items():
        if found := growth(samples, kind):
            level, more = found
            print(f"{kind}: {level} kB after the warm-up, {more:+} kB at the end (bound {bound} kB)")
            if more > bound:
                problems.append(f"the process has grown by {more} kB over the {kind} invocations, more than {bound} kB")
    if samples[-1].app_starts != 1:
        problems.append("the app was started again")
    count = sum(phase["answered"] for phase in result["phases"])
    print(f"{count} invocations in {samples[-1].seconds:.0f} s, each answered once; no invocation failed")
    return problems


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--small", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000)
    options = parser.parse_args()
    try:
        mock, app = build("mock_api"), build("fast_app")
        why_not = interpreter_of_the_layer()
        print(f"with {'this machine' if why_not else 'the layer'}'s interpreter" + (f": {why_not}" if why_not else ""))
        samples, result = run(blocks(options.small, options.large), mock, app, in_layer=not why_not)
    except (BuildError, SoakError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    problems = report(samples, result)
    for problem in problems:
        print(f"soak: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
