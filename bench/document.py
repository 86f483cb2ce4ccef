"""The generated part of a document: between two markers, which stay, as does all around them."""

from __future__ import annotations

from pathlib import Path

from .failures import BenchError


def replace(path: Path, name: str, generated: str) -> None:
    """Put ``generated`` between the markers ``<!-- name: begin ... -->`` and ``<!-- name: end -->`` of the file."""
    path.write_text(replaced(path.read_text(), name, generated))


def replaced(text: str, name: str, generated: str) -> str:
    """The text with another part between the markers. Raises ``BenchError`` when they are not there, once each."""
    begin, end = f"<!-- {name}: begin", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(end) < text.index(begin):
        raise BenchError(f"the document needs the line `{begin} -->`, and after it `{end}`, once each")
    before, _, rest = text.partition(begin)
    marker, _, rest = rest.partition("-->")
    return f"{before}{begin}{marker}-->\n\n{generated.strip()}\n\n{end}{rest.partition(end)[2]}"
