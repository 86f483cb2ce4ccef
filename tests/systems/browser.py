"""A headless Chromium, driven through its DevTools pipe: neither a driver program nor a client library is needed.

It is the machine's own, else Debian's, unpacked into ``.cache`` (240 MB to fetch) and run in a root of its own: nothing
is installed, and nobody has to be root.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from layer import debian
from local import tools
from local.cache import CACHE, once
from local.machine import DEBIAN_NAMES, architecture
from tests.fakes.children import killed_at_the_end

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SUITE = "bookworm"
PACKAGES = ("chromium", "fonts-dejavu-core")
UNUSED = ("doc", "locale", "man")
PATIENCE_S = 30.0
# In a test it sees only what the test serves; its own sandbox needs what containers forbid.
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1280,900",
    "--remote-debugging-pipe",  # commands on descriptor 3, answers on 4, each ended by NUL
    "about:blank",
)
ON_3_AND_4 = "import os, sys; a, b, *c = sys.argv[1:]; os.dup2(int(a), 3); os.dup2(int(b), 4); os.execvp(c[0], c)"


class Page:
    """One tab. ``failures`` has what the browser could not load, or was answered with 400 and more, with the reason."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._last_id = 0
        self._session = ""
        self._addresses: dict[str, str] = {}
        self._loads = 0
        self.failures: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self._call(f"{domain}.enable")

    def open(self, address: str) -> None:
        """Go there, as somebody who types the address; returns when everything has loaded."""
        loads = self._loads
        problem = self._call("Page.navigate", url=address).get("errorText")
        assert not problem, f"{address}: {problem}"
        while self._loads == loads:
            self._take()

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, promises awaited; ``AssertionError`` with its exception's text."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        problem = answer.get("exceptionDetails")
        assert not problem, f"{expression}: {problem}"
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until the JavaScript expression is true, on whatever page that is then, and however complete it is."""
        end = time.monotonic() + PATIENCE_S
        while not self.value(f"(() => {{ try {{ return Boolean({condition}) }} catch {{ return false }} }})()"):
            assert time.monotonic() < end, f"never true: {condition}; the page says:\n{self.text()[:2000]}"
            self._take(0.05)

    def text(self) -> str:
        """What a reader sees, without its looks."""
        return str(self.value("document.body.innerText"))

    def fill(self, selector: str, text: str) -> None:
        """Type into the field that a CSS selector finds first."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self._call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click on what a CSS selector finds first. Not where it is on the screen: pages move while they load."""
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def picture(self, path: Path) -> bytes:
        """What the page looks like, as PNG, kept as the file ``path``."""
        content = base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return content

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        content = memoryview(json.dumps(message).encode() + b"\0")
        while content:
            content = content[os.write(self._commands, content) :]
        end = time.monotonic() + PATIENCE_S
        while (answer := self._take()).get("id") != self._last_id:
            assert time.monotonic() < end, f"no answer to {method}"
        # A navigation meanwhile has taken the page away that was asked: what is waited for is asked again.
        is_gone = "context" in answer.get("error", {}).get("message", "")
        assert "error" not in answer or is_gone, f"{method}: {answer['error']}"
        return dict(answer.get("result", {"result": {}}))

    def _take(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next message; an empty one when none comes and the patience is a short one."""
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], patience_s)[0]:
                assert patience_s < PATIENCE_S, "the browser is silent"
                return {}
            received = os.read(self._answers, 1 << 20)
            assert received, "the browser has ended"
            self._buffer += received
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, of: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loads += 1
        elif event == "Network.requestWillBeSent":
            self._addresses[of["requestId"]] = of["request"]["url"]
        elif event == "Network.responseReceived" and of["response"]["status"] >= 400:
            self.failures.append(f"{of['response']['url']}: {of['response']['status']}")
        elif event == "Network.loadingFailed" and not of.get("canceled"):
            self.failures.append(f"{self._addresses.get(of['requestId'])}: {of['errorText']}")
        elif event == "Runtime.exceptionThrown":
            self.failures.append(str(of["exceptionDetails"]))


@contextmanager
def browser() -> Iterator[Page]:
    """A browser with nothing in it, until the block ends. Raises ``LayerError`` or ``LocalFailure``: there is none."""
    with TemporaryDirectory() as profile:
        command = _command(Path(profile))
        commands, answers = os.pipe(), os.pipe()
        ends = (str(commands[0]), str(answers[1]))
        program = killed_at_the_end(
            [sys.executable, "-ISc", ON_3_AND_4, *ends, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(commands[0], answers[1]),
        )
        with program:
            os.close(commands[0])
            os.close(answers[1])
            try:
                yield Page(commands[1], answers[0])
            finally:
                os.close(commands[1])
                os.close(answers[0])


def _command(profile: Path) -> list[str]:
    own = next(filter(None, map(shutil.which, INSTALLED)), None)
    if own:
        return [own, f"--user-data-dir={profile}", *OPTIONS]
    root = once(CACHE / "tools" / f"chromium-{architecture()}", _unpack)
    into = ["--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    alone = ["--unshare-user", "--unshare-pid", "--die-with-parent", "--clearenv", "--setenv", "HOME", "/tmp"]
    return [*tools.command("bwrap", architecture()), *into, *alone, "/usr/lib/chromium/chromium", *OPTIONS]


def _unpack(root: Path) -> None:
    for name in ("bin", "lib", "lib64", "sbin"):  # the merged /usr, before a package brings a directory of that name
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("proc", "dev", "tmp", "etc"):
        (root / name).mkdir()
    wanted = {"suite": SUITE, "architecture": DEBIAN_NAMES[architecture()], "cache": CACHE / "debian"}
    for package in debian.fetch(PACKAGES, with_dependencies=True, **wanted):
        debian.unpack(package, root)
    for name in UNUSED:
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)


def different_lines(png: bytes) -> int:
    """How many different lines of pixels a picture has: an empty page has one or two."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = b"", 8
    while at < len(png):
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        chunks += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    lines = zlib.decompress(chunks)
    width = len(lines) // int.from_bytes(png[20:24], "big")
    return len({lines[start : start + width] for start in range(0, len(lines), width)})
