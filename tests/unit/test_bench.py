"""What the benchmark says must be what was measured: its events, its arithmetic, its tables, its refusals."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import contestants, document, equality, plot, ratios, tables
from bench.cases import SUITES, Case, Suite, function_url, rest_api
from bench.contestants import Contestant
from bench.failures import BenchError
from bench.machine import Memory
from bench.session import Options, Phase, Session, in_order
from bench.warm import Sample, Warm
from runtime.events import detect
from runtime.invocation import PAYLOAD_LIMIT

CASES = [case for suite in SUITES for case in suite.cases]
PERFORMANCE = Path(__file__).parents[2] / "docs" / "performance.md"
OURS = Contestant("ours", "Ours", ("/bin/false",), True)
PEER = Contestant("peer", "Peer", ("/bin/false",), False)


# ---- events ---------------------------------------------------------------------------------------------------------


def events() -> list[object]:
    return [
        pytest.param(event, id=f"{case.name}{', checked' if event is case.checked_event else ''}")
        for case in CASES
        for event in (case.event, case.checked_event)
        if event
    ]


@pytest.mark.parametrize("event", events())
def test_an_event_fits_into_an_invocation(event: dict[str, object]) -> None:
    assert len(json.dumps(event, ensure_ascii=False).encode()) <= PAYLOAD_LIMIT


@pytest.mark.parametrize("event", events())
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


def test_each_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


# ---- equality -------------------------------------------------------------------------------------------------------


def payload(**changes: object) -> bytes:
    answer = {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "text", "isBase64Encoded": False}
    return json.dumps({**answer, **changes}).encode()


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
    warm = Warm({("a case", "ours"): [Sample(ours_ns, ours_ns, ours_ns, Memory(1, 1))]}, {})
    if peer_ns:
        warm.samples["a case", "peer"] = [Sample(peer_ns, peer_ns, peer_ns, Memory(1, 1))]
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
    """Median time, CPU and memory; the 99th percentile of a shared machine is nobody's fault."""
    for line in PERFORMANCE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        del cells[4 : 5 if len(cells) == 9 else 4]  # the p99 ratio
        ratios_of = [float(number) for cell in cells for number in re.findall(r"^\*\*([\d.]+)\*\*", cell)]
        differences = [float(number) for cell in cells for number in re.findall(r"^\*\*([+-][\d.]+) ms\*\*", cell)]
        if max([*ratios_of, *(1 + difference for difference in differences)], default=0) > 1:
            assert cells[-1], line
            assert cells[-1] != tables.WITHOUT_REASON, line


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


@pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")), reason="no C compiler")
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
