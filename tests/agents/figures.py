"""What agents cost at the start of a function, as the table in docs/agents.md."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import NamedTuple

BEGIN = "<!-- written by make test-agents: begin -->"
END = "<!-- written by make test-agents: end -->"


class Figures(NamedTuple):
    """Medians: of the first answer of a new environment, and of the memory of its processes after that."""

    cold_ms: float
    memory_mb: float

    @classmethod
    def of(cls, starts: list[Figures]) -> Figures:
        return cls(*(statistics.median(column) for column in zip(*starts, strict=True)))


def memory_mb(pids: list[int]) -> float:
    """What the processes have together: a page that several share counts in parts."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(size) for text in texts for size in re.findall(r"(?m)^Pss:\s+(\d+)", text)) / 1024


def versions(function: Path) -> str:
    """The packages that the function names, with their versions."""
    requirements = function / "requirements.txt"
    if requirements.is_file():
        return ", ".join(re.sub(r"\[.*\]", "", line).replace("==", " ") for line in requirements.read_text().split())
    named = json.loads((function / "package.json").read_text())["dependencies"]
    return ", ".join(f"{package} {version}" for package, version in named.items())


def table(language: str, rows: list[tuple[str, Figures]], none: Figures) -> str:
    """The rows as Markdown: what each costs beside a function without an agent."""
    lines = [f"| {language} | start, ms | memory, MB |", "|---|---:|---:|"]
    lines.append(f"| none | {none.cold_ms:.0f} | {none.memory_mb:.0f} |")
    for packages, figures in sorted(rows):
        more_ms, more_mb = figures.cold_ms - none.cold_ms, figures.memory_mb - none.memory_mb
        lines.append(f"| {packages} | +{more_ms:.0f} | +{more_mb:.0f} |")
    return "\n".join(lines)


def written(page: str, text: str) -> str:
    """``page`` with another ``text`` between its two marker comments."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page lacks the comments {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
