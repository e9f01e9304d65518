# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel can be called, and what `lab kernel add` makes of its options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.artifacts import cache
from lab.artifacts.kernel import listing, remove
from lab.artifacts.kernels import names
from lab.artifacts.kernels.ask import KernelArguments
from lab.artifacts.kernels.checkout import Checkout
from lab.artifacts.kernels.image import KernelImage
from lab.artifacts.kernels.linux import Linux
from lab.artifacts.kernels.package import KernelPackage
from lab.artifacts.kernels.tree import KernelTree
from lab.errors import HostError, UsageError
from lab.host import dirs
from tests.unit.builders import kernel_tree

NOTHING: dict[str, Any] = {
    "package": None, "tree": None, "image": None, "modules": None, "source_path": None,
    "rev": "", "series": [], "config": [],
}  # fmt: skip


def asked(**given: Any) -> KernelArguments:
    return KernelArguments(**NOTHING | given)


def test_a_kernel_that_ships() -> None:
    assert names.resolve("debian") == KernelPackage(package="linux-image-amd64", suite="trixie")


@pytest.mark.parametrize(
    ("reference", "package", "suite"),
    [
        ("linux-image-cloud-amd64", "linux-image-cloud-amd64", "trixie"),
        ("linux-image-amd64/sid", "linux-image-amd64", "sid"),
        ("linux-image-6.12.9+deb13-amd64/trixie", "linux-image-6.12.9+deb13-amd64", "trixie"),
    ],
)
def test_a_package_of_debian(reference: str, package: str, suite: str) -> None:
    assert names.resolve(reference) == KernelPackage(package=package, suite=suite)


def test_a_directory_is_a_built_tree_wherever_the_lab_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linux").mkdir()
    monkeypatch.chdir(tmp_path)
    reference = names.canonical("linux")
    assert reference == str(tmp_path / "linux")
    assert names.resolve(reference) == KernelTree(tree=tmp_path / "linux")


def test_a_name_goes_before_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "debian").mkdir()
    monkeypatch.chdir(tmp_path)
    assert names.canonical("debian") == "debian"
    assert names.canonical("./debian") == str(tmp_path / "debian")


@pytest.mark.parametrize(
    "reference", ["nope", "/no/such/tree", "vmlinuz", "linux-image-a/b/c", "./" + "long" * 99]
)
def test_anything_else_is_told_what_there_is(reference: str) -> None:
    with pytest.raises(UsageError, match=f"no kernel {reference}.*debian"):
        names.resolve(names.canonical(reference))


def test_what_was_added_is_found_again_and_can_be_forgotten(tmp_path: Path) -> None:
    source = Linux(source=tmp_path, rev="v6.12", series=(tmp_path / "a.mbox",), config=("kasan",))
    names.BOOK.add("mine", source)
    assert names.resolve("mine") == source
    names.forget("mine")
    with pytest.raises(UsageError):
        names.resolve("mine")


def test_what_another_name_has_as_well_is_not_removed(tmp_path: Path) -> None:
    for name, series in (("one", ()), ("patched", (tmp_path / "a.mbox",)), ("same", ())):
        names.BOOK.add(name, Linux(source=tmp_path, series=series))
    checkout = Checkout(tmp_path).directory
    (checkout / "source").mkdir(parents=True)
    built = cache.ensure("kernel", "linux", {}, _built(tmp_path), lambda _: None, room=0)
    for name, left in (("one", (True, True)), ("same", (False, True)), ("patched", (False, False))):
        (kernel,) = (each for each in listing() if each.name == name)
        remove(kernel, lambda _: None)
        assert (built.path.exists(), checkout.exists()) == left


def _built(source: Path) -> Callable[[Path], dict[str, str]]:
    """Fills an artifact as a kernel of these sources does, as far as it is listed."""
    return lambda _: {"source": Linux(source=source).summary}


def test_a_name_keeps_its_meaning(tmp_path: Path) -> None:
    names.BOOK.add("mine", KernelTree(tree=tmp_path))
    names.BOOK.add("mine", KernelTree(tree=tmp_path))
    with pytest.raises(UsageError, match=r"known already.*lab kernel rm mine"):
        names.BOOK.add("mine", KernelTree(tree=tmp_path / "other"))
    with pytest.raises(UsageError, match="known already"):
        names.BOOK.add("debian", KernelTree(tree=tmp_path))


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "-x", "x" * 65])
def test_a_name_is_a_file_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no name for a kernel"):
        names.BOOK.add(name, KernelTree(tree=tmp_path))


def test_a_damaged_definition_is_named() -> None:
    (dirs.state("kernels") / "bad.json").write_text('{"type": "tree"}')
    with pytest.raises(HostError, match=r"(?s)bad\.json.*remove that file"):
        names.resolve("debian")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "one of --package"),
        ({"package": "linux-image-amd64", "tree": Path("/")}, "one of --package"),
        ({"image": Path("/no/such")}, "no such file or directory"),
        ({"modules": Path("/lib"), "tree": Path("/")}, "those of an --image"),
        ({"package": "linux-image-amd64", "series": ["x"]}, "are for --source"),
        ({"package": "Linux Image"}, "no name of a package"),
        ({"tree": Path("/no/such")}, "no such file or directory"),
        ({"source_path": Path("/no/such")}, "no such sources"),
    ],
)
def test_options_that_say_nothing_whole(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked(**given).source("mine")


def test_each_kind_of_source(tmp_path: Path) -> None:
    tree = kernel_tree(tmp_path / "tree")
    modules = tmp_path / "6.12.0"
    modules.mkdir()
    (modules / "modules.builtin").touch()
    patches = tmp_path / "patches"
    patches.mkdir()
    (patches / "0001-a.patch").touch()
    assert asked(package="linux-image-amd64/sid").source("x").summary == "linux-image-amd64/sid"
    assert asked(tree=tree).source("x") == KernelTree(tree=tree)
    image = tree / "vmlinux"
    assert asked(image=image, modules=modules).source("x") == KernelImage(
        image=image, modules=modules
    )
    linux = asked(source_path=tree, rev="v1", series=[str(patches)], config=["kasan"]).source("x")
    assert linux == Linux(source=tree, rev="v1", series=(patches,), config=("kasan",))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"series": ["nothing.mbox"]}, "no such file or directory.*message-id"),
        ({"config": ["kasan", "fast"]}, "no kernel configuration fast.*debug, kasan, .*, lockdep"),
    ],
)
def test_a_source_with_what_is_not_there(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        asked(source_path=tmp_path, **given).source("mine")


def test_a_commit_of_a_git_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "linux/.git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    reference = names.canonical("linux@v6.12~2")
    assert reference == names.commit(tmp_path / "linux", "v6.12~2")
    assert names.resolve(reference) == Linux(source=tmp_path / "linux", rev="v6.12~2")
    with pytest.raises(UsageError, match="no kernel"):
        names.resolve(f"{tmp_path}@v6.12")
