"""What the benchmark says must be what was measured: its events, its arithmetic, its tables, its refusals."""

from __future__ import annotations

import base64
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import contestants, document, equality, machine, managed, plot, ratios, tables
from bench.build import build
from bench.cases import FIRST_BYTE, PER_SECOND, SUITES, WEB, Case, Suite
from bench.contestants import Contestant
from bench.failures import BenchError
from bench.machine import Memory
from bench.session import Options, Phase, Session, in_order
from bench.warm import Sample, Warm
from runtime.events import detect
from runtime.invocation import PAYLOAD_LIMIT
from tests.events import function_url, rest_api
from tests.fakes.children import killed_at_the_end

CASES = [case for suite in SUITES for case in suite.cases]
WEB_CASES = [case for suite in SUITES if suite.kind == WEB for case in suite.cases]
ROOT = Path(__file__).parents[2]
PERFORMANCE = ROOT / "docs" / "performance.md"
OURS = Contestant("ours", "Ours", ("/bin/false",), True)
PEER = Contestant("peer", "Peer", ("/bin/false",), False)


# ---- events ---------------------------------------------------------------------------------------------------------


NEEDS_COMPILER = pytest.mark.skipif(
    not (shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")), reason="no C compiler"
)


def events(cases: list[Case]) -> list[object]:
    return [
        pytest.param(event, id=f"{case.name}{', checked' if event is case.checked_event else ''}")
        for case in cases
        for event in (case.event, case.checked_event)
        if event
    ]


@pytest.mark.parametrize("event", events(CASES))
def test_an_event_fits_into_an_invocation(event: dict[str, object]) -> None:
    assert len(json.dumps(event, ensure_ascii=False).encode()) <= PAYLOAD_LIMIT


@pytest.mark.parametrize("event", events(WEB_CASES))
def test_the_content_length_of_an_event_is_that_of_its_body(event: dict[str, dict[str, str]]) -> None:
    """The peer passes it on unchecked, and would wait for ever."""
    body = str(event.get("body") or "")
    octets = base64.b64decode(body) if event["isBase64Encoded"] else body.encode()
    assert event["headers"].get("content-length", "0") == str(len(octets))


@pytest.mark.parametrize(
    ("event", "name"), [(function_url("GET", "/a?b=c"), "function-url"), (rest_api("GET", "/a"), "rest-api")]
)
def test_an_event_is_what_it_claims_to_be(event: dict[str, object], name: str) -> None:
    assert detect(event).name == name


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_each_case_and_each_condition_has_a_name_of_its_own(suite: Suite) -> None:
    assert len({case.name for case in suite.cases}) == len(suite.cases)
    assert len({condition.name for condition in suite.conditions}) == len(suite.conditions)


# ---- equality -------------------------------------------------------------------------------------------------------


def payload(**changes: object) -> bytes:
    answer = {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "text", "isBase64Encoded": False}
    return json.dumps({**answer, **changes}).encode()


def streamed(body: bytes = b"text", **changes: object) -> bytes:
    prelude = {"statusCode": 200, "headers": {"content-type": "text/plain"}, "cookies": []}
    return json.dumps({**prelude, **changes}).encode() + bytes(8) + body


@pytest.mark.parametrize(
    ("other", "key"),
    [
        (streamed(b"Text"), "body"),
        (streamed(b""), "body"),
        (streamed(statusCode=201), "statusCode"),
        (streamed(cookies=["a=b"]), "cookies"),
        (payload(), "isBase64Encoded"),
    ],
)
def test_streamed_answers_are_compared_by_prelude_and_body(other: bytes, key: str) -> None:
    same = json.dumps({"headers": {"content-type": "text/plain"}, "statusCode": 200}).encode() + bytes(8) + b"text"
    assert equality.difference(streamed(), same) == ""
    assert key in equality.difference(streamed(), other)


def test_an_answer_that_was_streamed_differs_from_one_that_was_not() -> None:
    whole = b'{"statusCode": 200, "body": "text"}'
    assert equality.difference(whole, b'{"statusCode": 200}' + bytes(8) + b"text").startswith("is streamed is False")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(payload(), id="the same"),
        pytest.param(payload(cookies=[], multiValueHeaders={}), id="empty members"),
        pytest.param(payload(headers={"content-length": "4", "content-type": "text/plain"}), id="a length"),
        pytest.param(payload(body="\u0074ext"), id="another spelling"),
    ],
)
def test_answers_that_mean_the_same_are_equal(other: bytes) -> None:
    assert equality.difference(payload(), other) == ""


@pytest.mark.parametrize(
    ("other", "key"),
    [
        (payload(statusCode=201), "statusCode"),
        (payload(body="Text"), "body"),
        (payload(body="dGV4dA==", isBase64Encoded=True), "isBase64Encoded"),
        (payload(headers={"content-type": "text/html"}), "headers"),
        (payload(headers={"content-type": "text/plain", "vary": "accept"}), "headers"),
        (payload(cookies=["a=b"]), "cookies"),
        (payload(multiValueHeaders={"vary": ["a", "b"]}), "multiValueHeaders"),
        (payload(more=1), "more"),
    ],
)
def test_a_difference_is_found_and_named(other: bytes, key: str) -> None:
    assert equality.difference(payload(), other).startswith(f"{key} is ")
    assert equality.difference(other, payload()).startswith(f"{key} is ")


# ---- figures --------------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_quotient_of_medians() -> None:
    figure = ratios.paired([10, 20, 60], [20, 80, 40])
    assert (figure.ours, figure.peer) == (20, 40)
    assert figure.ratio is not None
    assert figure.ratio.median == pytest.approx(0.5)  # of 0.5, 0.25 and 1.5
    assert figure.difference is not None
    assert figure.difference.median == -10  # of -10, -60 and 20


def test_the_spread_is_the_quartiles() -> None:
    assert ratios.spread([1, 2, 3, 4, 5]) == (3, 2, 4)
    assert ratios.spread([7]) == (7, 7, 7)


def test_rounds_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios.paired([1, 2], [1])


def test_the_order_is_reversed_in_every_other_round() -> None:
    assert [[side.key for side in in_order([OURS, PEER], number)] for number in range(3)] == [
        ["ours", "peer"],
        ["peer", "ours"],
        ["ours", "peer"],
    ]


# ---- tables and picture ---------------------------------------------------------------------------------------------


def one_case(ours_ns: int, peer_ns: int | None, why_behind: str = "", invocations: int = 500) -> tuple[Suite, Warm]:
    suite = Suite("some", {}, [[Case("a case", {}, invocations, 1, why_behind=why_behind)]])
    warm = Warm({("a case", "ours"): [Sample(ours_ns, ours_ns, ours_ns, Memory(1, 1), ours_ns, 1)]}, {})
    if peer_ns:
        warm.samples["a case", "peer"] = [Sample(peer_ns, peer_ns, peer_ns, Memory(1, 1), peer_ns, 1)]
    return suite, warm


@pytest.mark.parametrize(
    ("ours", "why", "remark"),
    [(50_000, "a reason", ""), (150_000, "a reason", "a reason"), (150_000, "", tables.WITHOUT_REASON)],
)
def test_a_row_that_is_behind_says_why(ours: int, why: str, remark: str) -> None:
    suite, warm = one_case(ours, 100_000, why)
    (row,) = tables.warm_table("title", tables.warm_rows(suite, warm, 1)).rows
    assert row[-1] == remark


def test_without_a_peer_there_are_absolute_figures_only() -> None:
    suite, warm = one_case(50_000, None)
    (row,) = tables.warm_table("title", tables.warm_rows(suite, warm, 1)).rows
    assert row == ("a case", "50.0 µs", "", "", "", "50.0 µs", "", "", "")


def test_what_a_suite_also_prints_counts_too() -> None:
    suite, warm = one_case(50_000, 100_000, "a reason")
    warm.samples["a case", "ours"] = [Sample(1, 1, 1, Memory(1, 1), first_byte_ns=30, per_second=400)]
    warm.samples["a case", "peer"] = [Sample(2, 2, 2, Memory(1, 1), first_byte_ns=20, per_second=800)]
    rows = tables.warm_rows(suite, warm, 1)
    assert tables.warm_table("title", rows).rows[0][-1] == ""
    assert tables.warm_table("title", rows, FIRST_BYTE).rows[0][-2:] == ("**1.50** (1.50-1.50)", "a reason")
    together = tables.warm_table("title", rows, PER_SECOND).rows[0]
    assert together[-4:] == ("400", "800", "**0.50** (0.50-0.50)", "a reason")
    for also in ("", FIRST_BYTE, PER_SECOND):
        table = tables.warm_table("title", rows, also)
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_a_percentile_of_few_is_left_out() -> None:
    suite, warm = one_case(50_000, 100_000, invocations=99)
    assert tables.warm_rows(suite, warm, 1)[0].p99 is None
    suite, warm = one_case(50_000, 100_000, invocations=100)
    assert tables.warm_rows(suite, warm, 1)[0].p99 is not None
    assert tables.warm_rows(suite, warm, 0.5)[0].p99 is None


@pytest.mark.parametrize(
    ("nanoseconds", "written"),
    [(950, "0.95 µs"), (61_234, "61.2 µs"), (999_400, "999 µs"), (1_000_000, "1.00 ms"), (123_456_789, "123 ms")],
)
def test_durations_have_three_digits(nanoseconds: float, written: str) -> None:
    assert tables.duration(nanoseconds) == written


def test_a_table_is_markdown_in_columns() -> None:
    text = tables.markdown(tables.Table("Title", ("", "b"), [("longer", "1"), ("c", "22")]))
    assert text == "### Title\n\n|        | b  |\n|--------|----|\n| longer | 1  |\n| c      | 22 |\n"


def test_the_picture_has_one_bar_per_ratio() -> None:
    spread = ratios.Spread(0.5, 0.4, 0.6)
    rows = [plot.Bars("<small>", (spread, spread)), plot.Bars("large & slow", (spread, ratios.Spread(1.6, 1.5, 1.7)))]
    tree = ElementTree.fromstring(plot.svg("title", "subtitle", ("p50", "CPU"), rows))
    bars = [rect for rect in tree.iter("{http://www.w3.org/2000/svg}rect") if rect.get("x") == str(plot.LEFT)]
    assert len(bars) == 4
    assert max(plot.LEFT + float(rect.get("width", "0")) for rect in bars) < plot.WIDTH - plot.RIGHT


# ---- the document ---------------------------------------------------------------------------------------------------

TEXT = "before\n<!-- some: begin, written by a program -->\nold\n<!-- some: end -->\nafter\n"


def test_only_what_is_between_the_markers_is_replaced() -> None:
    replaced = document.replaced(TEXT, "some", "new\n")
    assert replaced == TEXT.replace("old", "\nnew\n")
    assert document.replaced(replaced, "some", "new\n") == replaced


@pytest.mark.parametrize("text", ["nothing", TEXT + TEXT, "<!-- some: end -->\n<!-- some: begin -->"])
def test_a_document_without_its_markers_is_left_alone(text: str) -> None:
    with pytest.raises(BenchError, match="<!-- some: begin"):
        document.replaced(text, "some", "new")


@pytest.mark.parametrize("name", ["compare", "runtimes"])
def test_the_document_has_its_markers(name: str) -> None:
    assert document.replaced(PERFORMANCE.read_text(), name, "new")


def test_every_published_row_that_is_behind_has_a_reason() -> None:
    """Median time, CPU, throughput and memory; the 99th percentile of a shared machine is nobody's fault."""
    for line, cells in rows_of(PERFORMANCE.read_text()):
        if any(is_behind(header, cell) for header, cell in cells):
            assert cells[-1][1], line
            assert cells[-1][1] != tables.WITHOUT_REASON, line


def rows_of(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each line of each table, and its cells with what stands above them."""
    header: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = []
        elif not header:
            header = cells
        else:
            yield line, list(zip(header, cells, strict=True))


def is_behind(header: str, cell: str) -> bool:
    if header == "p99 ratio":
        return False
    if found := re.match(r"\*\*([+-][\d.]+) ms\*\*", cell):
        return float(found[1]) > 0
    found = re.match(r"\*\*([\d.]+)\*\*", cell)
    return bool(found) and (float(found[1]) < 1 if header == tables.THROUGHPUT else float(found[1]) > 1)


@pytest.mark.parametrize(
    ("header", "cell", "behind"),
    [
        ("p50 ratio", "**1.01** (0.99-1.02)", True),
        ("p50 ratio", "**1.00** (0.99-1.02)", False),
        ("p99 ratio", "**1.70** (0.99-1.02)", False),
        (tables.THROUGHPUT, "**1.70** (1.60-1.80)", False),
        (tables.THROUGHPUT, "**0.99** (0.90-1.10)", True),
        ("difference", "**+0.1 ms** (-0.3 to +1.3)", True),
        ("difference", "**-3.0 ms** (-4.2 to -2.7)", False),
        ("p50", "78.6 µs", False),
    ],
)
def test_what_counts_as_behind(header: str, cell: str, behind: bool) -> None:
    assert is_behind(header, cell) == behind


# ---- what ends a run ------------------------------------------------------------------------------------------------


def test_a_peer_that_is_no_program_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PEER", str(tmp_path / "nothing"))
    with pytest.raises(BenchError, match="is no program"):
        contestants.peer()


def test_a_missing_peer_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PEER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(contestants, "PEER_ROOT", tmp_path)
    assert contestants.peer() is None


def test_the_peer_is_called_by_the_version_that_cargo_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "lambda-adapter"
    program.parent.mkdir()
    program.symlink_to("/bin/true")
    monkeypatch.setenv("PEER", str(program))
    unknown = contestants.peer()
    assert unknown is not None
    assert "of unknown version, sha256 " in unknown.name
    program.unlink()
    shutil.copy("/bin/true", program)
    (tmp_path / ".crates.toml").write_text('[v1]\n"lambda_web_adapter 1.0.0-rc1 (registry)" = ["lambda-adapter"]\n')
    known = contestants.peer()
    assert known is not None
    assert known.name == "AWS Lambda Web Adapter 1.0.0-rc1"


REPORTS_AN_INIT_ERROR = """
import os, urllib.request
address = os.environ["AWS_LAMBDA_RUNTIME_API"]
urllib.request.urlopen(f"http://{address}/2018-06-01/runtime/init/error", b"no")
"""


@NEEDS_COMPILER
@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param(("/bin/false",), "has ended with 1", id="it ends"),
        pytest.param((sys.executable, "-c", REPORTS_AN_INIT_ERROR), "init/error", id="it reports an init error"),
    ],
)
def test_a_runtime_that_does_not_run_ends_the_benchmark(command: tuple[str, ...], said: str, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text("{}")
    with pytest.raises(BenchError, match=said):
        Session(Contestant("ours", "Broken", command, True), "/bin/true", [Phase(event, 1)], Options())


LEAVES_A_CHILD = "set -m; sleep 60 & echo $! >$CHILD; exit 1"


@NEEDS_COMPILER
def test_what_a_runtime_that_has_failed_leaves_behind_is_ended(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text("{}")
    broken = Contestant("ours", "Broken", ("/bin/sh", "-c", LEAVES_A_CHILD), True)
    child = tmp_path / "child"
    with pytest.raises(BenchError, match="has ended with 1"):
        Session(broken, "/bin/true", [Phase(tmp_path / "event.json", 1)], Options(), {"CHILD": str(child)})
    assert ends_soon(int(child.read_text()))


def ends_soon(pid: int) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


# ---- awslambdaric ---------------------------------------------------------------------------------------------------


def test_the_version_of_awslambdaric_is_the_one_that_is_pinned() -> None:
    assert re.fullmatch(r"[\d.]+", managed.pinned_version((ROOT / "requirements-dev.txt").read_text()))
    with pytest.raises(BenchError, match="has no line awslambdaric==VERSION"):
        managed.pinned_version("awslambdaric-more==1\n")


# ---- processes ------------------------------------------------------------------------------------------------------

TWO_CHILDREN = """
import os, sys, time
for group in (None, 0):
    pid = os.fork()
    if not pid:
        if group is not None:
            os.setpgid(0, group)
        os.write(1, b"%d " % os.getpid())
        time.sleep(60)
os.write(1, b"parent ")
time.sleep(60)
"""


def test_a_runtime_is_its_process_group_and_the_app_has_its_own() -> None:
    with killed_at_the_end([sys.executable, "-Sc", TWO_CHILDREN], stdout=subprocess.PIPE) as process:
        assert process.stdout
        words = b""
        while words.count(b" ") < 3:
            word = process.stdout.read1()
            assert word
            words += word
        poller, app = machine.children(process.pid)
        try:
            assert machine.job(process.pid) == [process.pid, poller]
            assert machine.cpu_ns([process.pid, poller]) > machine.cpu_ns([poller])
            assert machine.memory_of([process.pid, poller]).rss > machine.memory_of([process.pid]).rss
        finally:
            os.kill(app, signal.SIGKILL)  # which has a group of its own


# ---- the mock Runtime API, where a runtime streams ------------------------------------------------------------------

STREAMED_HEAD = "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
PRELUDE = b'{"statusCode":200,"headers":{"content-type":"text/event-stream"}}' + bytes(8)


@contextmanager
def one_invocation(event: Path, *options: str) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """A client of the mock with the one invocation that it has."""
    command = [str(build("mock_api")), "--limit", "60", *options, str(event), "1"]
    with killed_at_the_end(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as mock:
        assert mock.stdout
        address = ("127.0.0.1", int(mock.stdout.readline().split()[1]))
        with socket.create_connection(address, timeout=60) as client:
            client.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n")
            while not (received := client.recv(65536)).endswith(b"{}"):
                assert received
            target = "/2018-06-01/runtime/invocation/00000000-0000-4000-8000-000000000000/response"
            client.sendall(f"POST {target} HTTP/1.1\r\n{STREAMED_HEAD}\r\n".encode())
            yield client, mock


@pytest.fixture
def event(tmp_path: Path) -> Path:
    path = tmp_path / "event.json"
    path.write_text("{}")
    return path


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@NEEDS_COMPILER
@pytest.mark.parametrize("size", [1, 7, 100_000], ids=lambda size: f"in {size}s")
def test_the_mock_takes_a_streamed_answer_however_it_is_cut(event: Path, tmp_path: Path, size: int) -> None:
    body = chunked(PRELUDE[:5], PRELUDE[5:] + b"data: 1", b"000\n\ndata: 2000\n", b"\n") + b"0\r\n\r\n"
    with one_invocation(event, "--save", str(tmp_path / "answer")) as (client, mock):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(body), size):
            client.sendall(body[at : at + size])
        assert client.recv(1000).startswith(b"HTTP/1.1 202")
        assert mock.stdout
        (phase,) = json.loads(mock.stdout.readline())["phases"]
    assert (tmp_path / "answer.0").read_bytes() == PRELUDE + b"data: 1000\n\ndata: 2000\n\n"
    assert (phase["events"], phase["response_bytes"]) == (2, len(PRELUDE) + 24)
    assert phase["event_ns"]["min"] > 0
    assert 0 < phase["first_byte_ns"]["p50"] <= phase["latency_ns"]["p50"]


@NEEDS_COMPILER
@pytest.mark.parametrize(
    ("end", "said"),
    [
        pytest.param(
            b"0\r\nLambda-Runtime-Function-Error-Type: Runtime.AppTimeout\r\n\r\n", b"Runtime.AppTimeout", id="trailer"
        ),
        pytest.param(b"", b"without its last chunk", id="truncated"),
        pytest.param(b"nothing\r\n", b"without its last chunk", id="malformed"),
    ],
)
def test_a_streamed_answer_that_fails_is_no_measurement(event: Path, end: bytes, said: bytes) -> None:
    with one_invocation(event) as (client, mock):
        client.sendall(chunked(PRELUDE, b"text") + end)
        client.shutdown(socket.SHUT_WR)
        _, errors = mock.communicate(timeout=60)
        assert said in errors
        assert mock.returncode == 1
