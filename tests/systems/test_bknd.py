"""bknd behind Fairlead, on Node and on Bun: admin UI, login, data in each kind of database."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from layer.check import UNPACKED
from local.app.prepared import Prepared, prepare
from local.cache import CACHE
from local.environments.function import Function
from local.ports import free_ports
from local.run import layer_tree

from .browser import Page, browser, different_lines
from .conftest import Figures, examples, had
from .databases import Database, Forgetful, Postgres, libsql, postgres
from .system import EXAMPLES, System, started
from .test_astro import contents, size

pytestmark = examples("bknd", "bknd-bun", fast=("bknd-bun",))
complete = pytest.mark.systems

JSON = {"content-type": "application/json"}
PERSON = {"email": "admin@example.com", "password": "demonstration"}
SECRETS = {"JWT_SECRET": "a secret of a test, and long enough", "ADMIN_PASSWORD": PERSON["password"]}
PAUSE_S = 1.1  # after which the example makes sure of its connection
TODOS = "/api/data/entity/todos"


def another(app: Path, **variables: str) -> AbstractContextManager[System]:
    """``app`` beside the one of the file, with other variables and at another port."""
    return started(app, {**SECRETS, "PORT": str(free_ports(1)[0]), **variables})


def logged_in(system: System) -> dict[str, str]:
    """The header fields of somebody who may do everything."""
    answer = system.json("POST", "/api/auth/password/login", JSON, json.dumps(PERSON).encode())
    assert answer["user"]["email"] == PERSON["email"]
    return {**JSON, "authorization": f"Bearer {answer['token']}"}


def written(system: System, title: str) -> Any:
    """The answer to a new entry."""
    response = system.ask("POST", TODOS, logged_in(system), json.dumps({"title": title}))
    assert response.status == 201, (response.data, system.output)
    return json.loads(response.data)["data"]


def titles(system: System) -> list[str]:
    return [entry["title"] for entry in system.json("GET", TODOS, logged_in(system))["data"]]


def test_who_has_logged_in_writes_and_reads(system: System) -> None:
    assert system.ask("GET", TODOS).status == 403
    assert titles(system) == ["Put bknd on Lambda"]
    assert written(system, "Ünïcode ✓ & <b>")["id"] == 2
    assert titles(system) == ["Put bknd on Lambda", "Ünïcode ✓ & <b>"]


@complete
def test_a_wrong_password_is_refused(system: System) -> None:
    response = system.ask("POST", "/api/auth/password/login", JSON, json.dumps({**PERSON, "password": "guess me"}))
    assert response.status == 401
    assert "set-cookie" not in response.headers


@complete
def test_the_form_of_the_admin_logs_in_by_a_cookie(system: System) -> None:
    """Redirects are relative, so they hold behind https too."""
    form = "email=admin%40example.com&password=demonstration"
    response = system.ask(
        "POST", "/api/auth/password/login", {"content-type": "application/x-www-form-urlencoded"}, form
    )
    assert (response.status, response.headers["location"]) == (302, "/")
    (cookie,) = (cookie for cookie in response.headers.getlist("set-cookie") if cookie.startswith("auth="))
    assert {"HttpOnly", "Secure", "SameSite=Strict"} <= set(cookie.split("; "))
    headers = {"cookie": cookie.partition(";")[0]}
    assert system.json("GET", "/api/auth/me", headers)["user"]["role"] == "admin"
    assert system.ask("GET", "/", headers).status == 200


@complete
def test_the_admins_files_arrive_as_they_are_and_may_be_kept(system: System, prepared: Prepared) -> None:
    assert system.ask("GET", "/").headers["location"] == "/auth/login"
    page = system.ask("GET", "/auth/login").data.decode()
    files = sorted(path for path in (prepared.task / "dist/static/assets").iterdir())
    assert len(files) == 5
    for file in files:
        response = system.ask("GET", f"/assets/{file.name}")
        assert (response.status, response.data) == (200, file.read_bytes())
        assert "immutable" in response.headers["cache-control"]
    assert len([file for file in files if f"/assets/{file.name}" in page]) == 2  # one script, one style sheet
    assert system.ask("GET", "/favicon.ico").data == (prepared.task / "dist/static/favicon.ico").read_bytes()


@complete
def test_one_app_serves_all_requests_of_an_environment(system: System) -> None:
    assert len({system.ask("GET", "/").headers["x-bknd-id"] for _ in range(5)}) == 1


@pytest.fixture
def page() -> Iterator[Page]:
    """A browser's tab."""
    with ExitStack() as stack:
        yield had(lambda: stack.enter_context(browser()))


def opens_the_admin(page: Page, system: System) -> None:
    """In the browser: log in, and see the entry that is there from the beginning."""
    page.open(f"{system.address}/")
    page.wait("document.querySelector('input[name=password]')")
    page.fill("input[name=email]", PERSON["email"])
    page.fill("input[name=password]", PERSON["password"])
    page.click("form button[type=submit]")
    page.wait("document.body.innerText.includes('Todos')")
    page.open(f"{system.address}/data/entity/todos")
    page.wait("document.body.innerText.includes('Put bknd on Lambda')")
    assert page.failures == []


@complete
def test_a_browser_logs_in_and_sees_the_data(system: System, page: Page) -> None:
    opens_the_admin(page, system)
    assert different_lines(page.picture(CACHE / "pictures" / f"{system.name}.png")) > 100


@complete
def test_the_admins_files_may_come_from_elsewhere(system: System, page: Page, prepared: Prepared) -> None:
    with (
        file_server(prepared.task / "dist/static") as (address, asked),
        another(system.app, ASSETS_URL=f"{address}/") as other,
    ):
        opens_the_admin(page, other)
        assert [path for path in asked if path.endswith(".js")]
        assert not [served for served in other.served if served.target.startswith("/assets/")]


@contextmanager
def file_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A stand-in for a CDN: its address, and the paths that were asked for. Scripts of a module need the one header."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("access-control-allow-origin", "*")
            super().end_headers()

        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join(30)


@complete
@pytest.mark.parametrize("url", [":memory:", "/tmp/of-a-test.db", "file:/tmp/of-a-test.db"])
def test_sqlite_in_memory_or_in_a_file(system: System, url: str) -> None:
    with another(system.app, DB_URL=url) as other:
        written(other, "second")
        assert titles(other) == ["Put bknd on Lambda", "second"]


SERVERS: dict[str, Callable[[], AbstractContextManager[Database]]] = {"postgres": postgres, "libsql": libsql}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database server."""
    with ExitStack() as stack:
        yield had(lambda: stack.enter_context(SERVERS[request.param]()))


@complete
def test_a_server_keeps_what_an_environment_wrote(system: System, server: Database) -> None:
    """Two environments at a time, one after them: one secret, so the login of one holds in the others."""
    with another(system.app, DB_URL=server.url) as first:
        written(first, "by the first")
        login = logged_in(first)
        with another(system.app, DB_URL=server.url) as second:
            assert second.json("GET", "/api/auth/me", login)["user"]["role"] == "admin"
            assert titles(second) == ["Put bknd on Lambda", "by the first"]
            written(second, "by the second")
        assert titles(first)[2:] == ["by the second"]
    with another(system.app, DB_URL=server.url) as third:
        assert len(titles(third)) == 3


CONNECTIONS = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"


@complete
@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_one_connection_serves_all_requests(system: System, server: Postgres) -> None:
    with another(system.app, DB_URL=server.url) as other:
        titles(other)
        connections = server.ask(CONNECTIONS)
        for number in range(10):
            written(other, str(number))
        assert server.ask(CONNECTIONS) == connections
        assert len(connections) == 1


@complete
@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_entities_are_changed_only_where_it_is_allowed(system: System, server: Database) -> None:
    """Environments know them as they were at their start, and one would undo what another did."""
    fields = {"id": {"type": "primary", "config": {}}, "text": {"type": "text", "config": {}}}
    change = json.dumps({"type": "regular", "fields": fields})
    for design, status, then in (("", 404, 404), ("true", 202, 200), ("", 404, 200)):
        with another(system.app, DB_URL=server.url, DESIGN=design) as other:
            login = logged_in(other)
            assert other.ask("POST", "/api/system/config/add/data/entities.notes", login, change).status == status
            assert other.ask("GET", "/api/data/entity/notes", login).status == then


@complete
def test_a_connection_that_got_lost_unnoticed_is_replaced(system: System, server: Database) -> None:
    """As between two invocations on Lambda, when nobody is there to be told: the next query on it fails."""
    with closing(Forgetful(server.port)) as way:
        url = server.url.replace(f":{server.port}", f":{way.port}")
        with another(system.app, DB_URL=url) as other:
            assert titles(other) == ["Put bknd on Lambda"]
            for number in range(2):
                way.forget()
                time.sleep(PAUSE_S)
                written(other, str(number))
            assert len(titles(other)) == 3


@complete
@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_a_connection_that_was_closed_while_the_app_was_frozen_is_replaced(
    system: System, server: Database, prepared: Prepared
) -> None:
    """The next event and the end of the connection reach the app in one moment."""
    variables = {"DB_URL": server.url, "PORT": str(free_ports(1)[0]), "FAIRLEAD_COMMAND": "./run.sh", **SECRETS}
    with Function(prepared.layer, prepared.task, variables, freeze=True) as function:
        if not function.sandbox.freezer:
            pytest.skip("; ".join(function.notices))
        assert invoked(function, "/auth/login")["statusCode"] == 200
        for _ in range(2):
            server.stop()
            server.start()
            time.sleep(PAUSE_S)
            answer = invoked(function, "/api/auth/password/login", json.dumps(PERSON))
            assert answer["statusCode"] == 200, (answer, list(function.output))


def invoked(function: Function, path: str, body: str = "") -> Any:
    """The payload for a request through a Function URL."""
    host = "abc.lambda-url.eu-west-1.on.aws"
    event = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": host, **(JSON if body else {})},
        "requestContext": {"domainName": host, "http": {"method": "POST" if body else "GET", "path": path}},
        "body": body,
        "isBase64Encoded": False,
    }
    return json.loads(function.invoke(json.dumps(event).encode()).body)


@complete
def test_a_database_that_cannot_be_reached_ends_the_start_with_the_reason(system: System) -> None:
    (port,) = free_ports(1)
    with another(system.app, DB_URL=f"postgres://nobody@127.0.0.1:{port}/nothing") as other:
        assert other.ask("GET", "/").status == 502
        assert "Runtime.AppExited" in str(other.served[0].problem)
        assert "ECONNREFUSED" in str(other.served[0].problem)


@complete
def test_a_database_of_your_own_needs_a_secret_of_your_own(system: System) -> None:
    with another(system.app, DB_URL=":memory:", JWT_SECRET="short") as other:
        assert other.ask("GET", "/").status == 502
        assert "DB_URL needs JWT_SECRET" in str(other.served[0].problem)


@pytest.fixture(scope="module")
def prepared(system: System) -> Prepared:
    """The layers and the folder that it runs out of."""
    return prepare(system.app, layer_tree(None))


@complete
def test_it_fits(prepared: Prepared, system: System) -> None:
    """Function and layers together, unpacked; and of the function nothing but ``dist`` and ``run.sh`` is needed."""
    dist = size(prepared.task / "dist")
    print(f"{system.name}: dist {dist:,} bytes, with the layers {dist + size(prepared.layer):,} of {UNPACKED:,}")
    assert size(prepared.task) + size(prepared.layer) < UNPACKED


@complete
def test_all_examples_have_one_configuration(system: System) -> None:
    """What is written about one holds for the others."""
    for other in ("bknd", "bknd-bun", "bknd-aws"):
        assert contents(system.app / "config.js") == contents(EXAMPLES / other / "config.js")


@complete
def test_figures(system: System, figures: Figures) -> None:
    figures(system, runtime={"bknd": "Node 22.23.3", "bknd-bun": "Bun 1.4.5"}[system.name], target="/auth/login")


@complete
def test_it_ends_when_told(system: System) -> None:
    """The last test: nothing runs after it. Without a handler of its own the signal ends the server."""
    system.stop()
    assert not [line for line in system.output if "SIGKILL" in line or "signal: killed" in line]
