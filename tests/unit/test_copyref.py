# SPDX-License-Identifier: GPL-2.0-or-later
"""copyref: what the driver, the guest's scripts and the host say of each other; its building."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from lab.artifacts import cache, kernel, module
from lab.artifacts.cache import Progress
from lab.artifacts.kernels import external, names
from lab.errors import BuildError, ProfileError, UsageError
from lab.profile.layers import OWN, BaseLayer, Node
from lab.profile.layers.copyref import FAULTS, NAME
from lab.profile.layers.kinds import Layer
from lab.profile.load import load
from tests import ROOT
from tests.unit import test_guest_copies, test_layers_guest
from tests.unit.builders import kernel_tree, quiet

DRIVER = ROOT / "images/kernel/modules/copyref"
LAYERS: TypeAdapter[BaseLayer] = TypeAdapter(Layer)
KEYS = {"name": "model", "type": "copyref", "over": "xfs", "size": "64M"}

copyrefs = test_guest_copies.load("copyrefs")
layer_in_guest = test_layers_guest.load("copyref")


def layer(**keys: Any) -> BaseLayer:
    return LAYERS.validate_json(json.dumps({**KEYS, **keys}))


def in_guest(**keys: Any) -> Any:
    """The layer as the guest has it, from the model's JSON."""
    return layer_in_guest.Copyref(layer(**keys).model_dump(mode="json", by_alias=True))


def source(name: str) -> str:
    return (DRIVER / name).read_text()


# --- what is said on both sides -----------------------------------------------------------


def test_the_guest_and_the_driver_speak_of_one_ioctl() -> None:
    header = source("copyref.h")
    (magic, number) = re.findall(r"_IOWR\((0x\w+), (\d+), struct copyref_copy\)", header)[0]
    # include/uapi/asm-generic/ioctl.h: direction, size, type, number
    command = 3 << 30 | copyrefs.COPY.size << 16 | int(magic, 16) << 8 | int(number)
    assert command == copyrefs.COPYREF_COPY
    bits = {"__u64": "Q", "__u32": "I"}
    for struct, packed in (("range", copyrefs.RANGE), ("copy", copyrefs.COPY)):
        body = re.findall(rf"struct copyref_{struct} {{(.*?)^}};", header, re.DOTALL | re.MULTILINE)
        fields = re.findall(r"^\t(__u\d\d) ", body[0], re.MULTILINE)
        assert "<" + "".join(bits[field] for field in fields) == packed.format
    assert int(re.findall(r"COPYREF_DURABLE\s+(\w+)", header)[0], 0) == copyrefs.DURABLE


def test_profiles_know_every_fault_of_the_driver() -> None:
    table = source("fault.c").partition("fault_names[] = {")[2].partition("};")[0]
    named = re.findall(r'"([a-z-]+)"', table)
    kinds = re.findall(r"^\tFAULT_(\w+),", source("internal.h"), re.MULTILINE)
    assert named == [kind.lower().replace("_", "-") for kind in kinds]
    assert named == ["none", *FAULTS]


def test_profiles_know_how_long_a_name_may_be() -> None:
    assert f"#define COPYREF_NAME\t\t{NAME}\n" in source("internal.h")
    assert source("disk.c").count(f'"%{NAME}s') == 2


def test_no_file_of_the_driver_grows_long() -> None:
    for file in DRIVER.glob("*.[ch]"):
        assert len(file.read_text().splitlines()) <= 600, file


def test_the_driver_is_as_long_as_its_page_says() -> None:
    """All of it together was to have 600 lines, and has more."""
    total = sum(len(file.read_text().splitlines()) for file in DRIVER.iterdir())
    page = (ROOT / "docs/copyref.md").read_text()
    assert f"(`wc -l images/kernel/modules/copyref/*`: {total})" in page
    parts = re.search(r"(\d+) are what is done wrong on purpose.*?(\d+) are .*?"
                      r"(\d+) are the rest", page, re.DOTALL)  # fmt: skip
    assert parts and sum(map(int, parts.groups())) == total


def test_a_disk_is_known_before_its_attributes_can_be_written_to() -> None:
    """They look at it where the kernel has copies as bios, and a write may come at once."""
    adds = source("disk.c").partition("static int copyref_add_disk")[2].partition("\n}")[0]
    before, _, after = adds.partition("device_add_disk(")
    assert "ref->disk = disk;" in before
    assert "ref->disk = NULL;" in after


KBUILD = """\
srctree := {out}
src := {sources}
obj := {out}
CC := {compiler}
include {sources}/Kbuild
all:
\t@echo objects $(copyref-y)
\t@echo flags $(ccflags-y)
"""


@pytest.mark.parametrize(
    ("takes", "named"), [(True, True), (False, False), (False, True)],
)  # fmt: skip
def test_the_block_layers_copies_are_taken_where_that_compiles(
    tmp_path: Path, takes: bool, named: bool
) -> None:
    """No version says whether a kernel has them.  What is tried is what is compiled later; and
    where a kernel has such copies, and not as bios.c expects, that stays there to be told."""
    header = tmp_path / "include/linux/blk_types.h"
    header.parent.mkdir(parents=True)
    header.write_text("\tREQ_OP_COPY_SRC = 18,\n" if named else "\tREQ_OP_LAST = 36,\n")
    compiler, asked = tmp_path / "cc", tmp_path / "asked"
    compiler.write_text(f'#!/bin/sh\necho "$@" >>{asked}\necho said >&2\n{str(takes).lower()}\n')
    compiler.chmod(0o755)
    makefile = tmp_path / "Makefile"
    makefile.write_text(KBUILD.format(sources=DRIVER, out=tmp_path, compiler=compiler))
    said = subprocess.run(
        ["make", "-s", "-f", makefile], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    objects, flags = (line.split()[1:] for line in said.splitlines())
    assert objects == ["disk.o", "fault.o", *(["bios.o"] if takes else [])]
    (tried,) = asked.read_text().splitlines()
    assert flags == (["-DCOPYREF_BIOS"] if takes else [])
    assert "-DCOPYREF_BIOS" in tried.split()
    assert f"{DRIVER}/bios.c" in tried.split()
    left_out = [path.read_text() for path in tmp_path.glob("*.left-out")]
    assert left_out == (["said\n"] if named and not takes else [])


# --- the layer ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"size": "64M", "block_size": 8192}, "block_size"),
        ({"size": 4097}, "not whole blocks"),
        ({"name": "a" * 21}, "at most 20 characters"),
        ({"fault": "explode"}, "one of fail, short"),
        ({"fault": "drop two"}, "such as 'drop 2'"),
    ],
)
def test_what_a_profile_cannot_ask_for(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    profile = tmp_path / "own.yaml"
    document = {
        "description": "a test",
        "devices": [{"type": "nvme", "serial": "A", "namespaces": [{"size": "512M"}]}],
        "layers": [{"name": "xfs", "type": "xfs", "over": "A"}, {**KEYS, **keys}],
    }
    profile.write_text(json.dumps(document))
    with pytest.raises(ProfileError, match=re.escape(said)):
        load(str(profile), [])


def test_it_offers_a_disk_of_its_blocks() -> None:
    assert list(layer().offers([Node("xfs", "directory")])) == [
        Node("model", "block", 64 << 20, 4096)
    ]
    with pytest.raises(ValidationError):
        layer(over=7)


def test_the_driver_is_told_its_limits_in_bytes() -> None:
    assert in_guest(copy={"msrc": 3, "mssrl": 5, "mcl": 7}).limits() == "3 20480 28672"
    small = in_guest(copy={"msrc": 1, "mssrl": 5, "mcl": 5}, block_size=512)
    assert small.limits() == "1 2560 2560"
    assert in_guest(copy="none").limits() == "1 0 0"


# --- the module ---------------------------------------------------------------------------


def built_tree(place: Path, recipe: str) -> Path:
    """A directory in which `make modules` does something with the sources in M."""
    place.mkdir()
    (place / "Makefile").write_text(f"modules:\n\t{recipe}\n")
    return place


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    place = tmp_path / "hello"
    place.mkdir()
    (place / "hello.c").write_text("int hello = 1;\n")
    return place


needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")


@needs_compiler
def test_a_tree_compiles_a_module_beside_its_sources(tmp_path: Path, sources: Path) -> None:
    tree = built_tree(tmp_path / "tree", "gcc -g -c $(M)/hello.c -o $(M)/hello.ko")
    external.by_tree(tree, sources, "hello", quiet)
    made = subprocess.run(
        ["objdump", "-h", sources / "hello.ko"], check=True, capture_output=True, text=True
    ).stdout
    assert ".data" in made and ".debug_info" not in made


@needs_compiler
def test_a_module_that_does_not_compile_is_quoted(tmp_path: Path, sources: Path) -> None:
    (sources / "hello.c").write_text("int hello = nothing;\n")
    tree = built_tree(tmp_path / "tree", "gcc -c $(M)/hello.c -o $(M)/hello.ko")
    with pytest.raises(BuildError, match="the module hello does not build") as caught:
        external.by_tree(tree, sources, "hello", quiet)
    assert re.search("error: .nothing. undeclared", caught.value.detail)


@needs_compiler
def test_a_module_that_is_not_made_is_none(tmp_path: Path, sources: Path) -> None:
    with pytest.raises(BuildError, match="does not build"):
        external.by_tree(built_tree(tmp_path / "tree", "true"), sources, "hello", quiet)


def test_what_is_done_among_the_headers_tells_how_it_ended(tmp_path: Path) -> None:
    script = external._script("linux-headers-6.12", str(tmp_path), "hello")
    subprocess.run(["sh", "-c", script], check=True, timeout=60)
    assert int((tmp_path / "build.status").read_text()) != 0
    assert "linux-headers-6.12" in (tmp_path / "build.log").read_text()


def test_a_kernel_without_headers_says_what_else_would_do(tmp_path: Path) -> None:
    from lab.artifacts.kernels.image import KernelImage

    image = KernelImage(image=tmp_path / "vmlinuz", modules=tmp_path)
    with pytest.raises(UsageError, match="its headers are not here"):
        image.build_module("copyref", tmp_path, "6.12", quiet)


class Headers:
    """Where a module comes from that is made without a part."""

    deadline = 60.0

    def build_module(self, name: str, sources: Path, release: str, progress: Progress) -> None:
        (sources / f"{name}.ko").write_text(release)
        (sources / "bios.left-out").write_text(
            "In file included from bios.c:9:\n"
            "bios.c:14:5: error: 'struct queue_limits' has no member named 'max_copy'\n"
        )


def test_what_a_module_is_without_is_told_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "resolve", lambda name: Headers())
    nothing = Path("nothing")
    one = kernel.Kernel("own", "k", "7.3", nothing, nothing, nothing, nothing)
    for _ in range(2):
        told: list[str] = []
        made = module.ensure_module("copyref", one, told.append)
        assert made.read_text() == "7.3"
        (line,) = (each for each in told if "without" in each)
        assert line.startswith("module copyref: without bios.c, which does not compile")
        assert "has no member named 'max_copy'" in line
        assert str(made.with_name("bios.left-out")) in line


def test_a_module_goes_with_its_kernel_and_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {one.name for one in module.of_kernel("k")} >= {"copyref"}
    assert set(module.of_kernel("k")).isdisjoint(module.of_kernel("other"))
    before = module._inputs("copyref", "k")
    changed = {**before, "disk.c": before["disk.c"] + "\n"}
    addresses = {cache.address(module.KIND, "copyref", each).key for each in (before, changed)}
    assert len(addresses) == 2


def test_a_module_of_a_kernel_that_is_gone_is_not_kept(tmp_path: Path) -> None:
    tree = kernel_tree(tmp_path / "linux")
    assert tree.is_dir()
    old = next(module.of_kernel("gone"))
    old.path.mkdir(parents=True)
    (old.path / cache.MANIFEST).write_text(
        json.dumps({
            "kind": module.KIND, "name": old.name, "key": old.key, "built": "", "size": 0,
            "versions": {"kernel": "gone"},
        })
    )  # fmt: skip
    assert old in kernel.superseded(quiet)


def test_layers_ask_for_the_modules_that_there_are() -> None:
    asked = {name for kind in OWN for name in kind.kernel_modules}
    assert asked == {each.parent.name for each in DRIVER.parent.glob("*/Kbuild")}
