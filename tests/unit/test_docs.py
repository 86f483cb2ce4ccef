"""The pages: every link of ours leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for folder in (ROOT, *(ROOT / name for name in ("docs", "examples", "bench")))
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
    if "node_modules" not in path.parts
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors_of(page: Path) -> set[str]:
    """The names that headings of a page have in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-") for heading in headings}


NOT_SEEN = ROOT / "docs" / "not-seen-on-aws.md"
DOUBT = re.compile(r"(?i)\b(not|nothing)\b[^.|\n]{0,60}\b(seen|verified|run|ran|tried|known)\b[^.|\n]{0,40}\bAWS\b")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_was_not_seen_on_aws_stands_on_one_page_with_its_date(page: Path) -> None:
    """Other pages link to it; none keeps a list of its own."""
    text = page.read_text()
    if page == NOT_SEEN:
        rows = [row.split("|")[2].strip() for row in text.splitlines() if row.startswith("| ")]
        dates = [cell for cell in rows if cell != "as of"]
        assert dates
        assert all(re.fullmatch(r"(\d+ )?[A-Z][a-z]+ 20\d\d", cell) for cell in dates)
        return
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert not [heading for heading in headings if DOUBT.search(heading)]
    if DOUBT.search(text):
        assert "not-seen-on-aws.md" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text()):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors_of(file)):
            broken.append(link)
    assert broken == []
