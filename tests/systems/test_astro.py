"""Astro behind Fairlead, on Bun and on Node: what a page sees of its visitor, forms, cookies, assets, and its looks."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from layer.check import UNPACKED
from local.app.prepared import Prepared, prepare
from local.cache import CACHE
from local.ports import free_ports
from local.run import layer_tree
from local.sources import SOURCES
from local.sources.values import Arrival, ClientRequest, Front
from runtime.messages import HttpResponse

from .browser import Page, browser, different_lines
from .conftest import Figures, examples, had
from .system import EXAMPLES, System, started

pytestmark = examples("astro-bun", "astro-node")

OWN_HOSTS = {
    "function-url": "abc123.lambda-url.eu-west-1.on.aws",
    "http-api": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com",
    "http-api-1": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com",
    "rest": "www.example.com",
    "alb": "balancer-1.eu-west-1.elb.amazonaws.com",
    "alb-multi": "www.example.com",
}
VISITOR = "203.0.113.9"
FORM = {"content-type": "application/x-www-form-urlencoded"}
EVERY_BYTE = bytes(range(256)) * 40
ALLOWED = re.compile(r"    allowedDomains: \[.*?\n    \],\n", re.DOTALL)


def seen(page: bytes | str) -> dict[str, str]:
    """What the page says that it sees: url, address, proven, colours, cookie, visits."""
    text = page if isinstance(page, str) else page.decode()
    return {name: html.unescape(value) for name, value in re.findall(r'<dd id="(\w+)">(.*?)</dd>', text)}


def on_aws(
    system: System, source: str, host: str, method: str = "GET", target: str = "/", body: bytes = b"", **more: str
) -> HttpResponse:
    """The answer to a request that came by https through what stands before a function on AWS."""
    lines = [("Host", host), *((name.replace("_", "-"), value) for name, value in more.items())]
    request, front = ClientRequest(method, target, lines, body), Front()
    event = SOURCES[source].to_event(request, front, Arrival(VISITOR, time.time(), str(uuid.uuid4())))
    document = system.invoke(json.dumps(event).encode())
    return SOURCES[source].to_answer(document, json.dumps(document).encode(), request, front).response


def test_the_page_is_served_with_each_cookie_in_a_field_of_its_own(system: System) -> None:
    response = system.ask("GET", "/")
    assert response.status == 200, system.output
    assert response.headers["content-type"].startswith("text/html")
    assert [cookie.split(";")[0] for cookie in response.headers.getlist("set-cookie")] == [
        "visits=1",
        "seen=this%20page%2C%20again",
    ]


def test_cookies_come_back_to_the_page(system: System) -> None:
    cookies = "visits=41; name=Ada%20L; odd=a=b"
    response = system.ask("GET", "/", {"cookie": cookies})
    assert seen(response.data) | {"cookie": cookies, "visits": "42"} == seen(response.data)
    assert "Hello, Ada L" in response.data.decode()


@pytest.mark.parametrize(
    ("query", "colours"),
    [
        ("colour=sea+green&colour=%23ca6702&colour=", "sea green | #ca6702 | "),
        ("colour=a%26b%3Dc&other=1&colour=%C3%A9t%C3%A9", "a&b=c | été"),
        ("colour=a%252Fb&colour=a%2Bb", "a%2Fb | a+b"),
    ],
)
def test_repeated_and_encoded_query_values_arrive(system: System, query: str, colours: str) -> None:
    assert seen(system.ask("GET", f"/?{query}").data)["colours"] == colours


@pytest.mark.parametrize(("name", "kind"), [("logo.svg", "image/svg+xml"), ("harbour.png", "image/png")])
def test_static_files_arrive_as_they_are(system: System, name: str, kind: str) -> None:
    response = system.ask("GET", f"/{name}")
    assert (response.status, response.headers["content-type"]) == (200, kind)
    assert response.data == (system.app / "public" / name).read_bytes()
    unchanged = system.ask("GET", f"/{name}", {"if-none-match": response.headers["etag"]})
    assert (unchanged.status, unchanged.data) == (304, b"")


def test_the_style_sheet_may_be_kept_for_ever(system: System) -> None:
    path = re.findall(r'href="(/_astro/[^"]+\.css)"', system.ask("GET", "/").data.decode())[0]
    response = system.ask("GET", path)
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/css")
    assert "immutable" in response.headers["cache-control"]


def test_binary_bodies_arrive_whole_both_ways(system: System) -> None:
    assert system.ask("GET", "/every-byte").data == bytes(range(256)) * 4
    answer = system.json("POST", "/upload", {"content-type": "application/octet-stream"}, EVERY_BYTE)
    assert answer == {"bytes": len(EVERY_BYTE), "sha256": hashlib.sha256(EVERY_BYTE).hexdigest()}


def test_a_form_of_its_own_origin_is_taken(system: System) -> None:
    response = system.ask("POST", "/", {**FORM, "origin": system.address}, "name=Ada+Lovelace")
    assert (response.status, response.headers["location"]) == (303, "/"), response.data
    names = [cookie.split(";")[0] for cookie in response.headers.getlist("set-cookie")]
    assert names == ["name=Ada%20Lovelace", "greeted=yes"]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", ""])
def test_a_form_of_another_origin_is_refused(system: System, origin: str) -> None:
    response = system.ask("POST", "/", {**FORM, **({"origin": origin} if origin else {})}, "name=Eve")
    assert response.status == 403
    assert "set-cookie" not in response.headers


def test_the_page_knows_the_address_that_the_browser_asked(system: System) -> None:
    """With https, as on AWS; the gateway speaks both at that address."""
    address = system.address.replace("http:", "https:")
    assert seen(system.ask("GET", "/?colour=1").data) | {"url": f"{address}/?colour=1"} == seen(
        system.ask("GET", "/?colour=1").data
    )


@pytest.mark.parametrize("source", OWN_HOSTS)
def test_on_aws_the_page_knows_its_https_address_and_its_visitor(system: System, source: str) -> None:
    host = OWN_HOSTS[source]
    response = on_aws(system, source, host, target="/?colour=sea%20green")
    assert response.status == 200
    page = seen(response.body)
    assert (page["url"], page["address"]) == (f"https://{host}/?colour=sea%20green", VISITOR)


@pytest.mark.parametrize("source", OWN_HOSTS)
def test_on_aws_the_origin_of_forms_is_checked(system: System, source: str) -> None:
    host = OWN_HOSTS[source]

    def posted(origin: str) -> int:
        return on_aws(
            system, source, host, "POST", body=b"name=Ada", content_type=FORM["content-type"], origin=origin
        ).status

    assert [posted(f"https://{host}"), posted(f"http://{host}"), posted("https://evil.example")] == [303, 403, 403]


@pytest.mark.parametrize("source", OWN_HOSTS)
def test_what_the_visitor_says_of_its_address_is_believed(system: System, source: str) -> None:
    """A Function URL replaces it. The others add the true address behind it, and Astro takes the first."""
    own = json.dumps({"http": {"sourceIp": "192.0.2.1"}, "identity": {"sourceIp": "192.0.2.1"}})
    claims = {"X_Forwarded_For": "192.0.2.1", "X_Amzn_Request_Context": own}
    page = seen(on_aws(system, source, OWN_HOSTS[source], **claims).body)
    assert page["address"] == (VISITOR if source == "function-url" else "192.0.2.1")
    assert page["proven"] == ("" if source.startswith("alb") else VISITOR)


def test_an_unlisted_host_has_no_visitor(system: System) -> None:
    page = seen(on_aws(system, "function-url", "unlisted.example.org").body)
    assert (page["url"], page["address"]) == ("https://unlisted.example.org/", "127.0.0.1")


def test_a_visitor_cannot_name_a_host_that_is_not_listed(system: System) -> None:
    host = OWN_HOSTS["function-url"]
    page = seen(on_aws(system, "function-url", host, X_Forwarded_Host="evil.example").body)
    assert (page["url"], page["address"]) == (f"https://{host}/", VISITOR)


def test_an_event_without_its_page_is_not_lost(system: System) -> None:
    assert system.invoke(b'{"Records":[]}')["errorType"] == "Function.Status404"


@pytest.mark.parametrize(
    ("allowed", "status", "page"),
    [
        ("", 403, ("http", "127.0.0.1")),
        ('    allowedDomains: [{ hostname: "**.on.aws", protocol: "https" }],\n', 303, ("https", "127.0.0.1")),
        ("    allowedDomains: [{}],\n", 303, ("https", VISITOR)),
    ],
    ids=["none", "with-protocol", "all"],
)
def test_what_other_lists_of_allowed_domains_do(
    tmp_path: Path, system: System, allowed: str, status: int, page: tuple[str, str]
) -> None:
    """Without a list the forms of an https page are refused; with a protocol in it, nobody has an address."""
    app = tmp_path / system.name
    shutil.copytree(system.app, app)
    config = (app / "astro.config.mjs").read_text()
    assert ALLOWED.search(config)
    (app / "astro.config.mjs").write_text(ALLOWED.sub(allowed, config))
    host = OWN_HOSTS["function-url"]
    with started(app, {"PORT": str(free_ports(1)[0])}) as other:
        form = {"content_type": FORM["content-type"], "origin": f"https://{host}"}
        assert on_aws(other, "function-url", host, "POST", body=b"name=Ada", **form).status == status
        found = seen(on_aws(other, "function-url", host).body)
        assert (found["url"].partition(":")[0], found["address"]) == page


@pytest.fixture
def page() -> Iterator[Page]:
    """A browser's tab."""
    with ExitStack() as stack:
        yield had(lambda: stack.enter_context(browser()))


def test_a_browser_shows_it(system: System, page: Page) -> None:
    """Picture, style and script arrive; a form and an upload work; nothing fails on the way."""
    page.open(f"{system.address}/?colour=sea+green&colour=%23ca6702")
    assert page.value("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.value("getComputedStyle(document.querySelector('h1')).color") == "rgb(27, 73, 101)"
    assert page.value("document.documentElement.dataset.script") == "ran"
    page.fill("input[name=name]", "Ada & Søren")
    page.click("form button")
    page.wait("document.querySelector('h1').textContent === 'Hello, Ada & Søren'")
    page.value(
        "(() => { const files = new DataTransfer(); files.items.add(new File(['abc'], 'a.txt'));"
        " document.querySelector('input[type=file]').files = files.files; })()"
    )
    page.click("#upload button")
    page.wait("document.querySelector('output').value")
    uploaded = json.loads(page.value("document.querySelector('output').value"))
    assert uploaded == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert different_lines(page.picture(CACHE / "pictures" / f"{system.name}.png")) > 100
    assert page.failures == []


@pytest.fixture(scope="module")
def prepared(system: System) -> Prepared:
    """The layers and the folder that it runs out of."""
    return prepare(system.app, layer_tree(None))


def test_it_fits(prepared: Prepared, system: System) -> None:
    """Function and layers together, unpacked; and of the function nothing but ``dist`` and ``run.sh`` is needed."""
    used = size(prepared.task / "dist") + size(prepared.task / "run.sh") + size(prepared.layer)
    print(f"{system.name}: dist {size(prepared.task / 'dist'):,} bytes, with the layers {used:,} of {UNPACKED:,}")
    assert used < UNPACKED
    assert size(prepared.task) + size(prepared.layer) < UNPACKED


def size(path: Path) -> int:
    """The bytes of a file, or of all that are below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def test_both_examples_are_one_app(system: System) -> None:
    """What is written about one holds for the other."""
    other = EXAMPLES / {"astro-bun": "astro-node", "astro-node": "astro-bun"}[system.name]
    for part in ("astro.config.mjs", "public", "src"):
        assert contents(system.app / part) == contents(other / part)


def contents(path: Path) -> dict[str, bytes]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


def test_figures(system: System, figures: Figures) -> None:
    figures(system, runtime={"astro-bun": "Bun 1.4.5", "astro-node": "Node 22.23.3"}[system.name], target="/")


def test_it_ends_when_told(system: System) -> None:
    """The last test: nothing runs after it. Without a handler of its own the signal ends the server."""
    system.stop()
    assert not [line for line in system.output if "SIGKILL" in line or "signal: killed" in line]
