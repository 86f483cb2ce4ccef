"""Results as tables, one text for the terminal and for docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .cases import FIRST_BYTE, PER_SECOND, WHY_BEHIND, Suite
from .ratios import Paired, Spread, paired
from .warm import Sample, Warm

# A 99th percentile of fewer is the slowest of a handful.
ENOUGH_FOR_P99 = 100
PEERS = "peer's"
THROUGHPUT = "throughput ratio"  # the one ratio of which more is better
WITHOUT_REASON = "the peer is ahead; the reason is not known"


class Table(NamedTuple):
    """Cells are Markdown."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Row(NamedTuple):
    """One case: each figure of both sides. ``p99`` is None where too few were measured."""

    name: str
    p50: Paired
    p99: Paired | None
    cpu: Paired
    why_behind: str
    first_byte: Paired
    per_second: Paired

    def is_behind(self, also: str) -> bool:
        """Whether the peer takes less time or less CPU, or does better in what is ``also`` printed."""
        least = [self.p50, self.cpu, *([self.first_byte] if also == FIRST_BYTE else [])]
        most = [self.per_second] if also == PER_SECOND else []
        return any(figure.ratio and figure.ratio.median > 1 for figure in least) or any(
            figure.ratio and figure.ratio.median < 1 for figure in most
        )


def warm_rows(suite: Suite, warm: Warm, scale: float) -> list[Row]:
    """The rows of a suite in its order."""
    return [
        Row(
            case.name,
            _paired(warm, case.name, lambda sample: sample.p50_ns),
            _paired(warm, case.name, lambda sample: sample.p99_ns)
            if case.invocations * scale >= ENOUGH_FOR_P99
            else None,
            _paired(warm, case.name, lambda sample: sample.cpu_ns),
            case.why_behind,
            _paired(warm, case.name, lambda sample: sample.first_byte_ns),
            _paired(warm, case.name, lambda sample: sample.per_second),
        )
        for case in suite.cases
    ]


def _paired(warm: Warm, case: str, figure: Callable[[Sample], float]) -> Paired:
    return paired([figure(sample) for sample in warm.of(case, "ours")], [figure(s) for s in warm.of(case, "peer")])


def warm_table(title: str, rows: Sequence[Row], also: str = "", other: str = PEERS) -> Table:
    """Medians of both, and the ratios; ``other`` is what the second side's figures are called."""
    further = {FIRST_BYTE: ("first byte ratio",), PER_SECOND: ("per second", other, THROUGHPUT)}
    header = ("", "p50", other, "p50 ratio", "p99 ratio", "CPU", other, "CPU ratio", *further.get(also, ()), "")
    return Table(
        title,
        header,
        [
            (
                row.name,
                duration(row.p50.ours),
                _or_none(row.p50.peer, duration),
                ratio(row.p50.ratio),
                ratio(row.p99.ratio) if row.p99 else "",
                duration(row.cpu.ours),
                _or_none(row.cpu.peer, duration),
                ratio(row.cpu.ratio),
                *_also(row, also),
                (row.why_behind or WITHOUT_REASON) if row.is_behind(also) else "",
            )
            for row in rows
        ],
    )


def _also(row: Row, also: str) -> Sequence[str]:
    if also == FIRST_BYTE:
        return (ratio(row.first_byte.ratio),)
    if also == PER_SECOND:
        figure = row.per_second
        return (f"{figure.ours:.0f}", _or_none(figure.peer, lambda value: f"{value:.0f}"), ratio(figure.ratio))
    return ()


def memory_table(title: str, measured: Sequence[tuple[Suite, Warm]], other: str = PEERS) -> Table:
    """Proportional and resident memory of the runtime's processes, the app's not counted."""
    rows = []
    for suite, warm in measured:
        for case in suite.cases:
            if not case.memory:
                continue
            pss = _paired(warm, case.name, lambda sample: sample.memory.pss / 1000)
            rss = _paired(warm, case.name, lambda sample: sample.memory.rss / 1000)
            rows.append((case.memory, *_cells(pss, "MB"), *_cells(rss, "MB"), _why(case.memory, pss, rss)))
    header = ("", "Pss", other, "ratio", "Rss", other, "ratio", "")
    return Table(title, header, rows)


def _cells(figure: Paired, unit: str) -> tuple[str, str, str]:
    return (
        f"{figure.ours:.1f} {unit}",
        _or_none(figure.peer, lambda value: f"{value:.1f} {unit}"),
        ratio(figure.ratio),
    )


def _why(name: str, *figures: Paired) -> str:
    is_behind = any(figure.ratio and figure.ratio.median > 1 for figure in figures)
    return WHY_BEHIND.get(name, WITHOUT_REASON) if is_behind else ""


def cold_table(title: str, times: Mapping[str, Mapping[tuple[str, str], Sequence[float]]], other: str = PEERS) -> Table:
    """Milliseconds until the first next. The keys of ``times`` say under which conditions."""
    rows = []
    for condition, measured in times.items():
        for app in dict.fromkeys(name for name, _ in measured):
            figure = paired(measured[app, "ours"], measured.get((app, "peer"), ()))
            is_behind = figure.difference and figure.difference.median > 0
            rows.append(
                (
                    condition,
                    app,
                    f"{figure.ours:.1f} ms",
                    _or_none(figure.peer, lambda value: f"{value:.1f} ms"),
                    difference(figure.difference),
                    WHY_BEHIND.get(condition, WITHOUT_REASON) if is_behind else "",
                )
            )
    return Table(title, ("", "", "", other, "difference", ""), rows)


def duration(nanoseconds: float) -> str:
    """With three digits."""
    unit, size = ("ms", 1e6) if nanoseconds >= 1e6 else ("µs", 1e3)
    value = nanoseconds / size
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def ratio(spread: Spread | None) -> str:
    """The median, then the quartiles."""
    return f"**{spread.median:.2f}** ({spread.low:.2f}-{spread.high:.2f})" if spread else ""


def difference(spread: Spread | None) -> str:
    """The median, then the quartiles, in milliseconds."""
    return f"**{spread.median:+.1f} ms** ({spread.low:+.1f} to {spread.high:+.1f})" if spread else ""


def _or_none(value: float | None, written: Callable[[float], str]) -> str:
    return "" if value is None else written(value)


def markdown(table: Table) -> str:
    """The table in columns that line up, so that it can be read as it is, too."""
    lines = [table.header, *table.rows]
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(table.header))]
    body = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
        for cells in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"### {table.title}", "", body[0], rule, *body[1:], ""])
