"""What docs/javascript.md says about the frameworks: the table of what is run, with the versions of the lock files."""

from __future__ import annotations

from .cases import ENGINES, FRAMEWORKS, Framework
from .functions import versions

BEGIN = "<!-- written by make test-frameworks: begin -->"
END = "<!-- written by make test-frameworks: end -->"


def table() -> str:
    """The rows as Markdown."""
    lines = ["| packages | entry points | runs on | to know |", "|---|---|---|---|"]
    for name, framework in FRAMEWORKS.items():
        packages = ", ".join(f"{package} {version}" for package, version in versions(name).items())
        lines.append(f"| {packages} | {framework.entry} | {engines(framework)} | {to_know(framework)} |")
    return "\n".join(lines)


def engines(framework: Framework) -> str:
    return ", ".join(engine.capitalize() for engine in ENGINES if engine in framework.engines)


def to_know(framework: Framework) -> str:
    reasons = [
        f"not on {engine.capitalize()}, with or without Fairlead: {why}" for engine, why in framework.not_on.items()
    ]
    return "; ".join(filter(None, [framework.needs, *reasons]))


def written(page: str) -> str:
    """``page`` with the table between its two marker comments. Raises ``ValueError`` where it lacks them."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page lacks the comments {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"
