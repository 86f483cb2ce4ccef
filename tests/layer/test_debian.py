"""layer/debian.py against a signed archive of the test's own: apt, gpgv and dpkg-deb are the real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from layer import debian
from layer.debian import LISTS_LAST_S, POCKETS, DebianError, Package, fetch, unpack
from tests.fakes.children import child

from .debian_archive import SUITE, DebianArchive

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb", "gpg")),
    reason="needs apt-get, dpkg-deb and gpg: Debian or Ubuntu with gnupg",
)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DebianArchive]:
    archive = DebianArchive(tmp_path / "archive")
    archive.add("hello", "1:2.0-1", depends="greeting", files=("usr/bin/hello",))
    archive.add("greeting", "1.0", files=("usr/share/greeting",))
    archive.publish()
    monkeypatch.setenv("DEBIAN_MIRROR", archive.url)
    monkeypatch.setenv("DEBIAN_SECURITY_MIRROR", "")
    monkeypatch.setenv("KEYRING", str(archive.keyring))
    yield archive
    archive.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fetched(cache: Path, *packages: str, with_dependencies: bool = False) -> list[Package]:
    return fetch(packages, suite=SUITE, architecture="amd64", cache=cache, with_dependencies=with_dependencies)


def test_a_package_comes_with_its_version_checksum_and_source(archive: DebianArchive, cache: Path) -> None:
    (package,) = fetched(cache, "hello")
    assert package[:3] == ("hello", "1:2.0-1", "all")
    assert package.source == "hello-source=1:2.0-1"
    assert package.sha256 == subprocess.check_output(["sha256sum", package.path], text=True, timeout=600).split()[0]


def test_dependencies_come_only_when_asked_for(archive: DebianArchive, cache: Path) -> None:
    assert [package.name for package in fetched(cache, "hello")] == ["hello"]
    assert [package.name for package in fetched(cache, "hello", with_dependencies=True)] == ["greeting", "hello"]


def test_a_second_fetch_needs_no_archive(archive: DebianArchive, cache: Path, tmp_path: Path) -> None:
    first = fetched(cache, "hello", with_dependencies=True)
    shutil.rmtree(tmp_path / "archive/dists")
    shutil.rmtree(tmp_path / "archive/pool")
    assert fetched(cache, "hello", with_dependencies=True) == first


def test_a_damaged_download_is_fetched_again(archive: DebianArchive, cache: Path) -> None:
    (package,) = fetched(cache, "hello")
    package.path.write_bytes(b"half a pack")
    assert fetched(cache, "hello") == [package]
    assert package.path.read_bytes() != b"half a pack"


def test_a_version_that_the_archive_has_dropped_is_looked_up_anew(archive: DebianArchive, cache: Path) -> None:
    fetched(cache, "greeting")
    archive.add("hello", "1:2.0-2")
    archive.publish()
    assert [package.version for package in fetched(cache, "hello")] == ["1:2.0-2"]


def test_lists_of_yesterday_are_refreshed(archive: DebianArchive, cache: Path) -> None:
    fetched(cache, "hello")
    archive.add("hello", "1:2.0-2")
    archive.publish()
    assert [package.version for package in fetched(cache, "hello")] == ["1:2.0-1"]
    _age(cache)
    assert [package.version for package in fetched(cache, "hello")] == ["1:2.0-2"]


def test_without_a_network_the_lists_of_yesterday_serve(
    archive: DebianArchive, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fetched(cache, "hello")
    shutil.rmtree(tmp_path / "archive/dists")
    _age(cache)
    assert fetched(cache, "hello") == first
    assert "going on with the package lists of 13 hours ago" in capsys.readouterr().err


def test_another_mirror_is_not_answered_from_the_lists_of_the_first(
    archive: DebianArchive, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched(cache, "hello")
    monkeypatch.setenv("DEBIAN_MIRROR", f"copy:{tmp_path}/nothing-here")
    with pytest.raises(DebianError, match="the package lists cannot be fetched"):
        fetched(cache, "hello")


def test_the_archive_is_the_machines_own_when_none_is_named(
    archive: DebianArchive, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "debian").symlink_to(tmp_path / "archive")
    sources = tmp_path / "sources.list"
    sources.write_text(
        f"deb copy:{tmp_path}/of-others/debian {SUITE} stable\n"  # a folder of that name is not the archive
        f"deb copy:{tmp_path}/debian {SUITE} main\n"
    )
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::Etc::sourcelist "{sources}"; Dir::Etc::sourceparts "-";')
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    monkeypatch.delenv("DEBIAN_MIRROR")
    assert [package.name for package in fetched(cache, "hello")] == ["hello"]


def test_two_processes_at_once_both_get_everything(archive: DebianArchive, cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from layer.debian import fetch; "
        "print(*(p.sha256 for p in fetch(['hello'], suite=sys.argv[1], architecture='amd64', "
        "cache=Path(sys.argv[2]), with_dependencies=True)))"
    )
    command = [sys.executable, "-c", program, SUITE, str(cache)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with child(command, **options) as one, child(command, **options) as other:
        both = (one, other)
        outputs = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(outputs[0].split()) == 2


def test_unpacking_respects_a_merged_usr(archive: DebianArchive, cache: Path, tmp_path: Path) -> None:
    archive.add("old-style", "1", files=("lib/old-style.so",))
    archive.publish()
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    for package in fetched(cache, "old-style", "hello"):
        unpack(package, root)
    assert (root / "lib").is_symlink()
    assert (root / "usr/lib/old-style.so").read_text() == "lib/old-style.so"
    assert (root / "usr/bin/hello").exists()


def test_unpacking_a_damaged_package_says_which(archive: DebianArchive, cache: Path, tmp_path: Path) -> None:
    (package,) = fetched(cache, "hello")
    package.path.write_bytes(b"half a pack")
    with pytest.raises(DebianError, match=r"hello_1%3a2\.0-1_all\.deb cannot be unpacked"):
        unpack(package, tmp_path / "root")


class TestSuitesBesideTheReleases:
    """A stable release has updates and security updates, each in an archive that may lack a file."""

    @pytest.fixture
    def security(
        self, archive: DebianArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[DebianArchive]:
        security = DebianArchive(tmp_path / "debian-security", f"{SUITE}-security")
        security.add("hello", "1:2.0-1+deb1")
        security.publish()
        both = tmp_path / "both.gpg"
        both.write_bytes(archive.keyring.read_bytes() + security.keyring.read_bytes())
        monkeypatch.setitem(POCKETS, SUITE, (("security", f"{SUITE}-security"),))
        monkeypatch.setenv("DEBIAN_SECURITY_MIRROR", security.url)
        monkeypatch.setenv("KEYRING", str(both))
        yield security
        security.close()

    def test_a_security_update_is_taken(self, security: DebianArchive, cache: Path) -> None:
        assert [package.version for package in fetched(cache, "hello", "greeting")] == ["1.0", "1:2.0-1+deb1"]

    def test_a_package_that_is_gone_from_the_security_archive_is_taken_from_the_next_suite(
        self, security: DebianArchive, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree(tmp_path / "debian-security/pool")
        for _ in range(2):  # the second time out of the cache
            found = fetched(cache, "hello", "greeting")
            assert [package.version for package in found] == ["1.0", "1:2.0-1"]
            said = capsys.readouterr().err
            assert "hello_1%3a2.0-1+deb1_all.deb is not in the archive, though its lists name it" in said
            assert "hello_1%3a2.0-1_all.deb is used instead (DEBIAN_SECURITY_MIRROR can name" in said

    def test_a_package_that_is_gone_everywhere_is_named_with_the_setting(
        self, security: DebianArchive, cache: Path, tmp_path: Path
    ) -> None:
        shutil.rmtree(tmp_path / "debian-security/pool")
        shutil.rmtree(tmp_path / "archive/pool")
        with pytest.raises(DebianError) as raised:
            fetched(cache, "hello")
        assert str(raised.value).startswith("packages cannot be downloaded: hello_1%3a2.0-1+deb1_all.deb: ")
        assert "set DEBIAN_SECURITY_MIRROR to an archive that has it" in str(raised.value)

    def test_a_tampered_update_is_not_replaced_by_an_older_version(
        self, security: DebianArchive, cache: Path, tmp_path: Path
    ) -> None:
        (pooled,) = (tmp_path / "debian-security/pool").glob("hello_*.deb")
        pooled.write_bytes(bytes(pooled.stat().st_size))
        with pytest.raises(DebianError, match=r"packages cannot be downloaded: hello_1%3a2\.0-1\+deb1_all\.deb"):
            fetched(cache, "hello")

    def test_that_no_security_archive_is_known_is_said_once_when_the_lists_are_fetched(
        self, security: DebianArchive, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("DEBIAN_SECURITY_MIRROR")
        monkeypatch.setattr(debian, "_own_mirrors", dict)  # a machine that has other sources than Debian's
        debian._say_once.cache_clear()
        for folder in ("one", "other", "one"):
            fetched(cache / folder, "hello")
        assert capsys.readouterr().err.count("no Debian security archive is known") == 1
        debian._say_once.cache_clear()
        fetched(cache / "one", "hello")
        assert capsys.readouterr().err == "", "a run that fetches nothing has nothing to say"


class TestOneSentenceSaysWhatToDo:
    def test_unsigned_archive(self, archive: DebianArchive, cache: Path) -> None:
        archive.publish(signed=False)
        with pytest.raises(DebianError, match=r"apt-get refuses the archive: .* is not signed; a newer"):
            fetched(cache, "hello")

    def test_foreign_key(
        self, archive: DebianArchive, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = DebianArchive(tmp_path / "other")
        other.close()
        monkeypatch.setenv("KEYRING", str(other.keyring))
        with pytest.raises(DebianError, match="apt-get refuses the archive"):
            fetched(cache, "hello")

    def test_tampered_package(self, archive: DebianArchive, cache: Path, tmp_path: Path) -> None:
        (pooled,) = (tmp_path / "archive/pool").glob("hello_*.deb")
        content = bytearray(pooled.read_bytes())
        content[-1] ^= 1
        pooled.write_bytes(content)
        with pytest.raises(DebianError, match="packages cannot be downloaded"):
            fetched(cache, "hello")
        assert not list(cache.rglob("hello_*.deb"))

    def test_unknown_package(self, archive: DebianArchive, cache: Path) -> None:
        with pytest.raises(DebianError, match=r"Debian sid \(amd64\) cannot give nobody-has-this: Unable to locate"):
            fetched(cache, "nobody-has-this")

    def test_no_keyring(self, archive: DebianArchive, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEYRING", "/nonexistent/keyring.gpg")
        with pytest.raises(DebianError, match=r"no keyring at .*: install the package debian-archive-keyring, or set"):
            fetched(cache, "hello")

    def test_no_debian_in_the_sources(
        self, archive: DebianArchive, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEBIAN_MIRROR", "")
        with pytest.raises(
            DebianError,
            match=r"no Debian archive .*, as on Ubuntu: install .* `make layers-in-container`",
        ):
            fetched(cache, "hello")

    def test_no_apt_get(self, archive: DebianArchive, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as without:
            without.setenv("PATH", "/nonexistent")
            with pytest.raises(DebianError, match="no apt-get on this machine: run this on Debian or Ubuntu"):
                fetched(cache, "hello")


def _age(cache: Path) -> None:
    """Make the lists look one hour too old."""
    before = time.time() - LISTS_LAST_S - 3600
    os.utime(cache / f"{SUITE}-amd64" / "refreshed", (before, before))
