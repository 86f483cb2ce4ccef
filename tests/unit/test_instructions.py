"""The counting of instructions: what is sent, and the table. The counting itself needs valgrind and minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import document, instructions

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def test_the_events_of_a_row_without_known_values_differ_in_their_header_fields_alone() -> None:
    row = next(row for row in instructions.ROWS if row.is_always_new)
    first, second = (instructions._with_new_values(row.event, number) for number in (1, 2))
    assert first["headers"] != second["headers"]
    assert {**first, "headers": {}} == {**second, "headers": {}} == {**row.event, "headers": {}}


def test_a_phase_for_each_event_fits_into_the_mock() -> None:
    assert instructions.WARM_UP_NEW + instructions.COUNTED_NEW + 1 <= 256


def test_the_table_has_ratios_of_invocations_alone() -> None:
    figures = {"small GET": {"ours": 300_000.0, "peer": 200_000.0}, "a start": {"ours": 2.5e6, "peer": 0.0}}
    assert instructions.table(figures).splitlines()[2:] == [
        "| small GET | 300,000 | 200,000 | 1.50 |",
        "| a start | 2.5 M | - |  |",
    ]


def test_the_page_has_a_place_for_it() -> None:
    document.replaced(PAGE.read_text(), "instructions", "")


def test_who_has_no_valgrind_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instructions.shutil, "which", lambda _name: None)
    monkeypatch.setattr(instructions.sys, "argv", ["bench.instructions"])
    assert instructions.main() != 0
    assert "install valgrind" in capsys.readouterr().err
