"""Registries of npm and JSR for one package each, on loopback, that note what they were asked for."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

NPM_FILES = {
    "package/package.json": b'{"name": "greeting", "version": "1.0.0"}',
    "package/index.js": b"exports.greeting = 'of npm';",
}
JSR_MODULE = b"export const words: string = 'of jsr';\n"


class FakeRegistry:
    """``greeting`` for npm, ``@our/words`` for JSR, both in version 1.0.0. The same address is for both."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                found = registry._files.get(self.path)
                self.send_response(404 if found is None else 200)
                is_module = self.path.endswith(".ts")
                self.send_header("Content-Type", "application/typescript" if is_module else "application/json")
                self.send_header("Content-Length", str(len(found or b"")))
                self.end_headers()
                self.wfile.write(found or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._files = _files(self.address)

    @property
    def address(self) -> str:
        """Its URL, with a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which npm's clients, Bun and Deno ask this one."""
        return dict.fromkeys(("NPM_CONFIG_REGISTRY", "BUN_CONFIG_REGISTRY", "JSR_URL"), self.address)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _files(address: str) -> dict[str, bytes]:
    tarball = _tarball()
    dist = {"tarball": f"{address}greeting.tgz", "integrity": _integrity(tarball)}
    versions = {"1.0.0": {"name": "greeting", "version": "1.0.0", "dist": dist}}
    documents: dict[str, object] = {
        "/greeting": {"name": "greeting", "dist-tags": {"latest": "1.0.0"}, "versions": versions},
        "/@our/words/meta.json": {"scope": "our", "name": "words", "latest": "1.0.0", "versions": {"1.0.0": {}}},
        "/@our/words/1.0.0_meta.json": {
            "manifest": {"/mod.ts": {"size": len(JSR_MODULE), "checksum": _checksum(JSR_MODULE)}},
            "exports": {".": "./mod.ts"},
        },
    }
    encoded = {path: json.dumps(document).encode() for path, document in documents.items()}
    return {**encoded, "/greeting.tgz": tarball, "/@our/words/1.0.0/mod.ts": JSR_MODULE}


def _tarball() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in NPM_FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _integrity(octets: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(octets).digest()).decode()}"


def _checksum(octets: bytes) -> str:
    return f"sha256-{hashlib.sha256(octets).hexdigest()}"
