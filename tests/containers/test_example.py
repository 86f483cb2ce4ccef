"""The example image: one and the same on Lambda and elsewhere, with a shell and without."""

from __future__ import annotations

import json
import re
import signal

import pytest

from layer import recipe
from tests.fakes.event_sources import from_function_url, parse

from .conftest import PYTHON, Images, Run

pytestmark = pytest.mark.containers

EVENT = from_function_url(parse(b"GET /a%2Fb?c=%20d HTTP/1.1\r\nhost: example.org\r\n\r\n"))
ANSWER = "GET /a%2Fb?c=%20d, as user {}\n"
# Lambda's user, and its root file system.
AS_ON_LAMBDA = {"user": "993:990", "read_only": True}


def body(payload: dict[str, object]) -> object:
    assert payload.get("statusCode") == 200, payload
    return payload["body"]


@pytest.mark.parametrize("name", Images._fields)
class TestOnLambda:
    def test_a_function_urls_event_reaches_the_app(self, images: Images, name: str, run_function: Run) -> None:
        function = run_function(getattr(images, name))
        assert body(function.invoke(EVENT)) == ANSWER.format(0)
        assert body(function.invoke(EVENT)) == ANSWER.format(0)

    def test_a_read_only_root_and_another_user_than_root_are_enough(
        self, images: Images, name: str, run_function: Run
    ) -> None:
        function = run_function(getattr(images, name), **AS_ON_LAMBDA)
        assert body(function.invoke(EVENT)) == ANSWER.format(993)

    def test_64_mb_of_memory_are_enough(self, images: Images, name: str, run_function: Run) -> None:
        function = run_function(getattr(images, name), mem_limit="64m", memswap_limit="64m", **AS_ON_LAMBDA)
        assert body(function.invoke(EVENT)) == ANSWER.format(993)

    def test_no_directory_for_temporary_files_is_needed(self, images: Images, name: str, run_function: Run) -> None:
        function = run_function(getattr(images, name), tmpfs={}, **AS_ON_LAMBDA)
        assert body(function.invoke(EVENT)) == ANSWER.format(993)


class TestElsewhere:
    def test_the_same_image_is_the_app_and_nothing_else(self, images: Images, run: Run) -> None:
        container = run(images.shell)
        assert container.get("/a%2Fb?c=%20d") == ANSWER.format(0)
        first_process = "print(open('/proc/1/cmdline').read().rstrip(chr(0)).split(chr(0)))"
        _, output = container.container.exec_run([PYTHON, "-ISB", "-c", first_process])
        assert output.decode() == f"{[PYTHON, 'server.py']}\n"

    def test_the_app_listens_where_port_says(self, images: Images, run: Run) -> None:
        assert run(images.shell, environment={"PORT": "3000"}).get("/", 3000) == "GET /, as user 0\n"

    def test_it_runs_as_somebody_else_on_a_read_only_root(self, images: Images, run: Run) -> None:
        assert run(images.shell, **AS_ON_LAMBDA).get("/") == "GET /, as user 993\n"

    def test_another_command_takes_the_place_of_the_images(self, images: Images, run: Run) -> None:
        container = run(images.shell, command=["/bin/sh", "-c", 'echo "port $PORT"; exit 7'])
        assert container.wait() == 7
        assert container.output == "port 8080\n"

    def test_without_a_shell_the_command_can_be_the_entry_point(self, images: Images, run: Run) -> None:
        command = images.no_shell.attrs["Config"]["Cmd"]
        container = run(images.no_shell, entrypoint=command, environment={"PORT": "8080"})
        assert container.get("/") == "GET /, as user 0\n"

    def test_without_a_shell_the_same_image_is_the_app(self, images: Images, run: Run) -> None:
        assert run(images.no_shell).get("/") == "GET /, as user 0\n"


def test_what_needs_more_memory_than_the_limit_is_killed(images: Images, run: Run) -> None:
    """Or the test that 64 MB are enough would show nothing."""
    needs = ["-ISB", "-c", "len(b'x' * (128 << 20))"]
    limit = {"mem_limit": "64m", "memswap_limit": "64m"}
    assert run(images.no_shell, entrypoint=[PYTHON], command=needs).wait() == 0
    assert run(images.no_shell, entrypoint=[PYTHON], command=needs, **limit).wait() == 128 + signal.SIGKILL


def test_the_image_without_a_shell_has_nothing_but_the_layer_and_the_app(images: Images, run: Run) -> None:
    listing = "import os; print(sorted(os.listdir('/')), os.listdir('/var/task'), os.path.exists('/bin/sh'))"
    container = run(images.no_shell, entrypoint=[PYTHON], command=["-ISB", "-c", listing])
    assert container.wait() == 0
    # What the engine itself adds to every container, and the layer and the app.
    assert container.output == "['.dockerenv', 'dev', 'etc', 'opt', 'proc', 'sys', 'var'] ['server.py'] False\n"


def test_the_page_shows_the_entry_points_of_the_example(images: Images) -> None:
    page = (recipe.REPOSITORY / "docs/containers.md").read_text()
    shown = {tuple(json.loads(line)) for line in re.findall(r"^ENTRYPOINT (\[.*\])$", page, re.MULTILINE)}
    assert shown == {tuple(image.attrs["Config"]["Entrypoint"]) for image in images}
