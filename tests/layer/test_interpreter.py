"""The layer's interpreter at work, mounted on /opt, in the environment that Lambda gives a function."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from layer.sitecustomize import BUNDLES

from .conftest import PYTHON, Run

pytestmark = pytest.mark.integration

BARE = "-ISBXutf8"  # as bootstrap starts it

WORKS = {
    "fairlead": "import fairlead, fairlead.main; assert fairlead.__version__",
    "ssl": """
        import ssl
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        assert outgoing.read(2) == b"\\x16\\x03"  # a TLS handshake record
        """,
    "sqlite3": """
        import sqlite3
        database = sqlite3.connect(":memory:")
        database.execute("create virtual table notes using fts5(body)")
        database.execute("insert into notes values ('a fairlead guides a rope')")
        assert database.execute("select count(*) from notes where notes match 'rope'").fetchone() == (1,)
        """,
    "ctypes-call": "import ctypes, os; assert ctypes.CDLL('libc.so.6').getpid() == os.getpid()",
    "ctypes-callback": """
        import ctypes
        compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
        numbers = (ctypes.c_int * 3)(3, 1, 2)
        ctypes.CDLL("libc.so.6").qsort(numbers, 3, 4, compare(lambda a, b: a[0] - b[0]))
        assert list(numbers) == [1, 2, 3]
        """,
    "zoneinfo": """
        import io, zoneinfo, datetime
        header = b"TZif" + bytes(16) + b"".join(n.to_bytes(4) for n in (0, 0, 0, 0, 1, 4))
        zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(header + (3600).to_bytes(4) + b"\\0\\0CET\\0"), key="Test/CET")
        assert datetime.datetime(2026, 1, 1, tzinfo=zone).isoformat() == "2026-01-01T00:00:00+01:00"
        """,
    "multiprocessing-process": """
        import multiprocessing, os
        process = multiprocessing.Process(target=os._exit, args=(7,))
        process.start(); process.join(30)
        assert process.exitcode == 7
        """,
    "multiprocessing-spawn": """
        import multiprocessing, os
        process = multiprocessing.get_context("spawn").Process(target=os._exit, args=(7,))
        process.start(); process.join(30)
        assert process.exitcode == 7
        """,
    "process-pool": """
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(2) as pool:
            assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]
        """,
    "asyncio": """
        import asyncio
        async def echo(reader, writer):
            writer.write(await reader.readline()); writer.close()
        async def main():
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"rope\\n")
            assert await reader.readline() == b"rope\\n"
            writer.close()
            child = await asyncio.create_subprocess_exec("/bin/true")
            assert await child.wait() == 0
        asyncio.run(main())
        """,
    "compression": """
        import bz2, lzma, zlib
        for each in (bz2, lzma, zlib):
            assert each.decompress(each.compress(b"rope" * 99)) == b"rope" * 99
        """,
    "encodings": """
        for word, encoding in {"żurek": "cp852", "ロープ": "shift_jis", "rope": "cp037", "naïve": "mac_roman"}.items():
            assert word.encode(encoding).decode(encoding) == word
        try:
            "rope".encode("nonesuch")
        except LookupError:
            pass
        """,
    "hashlib": "import hashlib; assert all(hashlib.new(n) for n in hashlib.algorithms_guaranteed)",
    "decimal-in-c": "import decimal; assert decimal.__libmpdec_version__ and decimal.Decimal(2).sqrt() ** 2 < 2",
    "datetime-in-c": "import datetime; assert type(datetime.datetime.now).__name__ == 'builtin_function_or_method'",
    "uuid": "import uuid; assert uuid.uuid1() != uuid.uuid1() and uuid.uuid4().version == 4",
    "expat": "import xml.etree.ElementTree as e; assert e.fromstring('<a>b</a>').text == 'b'",
    "dbm": """
        import dbm, tempfile
        with tempfile.TemporaryDirectory() as folder:
            dbm.open(folder + "/it", "c").close()
        """,
    "name-resolution": "import socket; assert socket.getaddrinfo('localhost', 80)",
    "user-database": "import pwd; assert pwd.getpwuid(0).pw_name == 'root'",
    "no-locale-needed": "assert open(0).encoding == 'utf-8'; print('\\u00fc')",
}


@pytest.mark.parametrize("program", [pytest.param(program, id=name) for name, program in WORKS.items()])
def test_works(python: Callable[..., str], program: str) -> None:
    python(textwrap.dedent(program), BARE)


@pytest.mark.parametrize("way", [[], ["-X", "frozen_modules=off"]], ids=["frozen", "not-frozen"])
def test_modules_that_are_compiled_in_do_not_need_their_files(python: Callable[..., str], way: list[str]) -> None:
    python("import importlib._bootstrap, importlib._bootstrap_external, zipimport; zipimport.zipimporter", *way)


def test_the_interactive_prompt_falls_back_to_the_plain_one(run: Run) -> None:
    program = f"""
import os, pty, sys
child, terminal = pty.fork()
if not child:
    os.execv("{PYTHON}", ["{PYTHON}", "-q"])
os.write(terminal, b"print(6 * 7)\\nexit()\\n")
shown = b""
while True:
    try:
        shown += os.read(terminal, 4096)
    except OSError:  # the other end is closed
        break
print(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    result = run(PYTHON, "-c", program)
    assert result.returncode == 0, result.stderr
    assert "42" in result.stdout.split()


def test_a_start_does_not_look_into_the_zip_of_rare_encodings(python: Callable[..., str]) -> None:
    program = """
import sys, fairlead.main
for encoding in "idna", "cp437", "windows-1252", "utf-16", "latin-1":
    "rope.example".encode(encoding)
print([path for path in sys.path_importer_cache if path.endswith("others.zip")])
"""
    assert python(program, BARE) == "[]\n"


def test_nothing_leaks_to_child_processes(python: Callable[..., str]) -> None:
    """Their libraries are the system's: all that binds ours is written in the executable."""
    maps = python("import subprocess; subprocess.run(['/bin/cat', '/proc/self/maps'], check=True)", BARE)
    assert "libc" in maps
    assert "/opt/fairlead" not in maps


def test_a_thread_that_still_runs_at_exit_does_not_abort_the_process(run: Run) -> None:
    """CPython ends it with pthread_exit, for which the C library loads libgcc_s: from the layer, and only then."""
    program = (
        "import _thread, time\n"
        "def work():\n"
        "    while True: time.sleep(0.0001)\n"
        "for _ in range(8): _thread.start_new_thread(work, ())\n"
        "time.sleep(0.05)"
    )
    result = run(PYTHON, BARE, "-c", program, environment={"LD_DEBUG": "files"})
    assert result.returncode == 0
    loaded = [line for line in result.stderr.splitlines() if "calling init" in line and "libgcc_s" in line]
    assert [line.split()[-1] for line in loaded] == ["/opt/fairlead/lib/libgcc_s.so.1"]


def test_tracebacks_show_the_lines_of_our_own_sources(python: Callable[..., str]) -> None:
    program = (
        "import linecache, fairlead.main as main\n"
        "file = main.main.__code__.co_filename\n"
        "print(file, linecache.getline(file, main.main.__code__.co_firstlineno))"
    )
    file, _, line = python(program, BARE).partition(" ")
    assert file == "/opt/fairlead/share/source/fairlead/main.py"
    assert line.startswith("def main(")


def test_nothing_is_looked_up_outside_the_layer(python: Callable[..., str]) -> None:
    path = json.loads(python("import json, sys; print(json.dumps([sys.prefix, *sys.path]))", BARE))
    assert path == [
        "/opt/fairlead",
        "/opt/fairlead/lib/python313.zip",
        "/opt/fairlead/lib/python3.13",
        "/opt/fairlead/lib/python3.13/lib-dynload",
    ]


class TestCertificates:
    """An app that runs on the layer's interpreter finds the system's certificates (sitecustomize)."""

    SHOW = "import os; print(os.environ.get('SSL_CERT_FILE', ''), end='')"

    def test_the_systems_bundle_is_named_when_nothing_is(self, python: Callable[..., str]) -> None:
        assert python(self.SHOW) == next((bundle for bundle in BUNDLES if Path(bundle).exists()), "")

    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
    def test_what_the_user_sets_stays(self, python: Callable[..., str], variable: str) -> None:
        shown = python(self.SHOW, **{variable: "/var/task/mine"})
        assert shown == ("/var/task/mine" if variable == "SSL_CERT_FILE" else "")

    def test_fairleads_own_process_does_not_pay_for_it(self, python: Callable[..., str]) -> None:
        assert python("import sys; print('sitecustomize' in sys.modules)", BARE) == "False\n"
