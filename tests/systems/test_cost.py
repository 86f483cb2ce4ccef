"""The arithmetic of docs/guides/cost.py, and that its page shows what it prints."""

from __future__ import annotations

import shlex
import subprocess
import sys

from .system import CHECKOUT

GUIDE = CHECKOUT / "docs" / "guides" / "bun-and-deno.md"


def test_the_guides_table_is_what_its_command_prints() -> None:
    _, _, after = GUIDE.read_text().partition("```sh\npython ")
    command, _, rest = after.partition("\n```\n")
    printed = subprocess.run(
        [sys.executable, *shlex.split(command.replace("\\\n", " "))],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert printed.stdout in rest


def test_a_million_requests_of_a_hundred_milliseconds() -> None:
    """By hand: 0.5 GB for 100,000 s are 50,000 GB-seconds, and 50,000 x 0.00002 is 1."""
    prices = ["--gb-second", "0.00002", "--million-requests", "0.25", "--cold-share", "0"]
    command = [sys.executable, "docs/guides/cost.py", *prices, "one:512:99.1:0"]
    printed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=300).stdout
    assert "| one | 512 | 50,000 | 1.25 |" in printed
