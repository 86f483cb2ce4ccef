"""``PYTHON_DIST``: a layer from a directory or tarball with an interpreter in it.

The interpreter is Debian 12's, laid out as python-build-standalone lays out its own: libraries inside, found from where
the files are. It needs the C library 2.36, newer than Lambda's, and is refused as it should be; where the rest is
tested, the limit is raised to 2.36.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from layer import build, elf, interpreter, recipe
from layer.debian import fetch
from layer.dist import Dist, architectures
from layer.failures import LayerError

from .conftest import PYTHON, runner, way_into

USE = "import fairlead.main, sqlite3, ssl, sys; assert ssl.OPENSSL_VERSION; print(sys.version_info[:2], sys.prefix)"


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory, architecture: recipe.Architecture) -> Path:
    """A directory with bin/python3.11 and lib/python3.11, and what these need in lib/."""
    if not shutil.which("apt-get"):
        pytest.skip("the interpreter is made of Debian packages, and this machine has no apt-get")
    folder = tmp_path_factory.mktemp("distribution")
    debian = folder / "debian"
    downloads = build.PLACES.packages
    packages = fetch(
        ["python3.11"], suite="bookworm", architecture=architecture.debian, cache=downloads, with_dependencies=True
    )
    interpreter.unpack_all([package for package in packages if package.name != "libc6"], debian)
    root = folder / "python"
    (root / "bin").mkdir(parents=True)
    shutil.copy(debian / "usr/bin/python3.11", root / "bin")
    shutil.copytree(debian / "usr/lib/python3.11", root / "lib/python3.11")
    shutil.copy(debian / "usr/share/doc/libpython3.11-minimal/copyright", root / "lib/python3.11/LICENSE.txt")
    for library in (debian / "usr/lib" / architecture.triplet).glob("*.so*"):
        shutil.copy(library, root / "lib")
    for path, _ in list(elf.files(root)):
        up = "../" * (len(path.parent.relative_to(root).parts))
        elf._patchelf("--force-rpath", "--set-rpath", f"$ORIGIN/{up}lib", str(path))
    return root


@pytest.fixture
def as_if_lambda_had_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf, "SYSTEM_GLIBC", (2, 36))


@pytest.fixture
def places(tmp_path: Path) -> build.Places:
    return build.Places(tmp_path / "layers", tmp_path / "dist", build.PLACES.packages)


@pytest.mark.integration
class TestDistribution:
    def test_a_tarball_becomes_a_layer_without_a_c_library_of_its_own(
        self,
        distribution: Path,
        architecture: recipe.Architecture,
        places: build.Places,
        as_if_lambda_had_it: None,
        tmp_path: Path,
    ) -> None:
        if not shutil.which("gzip"):
            pytest.skip("tar needs gzip to unpack this, and the machine has none")
        tarball = tmp_path / "python.tar.gz"
        with tarfile.open(tarball, "w:gz") as archive:
            archive.add(distribution, "python")
        layer = build.build(architecture.name, places, build.Choice(dist=str(tarball)))
        result = runner(way_into(layer.tree))(PYTHON, "-ISBXutf8", "-c", USE, environment={"PATH": "/usr/bin:/bin"})
        assert (result.stdout, result.returncode) == ("(3, 11) /opt/fairlead\n", 0), result.stderr
        assert not list((layer.tree / "fairlead/lib").glob("ld-linux*"))
        assert not list((layer.tree / "fairlead/lib/python3.11").rglob("*.py"))
        manifest = json.loads((layer.tree / build.MANIFEST).read_text())
        assert manifest["dist"]["name"] == "python.tar.gz"
        assert list((layer.tree / manifest["dist"]["licence"]).iterdir())

    def test_one_that_needs_a_newer_c_library_than_lambda_has_is_refused(
        self, distribution: Path, architecture: recipe.Architecture, places: build.Places
    ) -> None:
        with pytest.raises(LayerError, match=r"bin/python3 needs the C library 2\.3\d, and Lambda has 2\.34"):
            build.build(architecture.name, places, build.Choice(dist=str(distribution)))

    def test_a_library_that_is_not_inside_is_named(
        self,
        distribution: Path,
        architecture: recipe.Architecture,
        places: build.Places,
        as_if_lambda_had_it: None,
        tmp_path: Path,
    ) -> None:
        copy = shutil.copytree(distribution, tmp_path / "copy", symlinks=True)
        (copy / "lib/libexpat.so.1").unlink()
        with pytest.raises(LayerError, match=r"bin/python3 needs libexpat\.so\.1, which is not where it looks"):
            build.build(architecture.name, places, build.Choice(dist=str(copy)))

    def test_one_for_another_processor_is_refused(self, distribution: Path, architecture: recipe.Architecture) -> None:
        other = next(each for each in recipe.ARCHITECTURES.values() if each != architecture)
        with pytest.raises(LayerError, match=f"is for {architecture.machine}, and the layer for {other.machine}:"):
            Dist(str(distribution), other, Path())

    def test_without_an_architecture_its_own_is_built(
        self, distribution: Path, architecture: recipe.Architecture
    ) -> None:
        assert architectures(str(distribution)) == [architecture.name]
        assert architectures("/somewhere/python-{architecture}.tar.gz") == ["x86_64", "arm64"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param((), r"has no bin/python3\.X with lib/python3\.X beside bin", id="nothing-in-it"),
        pytest.param(
            ("bin/python3.9", "lib/python3.9/os.py"), r"is python3\.9, and Fairlead needs Python 3\.11", id="too-old"
        ),
        pytest.param(("bin/python3.13", "lib/python3.13/os.py"), "is not an ELF file", id="a-script"),
    ],
)
def test_what_is_no_distribution_is_refused(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("#!/bin/sh\n")
    with pytest.raises(LayerError, match=message):
        Dist(str(tmp_path), recipe.ARCHITECTURES["x86_64"], tmp_path / "parts")
