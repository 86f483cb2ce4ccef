"""The examples of docs/handlers.md do what the page says, in the real process; and its pip lines fit the layer."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from layer import recipe
from tests.fakes import FakeRuntimeApi, start_bootstrap
from tests.fakes.process import CHECKOUT

PAGE = (CHECKOUT / "docs" / "handlers.md").read_text()
EXAMPLES = re.findall(r"```python\n# app\.py, handler (\S+)\n(.*?)```\n\n(.*?)\n", PAGE, re.DOTALL)
ANSWERED = re.compile(r"`(.+)` is answered with `(.+)`\.")
FAILS = re.compile(r"`(.+)` fails with `(.+)`: `(.+)`, and the stack says `(.+)`\.")


@pytest.mark.parametrize(("handler", "source", "claim"), EXAMPLES, ids=[claim for *_, claim in EXAMPLES])
def test_an_example_does_what_the_page_says(
    api: FakeRuntimeApi, tmp_path: Path, handler: str, source: str, claim: str
) -> None:
    (tmp_path / "app.py").write_text(source)
    answered, fails = ANSWERED.fullmatch(claim), FAILS.fullmatch(claim)
    said = answered or fails
    assert said
    request_id = api.add_event(said[1].encode())
    start_bootstrap(api, handler=handler, environment={"LAMBDA_TASK_ROOT": str(tmp_path)})
    answer = api.wait_answer(request_id)
    if answered:
        assert (answer.kind, answer.body.decode()) == ("response", answered[2])
    else:
        document = answer.document
        assert [document["errorType"], document["errorMessage"]] == list(said.groups()[1:3])
        assert f"{said[4]}\n" in document["stackTrace"]


def test_every_example_is_run() -> None:
    assert len(EXAMPLES) == PAGE.count("```python") > 4


def test_the_pip_lines_are_for_the_layers_python_and_both_architectures() -> None:
    python = tomllib.loads((CHECKOUT / "layer" / "recipe.toml").read_text())["python"].removeprefix("python")
    lines = [line for line in PAGE.splitlines() if line.startswith("pip install") and "--platform" in line]
    assert len(lines) == len(recipe.ARCHITECTURES)
    assert all(f"--python-version {python} " in line for line in lines)
    assert f"/opt/python/lib/python{python}/site-packages" in PAGE


def test_what_the_page_says_of_results_is_json() -> None:
    assert all(
        json.loads(match[2]) is not None for match in map(ANSWERED.fullmatch, (c for *_, c in EXAMPLES)) if match
    )
