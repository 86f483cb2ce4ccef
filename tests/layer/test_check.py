"""``python -m layer.check``: each thing that fails on Lambda is told in a sentence, and nothing else is."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from layer import build, check, package, recipe
from layer.programs import PROGRAMS

from .small_elf import library, program


class File(NamedTuple):
    """One entry; ``mode`` None is what a zip from Windows says; ``size`` fills it up with zeros."""

    content: bytes = b""
    mode: int | None = 0o644
    size: int = 0


DOS_ARCHIVE = 0x20  # what a zip says of a file where there are no modes
SCRIPT = b"#!/bin/bash\nexec ./app\n"
START = File(SCRIPT, 0o755)
LAYER = {"bootstrap": START}
OURS = "fairlead/bin/python3"
LOADER = "fairlead/lib/ld-linux-x86-64.so.2"
WHOLE_LAYER = {
    **LAYER,
    OURS: File(program(interpreter=f"/opt/{LOADER}", glibc="2.38"), 0o755),
    LOADER: File(library(), 0o755),
    "fairlead/lib/libm.so.6": File(library(glibc="2.38")),
}
ARM64_LAYER = {**LAYER, "fairlead/bin/python3": File(program("arm64"), 0o755)}
PYTHON_MODULE = "orjson/orjson.cpython-313-x86_64-linux-gnu.so"
BUN_LAYER = {"bin/bun": File(program(glibc="2.17"), 0o755), PROGRAMS["bun"].manifest: File(b"{}")}
BUN_START = File(b"#!/bin/sh\nexec bun run app.ts\n", 0o755)
FLASK = {"python/Flask-3.1.3.dist-info/METADATA": File(), "python/typing_extensions-4.16.0.dist-info/RECORD": File()}
SPARE = check.UNPACKED - len(SCRIPT)


class Case(NamedTuple):
    """What is uploaded, and what is said about it (nothing, when it is fine)."""

    function: Mapping[str, File]
    says: tuple[str, ...] = ()
    layer: Mapping[str, File] = LAYER
    other: Mapping[str, File] | None = None


CASES = {
    "nothing-wrong": Case({"run.sh": START, "app": File(program(glibc="2.34"), 0o755)}, layer=WHOLE_LAYER),
    # Processors
    "function-for-another-processor": Case(
        {"app": File(program("arm64"), 0o755)},
        ("function: is built for arm64 (app), and the layer for x86_64: build it for x86_64, or take the arm64 layer",),
        WHOLE_LAYER,
    ),
    "module-for-another-processor": Case(
        {PYTHON_MODULE: File(library("x86_64"))},
        (f"function: is built for x86_64 ({PYTHON_MODULE}), and the layer for arm64: build it for arm64, or take ",),
        ARM64_LAYER,
    ),
    "only-another-platforms-package": Case(
        {"node_modules/sharp-linux-arm64/sharp.node": File(library("arm64"))},
        ("function: is built for arm64 (node_modules/sharp-linux-arm64/sharp.node), and the layer for x86_64: ",),
        WHOLE_LAYER,
    ),
    "function-mixed": Case(
        {"app": File(program(), 0o755), "a.so": File(library("arm64")), "b.so": File(library("arm64"))},
        ("function: holds files for different processors (arm64: a.so, b.so; x86_64: app): build it for one of them",),
        WHOLE_LAYER,
    ),
    "platforms-kept-apart-are-no-mixture": Case(
        {
            "node_modules/it/prebuilds/linux-arm64/it.node": File(library("arm64")),
            "node_modules/it/prebuilds/linux-x64/it.node": File(library()),
        },
        layer=WHOLE_LAYER,
    ),
    "layer-mixed": Case(
        {},
        ("layer: holds files for different processors (arm64: x.so; x86_64: y.so): build it for one of them",),
        {**LAYER, "x.so": File(library("arm64")), "y.so": File(library())},
    ),
    "other-layer-for-another-processor": Case(
        {},
        ("layer other.zip: is built for arm64 (lib/it.so), and the layer for x86_64: ",),
        WHOLE_LAYER,
        {"lib/it.so": File(library("arm64"))},
    ),
    # The C library
    "newer-c-library": Case(
        {"app": File(program(glibc="2.38"), 0o755)},
        ("function: app needs the C library 2.38, and on Lambda it finds 2.34: build it on Amazon Linux 2023 or some",),
    ),
    "newer-c-library-in-another-layer": Case(
        {}, ("layer other.zip: lib/it.so needs the C library 2.36",), other={"lib/it.so": File(library(glibc="2.36"))}
    ),
    "the-layers-python-brings-its-own-c-library": Case({PYTHON_MODULE: File(library(glibc="2.38"))}, layer=WHOLE_LAYER),
    "which-has-an-end-too": Case(
        {PYTHON_MODULE: File(library(glibc="2.99"))},
        (f"function: {PYTHON_MODULE} needs the C library 2.99, and on Lambda it finds 2.38",),
        WHOLE_LAYER,
    ),
    "a-layer-without-a-c-library-is-held-to-lambdas": Case(
        {},
        (f"layer: {OURS} needs the C library 2.35",),
        {**LAYER, OURS: File(program(interpreter="/lib64/ld-linux-x86-64.so.2", glibc="2.35"), 0o755)},
    ),
    # What is executed
    "bootstrap-not-executable": Case(
        {},
        ("layer: bootstrap is not executable: chmod 755 bootstrap, and zip anew on Linux or macOS",),
        {"bootstrap": File(SCRIPT, 0o644)},
    ),
    "zip-from-windows": Case({}, ("layer: bootstrap is not executable: ",), {"bootstrap": File(SCRIPT, None)}),
    "program-not-executable": Case({"bin/app": File(program())}, ("function: bin/app is not executable: ",)),
    "library-need-not-be": Case({"lib/it.so": File(library())}),
    "start-script-not-executable": Case({"start": File(SCRIPT)}, ("function: start is not executable: ",)),
    "shell-script-need-not-be": Case({"run.sh": File(SCRIPT)}),
    "but-one-for-another-interpreter": Case(
        {"run.sh": File(b"#!/usr/bin/env node\n")}, ("function: run.sh is not executable: ",)
    ),
    "crlf-in-start-script": Case(
        {"run.sh": File(SCRIPT.replace(b"\n", b"\r\n"), 0o755)},
        ("function: run.sh has Windows line ends (CRLF), and Linux cannot run it: sed -i 's/\\r$//' run.sh",),
    ),
    "crlf-in-bootstrap": Case(
        {},
        ("layer: bootstrap has Windows line ends (CRLF)",),
        {"bootstrap": File(SCRIPT.replace(b"\n", b"\r\n"), 0o755)},
    ),
    # Who starts
    "no-bootstrap": Case({}, ("layer: there is no bootstrap at its top",), {"README": File()}),
    "bootstrap-in-a-folder": Case(
        {}, ("(it is in fairlead/bootstrap: zip what is inside of that folder",), {"fairlead/bootstrap": START}
    ),
    "bootstrap-in-the-function": Case(
        LAYER, ("function: it holds a bootstrap, which Lambda starts instead of the layer's: rename it",)
    ),
    "bootstrap-in-two-layers": Case({}, ("layer other.zip: it holds a bootstrap as well",), other=LAYER),
    # Runtimes
    "runtime-in-another-layer": Case({"run.sh": BUN_START}, layer=WHOLE_LAYER, other=BUN_LAYER),
    "fairleads-layer-named-second": Case({"run.sh": BUN_START}, layer=BUN_LAYER, other=WHOLE_LAYER),
    "runtimes-layer-alone": Case(
        {"run.sh": BUN_START}, ("layer: it has bun alone, so Lambda has nothing to start: attach Fa",), BUN_LAYER
    ),
    "runtime-that-no-layer-has": Case(
        {"run.sh": BUN_START},
        ("function: run.sh calls bun, and no layer has it: attach the one that `./build-layer.sh --with-",),
    ),
    "a-managed-runtime-has-node": Case({"run.sh": File(b"#!/bin/sh\nexec node app.js\n", 0o755)}),
    "runtime-for-another-processor": Case(
        {}, ("layer other.zip: is built for x86_64 (bin/bun), and the layer for arm64: ",), ARM64_LAYER, BUN_LAYER
    ),
    # What the app's own files name: packages of Python
    "packages-that-requirements-name": Case(
        {"run.sh": START, "app.py": File(), "requirements.txt": File(b"Flask==3.1.3\ngunicorn>=20  # the server\n")},
        ("function: requirements.txt names Flask, gunicorn, and neither the function nor a layer has them: put the ",),
    ),
    "one-that-was-forgotten": Case(
        {**FLASK, "requirements.txt": File(b"flask\nredis[hiredis]>=5\n")},
        ("function: requirements.txt names redis, and neither the function nor a layer has it: ",),
    ),
    "in-a-file-that-is-included": Case(
        {**FLASK, "requirements.txt": File(b"-r base.txt\nflask\n"), "base.txt": File(b"-r base.txt\nredis\n")},
        ("function: requirements.txt names redis, and",),
    ),
    "packages-that-are-there": Case(
        {**FLASK, "requirements.txt": File(b"Flask \\\n  --hash=sha256:aa\ntyping_extensions\n")}
    ),
    "packages-at-the-top": Case({"flask-3.1.3.dist-info/METADATA": File(), "requirements.txt": File(b"flask\n")}),
    "packages-in-a-layer": Case(
        {"requirements.txt": File(b"flask")},
        other={"python/lib/python3.13/site-packages/flask-3.dist-info/METADATA": File()},
    ),
    "packages-without-their-metadata": Case(
        {
            "python/flask/__init__.py": File(),
            "python/yaml/__init__.py": File(),
            "requirements.txt": File(b"flask\nPyYAML"),
        }
    ),
    "packages-without-their-metadata-beside-a-layer-with-some": Case(
        {"python/flask/__init__.py": File(), "requirements.txt": File(b"flask\nPyYAML")},
        other={"python/orjson-3.dist-info/METADATA": File()},
    ),
    "packages-that-the-layers-python-does-not-need": Case(
        {"requirements.txt": File(b'tomli; python_version < "3.12"\npywin32; sys_platform == "win32"\n')}
    ),
    "packages-for-this-processor": Case(
        {"requirements.txt": File(b'only-arm; platform_machine == "aarch64"\nonly-x86; platform_machine == "x86_64"')},
        ("function: requirements.txt names only-arm, and",),
        ARM64_LAYER,
    ),
    "requirements-that-name-nothing": Case({"requirements.txt": File(b"# nothing\n\n--index-url https://x\n./own\n")}),
    "packages-that-the-project-names": Case(
        {"pyproject.toml": File(b'[project]\nname = "it"\ndependencies = ["flask>=3"]\n')},
        ("function: pyproject.toml names flask, and",),
    ),
    "a-project-that-only-sets-tools-up": Case({"pyproject.toml": File(b"[tool.ruff]\nline-length = 100\n")}),
    "a-project-file-that-is-none": Case({"pyproject.toml": File(b"[[[")}),
    "packages-for-another-python": Case(
        {"python/it/fast.cpython-312-x86_64-linux-gnu.so": File(library())},
        ("function: holds packages for Python 3.12 (python/it/fast.cpython-312-x86_64-linux-gnu.so), and the layer ",),
    ),
    "packages-for-several-pythons": Case(
        {f"it/fast.cpython-3{minor}-x86_64-linux-gnu.so": File(library()) for minor in (12, 13)}
    ),
    "packages-for-a-python-of-its-own": Case(
        {"run.sh": START, "it/fast.cpython-312-x86_64-linux-gnu.so": File(library())}
    ),
    "packages-for-macos": Case(
        {"it/fast.cpython-313-darwin.so": File(b"\xcf\xfa\xed\xfe")},
        ("function: holds packages for macOS (it/fast.cpython-313-darwin.so): install them with `pip install ",),
    ),
    "packages-for-windows": Case({"it/fast.pyd": File(b"MZ")}, ("function: holds packages for Windows (it/fast.pyd)",)),
    # and of JavaScript
    "dependencies-that-are-not-installed": Case(
        {
            "package.json": File(b'{"dependencies": {"express": "5", "@aws-sdk/client-s3": "3", "pg": "8"}}'),
            "server.js": File(b"import express from 'express'\nconst s3 = require(\"@aws-sdk/client-s3/x\")\n"),
        },
        ("function: server.js imports express, @aws-sdk/client-s3, and there is no node_modules/express: install the",),
    ),
    "dependencies-that-are-installed": Case(
        {
            "package.json": File(b'{"dependencies": {"express": "5"}}'),
            "server.js": File(b"import express from 'express'\n"),
            "node_modules/express/index.js": File(b"require('accepts')"),
        },
    ),
    "dependencies-of-a-bundle": Case(
        {"package.json": File(b'{"dependencies": {"express": "5"}}'), "dist/server.js": File(b"var express = 1")}
    ),
    "a-package.json-that-is-none": Case({"package.json": File(b"["), "server.js": File(b"import 'express'")}),
    "next-without-standalone": Case(
        {"package.json": File(b'{"dependencies": {"next": "16"}}'), ".next/BUILD_ID": File(), "run.sh": START},
        ('function: .next was built without output: "standalone", so it needs all of node_modules: say that in next',),
    ),
    "next-with-standalone-inside": Case({".next/BUILD_ID": File(), ".next/standalone/server.js": File()}),
    "the-standalone-folder-itself": Case({".next/BUILD_ID": File(), "server.js": File(), "run.sh": START}),
    "next-with-all-its-packages": Case({".next/BUILD_ID": File(), "node_modules/next/package.json": File()}),
    # and scripts
    "script-that-run.sh-starts-without-its-bit": Case(
        {"run.sh": File(b"#!/bin/sh\nA=1 exec ./bin/serve --port $PORT\n", 0o755), "bin/serve": File(SCRIPT)},
        ("function: run.sh starts bin/serve, which is not executable: chmod 755 bin/serve, and zip anew on Linux",),
    ),
    "by-its-path-on-lambda": Case(
        {"run.sh": File(b'#!/bin/sh\ncd /tmp && "$LAMBDA_TASK_ROOT/serve.sh"\n', 0o755), "serve.sh": File(SCRIPT)},
        ("function: run.sh starts serve.sh, which is not executable: ",),
    ),
    "script-that-a-shell-is-given": Case(
        {"run.sh": File(b"#!/bin/sh\n# ./bin/serve\nsh ./bin/serve\n", 0o755), "bin/serve": File(SCRIPT)}
    ),
    "script-in-another-folder": Case(
        {"run.sh": File(b"#!/bin/sh\ncd web\nexec ./serve\n", 0o755), "serve": File(SCRIPT, 0o755)}
    ),
    "crlf-in-a-script-below": Case(
        {"run.sh": START, "bin/serve": File(SCRIPT.replace(b"\n", b"\r\n"), 0o755)},
        ("function: bin/serve has Windows line ends (CRLF), and Linux cannot run it: sed -i 's/\\r$//' bin/serve",),
    ),
    "crlf-where-nobody-starts-it": Case(
        {
            "docs/make.sh": File(SCRIPT.replace(b"\n", b"\r\n")),
            "node_modules/it/cli.js": File(b"#!/usr/bin/env node\r\n", 0o755),
        }
    ),
    # Names and modes
    "not-readable": Case(
        {"secret.txt": File(b"", 0o600)}, ("function: not readable by all: secret.txt: chmod -R a+rX, and zip anew",)
    ),
    "folder-not-to-be-entered": Case(
        {"lib/": File(b"", stat.S_IFDIR | 0o744)}, ("function: not readable by all: lib/",)
    ),
    "four-not-readable": Case(
        {name: File(b"", 0o600) for name in "abcd"}, ("function: not readable by all: a, b, c and 1 more: ",)
    ),
    "absolute-name": Case({"/etc/it": File()}, ("function: the name /etc/it is absolute: ",)),
    "name-leading-out": Case({"lib/../../it": File()}, ("function: the name lib/../../it leads out of the folder: ",)),
    "dots-in-a-name": Case({"a..b/...": File()}),
    "backslashes": Case({"lib\\it.py": File()}, ("function: the name lib\\it.py has backslashes, which make no fold",)),
    # Sizes
    "as-much-as-fits-unpacked": Case({"model": File(size=SPARE)}),
    "a-byte-too-much-unpacked": Case(
        {"model": File(size=SPARE + 1)},
        ("unpacked, all together has 262,144,001 bytes (layer 23, function 262,143,978), and Lambda allows 262,1",),
    ),
    "too-much-with-other-layers": Case(
        {"a": File(size=150_000_000)}, ("unpacked, all together has 300,",), other={"b": File(size=150_000_000)}
    ),
}


def packed(path: Path, files: Mapping[str, File]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, file in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = DOS_ARCHIVE if file.mode is None else (file.mode | _type(file.mode)) << 16
            with archive.open(entry, "w") as target:
                target.write(file.content)
                for start in range(0, file.size, 1 << 24):
                    target.write(bytes(min(1 << 24, file.size - start)))
    return path


def _type(mode: int) -> int:
    return 0 if stat.S_IFMT(mode) else stat.S_IFREG


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_what_would_fail_is_said(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        str(packed(tmp_path / "layer.zip", case.layer)),
        *("--function", str(packed(tmp_path / "function.zip", case.function))),
        *(("--layer", str(packed(tmp_path / "other.zip", case.other))) if case.other else ()),
    ]
    status = check.main(arguments)
    said = capsys.readouterr().out.splitlines()
    if not case.says:
        assert (status, len(said)) == (0, 1)
        assert said[0].startswith("nothing found that would fail on Lambda")
    else:
        assert status == 1
        assert len(said) == len(case.says)
        assert [part for part, line in zip(case.says, said, strict=True) if part not in line] == [], said


def test_a_runtimes_layer_can_be_checked_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(packed(tmp_path / "bun.zip", BUN_LAYER))]) == 0
    newer = {**BUN_LAYER, "bin/bun": File(program(glibc="2.38"), 0o755)}
    assert check.main([str(packed(tmp_path / "bun.zip", newer))]) == 1
    assert "layer: bin/bun needs the C library 2.38" in capsys.readouterr().out


@pytest.mark.parametrize(("extra", "says"), [(0, ()), (1, ("be uploaded directly: put it into an S3 bucket",))])
def test_the_limit_of_a_direct_upload_is_50_mib(tmp_path: Path, extra: int, says: tuple[str, ...]) -> None:
    path = packed(tmp_path / "layer.zip", LAYER)
    room = check.DIRECT_UPLOAD - path.stat().st_size + extra
    path.write_bytes(bytes(room) + path.read_bytes())  # a zip may begin with anything
    assert path.stat().st_size == check.DIRECT_UPLOAD + extra
    found = check.problems(check.Upload(check.load("layer", path), None, ()))
    assert len(found) == len(says)
    assert all(part in problem for part, problem in zip(says, found, strict=True))


def test_a_directory_is_taken_as_a_zip_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = packed(tmp_path / "layer.zip", WHOLE_LAYER)
    function = tmp_path / "function"
    (function / "bin").mkdir(parents=True)
    (function / "bin/app").write_bytes(program("arm64", glibc="2.38"))
    (function / "run.sh").write_bytes(SCRIPT.replace(b"\n", b"\r\n"))
    (function / "nowhere").symlink_to("/nonexistent")
    function.chmod(0o755)
    assert check.main([str(layer), "--function", str(function)]) == 1
    said = capsys.readouterr().out
    for part in ("is built for arm64 (bin/app)", "bin/app needs the C library 2.38", "run.sh has Windows line ends"):
        assert part in said
    assert len(said.splitlines()) == 4  # and bin/app is not executable


def test_what_cannot_be_opened_keeps_nothing_else_from_being_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = packed(tmp_path / "layer.zip", LAYER)
    function = tmp_path / "function"
    function.mkdir(mode=0o755)
    os.mkfifo(function / "fifo", 0o644)
    (function / "run.sh").write_bytes(SCRIPT.replace(b"\n", b"\r\n"))
    (function / "secret").write_text("")
    (function / "secret").chmod(0)

    def refuse(path: Path) -> io.FileIO:
        if Path(path).name == "secret":  # root may open everything
            raise PermissionError(path)
        return io.FileIO(path)

    monkeypatch.setattr(package, "open_file", refuse)
    assert check.main([str(layer), "--function", str(function)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in said] == [
        "run.sh has Windows line ends (CRLF), and Linux cannot run it",
        "not readable by all",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "layer: there is no ", id="missing"),
        pytest.param(b"PK", "is no zip that Lambda", id="damaged"),
    ],
)
def test_what_cannot_be_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "it.zip").write_bytes(content)
    assert check.main([str(tmp_path / "it.zip")]) == 1
    assert says in capsys.readouterr().out


@pytest.mark.integration
def test_the_built_layers_pass(
    each: tuple[recipe.Architecture, build.Layer], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(each[1].zip)]) == 0, capsys.readouterr().out


@pytest.mark.integration
def test_a_layer_of_the_other_architecture_is_named(
    each: tuple[recipe.Architecture, build.Layer], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = next(name for name in recipe.ARCHITECTURES if name != each[0].name)
    function = packed(tmp_path / "function.zip", {"app": File(program(other), 0o755)})
    assert check.main([str(each[1].zip), "--function", str(function)]) == 1
    assert f"function: is built for {other} (app), and the layer for {each[0].name}: " in capsys.readouterr().out
