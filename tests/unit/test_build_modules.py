# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules: unpacked, and loaded after what they depend on."""

import gzip
import lzma
from pathlib import Path

import pytest

from lab.artifacts import modules
from lab.errors import HostError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "modules.dep").write_text(
        "kernel/fs/erofs.ko: kernel/lib/libcrc32c.ko kernel/crypto/base.ko\n"
        "kernel/lib/libcrc32c.ko: kernel/crypto/base.ko\n"
        "kernel/crypto/base.ko:\n"
        "kernel/crypto/crc32c-intel.ko:\n"
        "kernel/net/virtio_net.ko: kernel/lib/libcrc32c.ko kernel/crypto/base.ko\n"
    )
    (tmp_path / "modules.builtin").write_text("kernel/drivers/block/virtio_blk.ko\n")
    return tmp_path


def order(tree: Path, *needed: str, optional: tuple[str, ...] = ()) -> list[str]:
    return [path.name for path in modules.load_order(tree, needed, optional)]


def test_dependencies_come_first_and_once(tree: Path) -> None:
    expected = ["base.ko", "libcrc32c.ko", "erofs.ko", "virtio_net.ko"]
    assert order(tree, "erofs", "virtio_net") == expected


def test_optional_modules_come_before_what_may_ask_for_them(tree: Path) -> None:
    names = order(tree, "erofs", optional=("crc32c_intel", "crc32c_generic"))
    assert names[0] == "crc32c-intel.ko"
    assert "crc32c_generic.ko" not in names


def test_what_is_built_in_needs_no_file(tree: Path) -> None:
    assert order(tree, "virtio_blk") == []


def test_a_kernel_without_a_needed_module_is_refused(tree: Path) -> None:
    with pytest.raises(HostError, match="no overlay"):
        order(tree, "overlay")


def test_unpacking_replaces_the_packed_file(tmp_path: Path) -> None:
    (tmp_path / "a.ko.xz").write_bytes(lzma.compress(b"first"))
    (tmp_path / "b.ko.gz").write_bytes(gzip.compress(b"second"))
    (tmp_path / "c.ko").write_bytes(b"third")
    modules.unpack(tmp_path)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"a.ko": b"first", "b.ko": b"second", "c.ko": b"third"}


def test_debugging_information_and_signatures_are_no_modules(tmp_path: Path) -> None:
    (tmp_path / "xfs.ko.debug").write_bytes(b"\x7fELF")
    (tmp_path / "xfs.ko.sig").write_bytes(b"x")
    modules.unpack(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["a.ko.xz", "a.ko.gz"])
def test_a_damaged_module_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(HostError, match=f"{name}: a damaged module"):
        modules.unpack(tmp_path)


def put(path: Path, content: bytes = b"module") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names_in(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}


def test_of_a_module_tree_the_modules_are_taken_and_the_lists(tmp_path: Path) -> None:
    source = tmp_path / "6.12.0"
    taken = {"kernel/fs/xfs/xfs.ko", "kernel/a.ko.xz", "kernel/b.ko.zst", "updates/dkms/c.ko.gz",
             "kernel/drivers/source/d.ko", "modules.builtin", "modules.builtin.modinfo",
             "modules.order"}  # fmt: skip
    for name in taken | {"kernel/fs/xfs/xfs.ko.debug", "vmlinuz", "System.map", "vdso/vdso64.so"}:
        put(source / name)
    # Fedora's and NixOS's: files and directories that are links.
    put(tmp_path / "store/net/e.ko")
    (source / "kernel/net").symlink_to(tmp_path / "store/net")
    (source / "kernel/f.ko").symlink_to(tmp_path / "store/net/e.ko")
    (source / "build").symlink_to(tmp_path)
    (source / "source").symlink_to("/no/such")
    assert modules.gather(source, tmp_path / "target") == []
    assert names_in(tmp_path / "target") == taken | {"kernel/net/e.ko", "kernel/f.ko"}
    assert not any(path.is_symlink() for path in (tmp_path / "target").rglob("*"))


def test_links_that_lead_nowhere_or_in_a_circle_are_told(tmp_path: Path) -> None:
    source = tmp_path / "6.12.0"
    put(source / "kernel/a.ko")
    (source / "kernel/gone.ko.xz").symlink_to("/no/such/gone.ko.xz")
    (source / "kernel/README").symlink_to("/no/such/README")
    (source / "kernel/loop").symlink_to(source)
    (source / "kernel/self.ko").symlink_to("self.ko")
    lost = modules.gather(source, tmp_path / "target")
    assert lost == ["kernel/gone.ko.xz", "kernel/loop", "kernel/self.ko"]
    assert names_in(tmp_path / "target") == {"kernel/a.ko"}
