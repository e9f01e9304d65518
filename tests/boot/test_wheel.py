# SPDX-License-Identifier: GPL-2.0-or-later
"""The package that people install: built, installed apart from the checkout, and used there."""

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from lab import __version__
from tests import ROOT
from tests.boot.conftest import Lab

NAME = f"copy_offload_lab-{__version__}"
SHIPPED = ("guest-scripts", "images", "profiles")


def call(*argv: str, cwd: Path) -> str:
    """What a command prints on stdout."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{argv}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist of the checkout, and the wheel built of that sdist."""
    place = tmp_path_factory.mktemp("dist")
    build(place)
    return place


def build(place: Path, *options: str) -> None:
    """`python -m build` with what is installed: no network."""
    argv = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), *options]
    call(*argv, str(ROOT), cwd=place)


@pytest.fixture(scope="module")
def environment(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment, outside the checkout, in which the wheel is installed."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(place, symlinks=True)
    python = str(place / "bin/python")
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    wheel = str(dist / f"{NAME}-py3-none-any.whl")
    call(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=dist)
    # What the wheel depends on is that of the tests.  Their lab is none of it: that of the checkout
    # is there by a .pth file, which only counts where Python starts to look.
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{Path(pytest.__file__).parent.parent}\n")
    return place


@pytest.fixture(scope="module")
def installed(environment: Path, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab of the wheel, in a directory that has nothing to do with the checkout."""
    place = tmp_path_factory.mktemp("elsewhere")
    return replace(lab, program=str(environment / "bin/lab"), cwd=place)


def files(directory: Path) -> dict[str, tuple[bytes, bool]]:
    """Content of each file below a directory, and whether it can be executed."""
    return {
        str(path.relative_to(directory)): (path.read_bytes(), os.access(path, os.X_OK))
        for path in directory.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }


def content(wheel: Path) -> dict[str, tuple[bytes, int]]:
    """Content and mode of each file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            one.filename: (archive.read(one), one.external_attr >> 16) for one in archive.infolist()
        }


def package(environment: Path) -> Path:
    """The directory that `import lab` finds in an environment."""
    found = call(
        str(environment / "bin/python"), "-c", "import lab; print(lab.__file__)", cwd=environment
    )
    return Path(found.strip()).parent


def test_nothing_of_the_checkout_is_imported(environment: Path) -> None:
    assert package(environment).is_relative_to(environment)


def test_all_files_of_the_lab_are_installed(environment: Path) -> None:
    found = files(package(environment))
    for name in SHIPPED:
        for path, file in files(ROOT / name).items():
            assert found.pop(f"share/{name}/{path}") == file, path
    assert found == files(ROOT / "lab")


def test_every_directory_that_the_lab_asks_for_is_installed(environment: Path) -> None:
    share = package(environment) / "share"
    text = "".join(path.read_text() for path in (ROOT / "lab").rglob("*.py"))
    asked = set(re.findall(r'share\.directory\("([^"]+)"\)', text))
    assert set(SHIPPED) <= asked
    assert [name for name in asked if not (share / name).is_dir()] == []


def test_the_sdist_gives_the_same_wheel(dist: Path, tmp_path: Path) -> None:
    build(tmp_path, "--wheel")
    wheel = f"{NAME}-py3-none-any.whl"
    assert content(tmp_path / wheel) == content(dist / wheel)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git knows what belongs to the lab")
def test_the_sdist_has_all(dist: Path) -> None:
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        packed = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    tracked = call("git", "ls-files", "--cached", "-z", cwd=ROOT).split("\0")[:-1]
    assert [path for path in tracked if (ROOT / path).is_file() and path not in packed] == []


def test_it_says_its_version(installed: Lab) -> None:
    assert installed("--version").stdout == f"lab {__version__}\n"


def test_profiles_are_those_of_the_checkout(installed: Lab, lab: Lab) -> None:
    listed = [json.loads(one("profile", "list", "--json").stdout) for one in (installed, lab)]
    for row in (row for rows in listed for row in rows):
        row["file"] = Path(row["file"]).name
    assert listed[0] == listed[1] != []
    schema = ROOT / "profiles/profile.schema.json"
    assert installed("profile", "schema").stdout == schema.read_text()


def artifacts() -> set[str]:
    """What is built for guests of nvme-copy; other tests build others meanwhile."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "lab/artifacts"
    key = "?" * 16
    names = (f"image/trixie-{key}", f"kernel/debian-{key}", f"initramfs/debian-{key}")
    return {str(path) for name in names for path in cache.glob(name)}


def test_it_boots_what_the_checkout_built(installed: Lab) -> None:
    built = artifacts()
    assert len({path.split("/")[-2] for path in built}) == 3
    up = json.loads(installed("up", "nvme-copy", "--name", "wheel", "--json", deadline=900).stdout)
    assert installed("ssh", "wheel", "--", "uname", "-r").stdout.strip() == up["kernel"]
    one = ("--points", "write:2", "--actions", "eio")
    installed("run", "nvme-copy", "copy-faults", "--on", "wheel", "--", *one)
    installed("down", "wheel")
    assert artifacts() == built
