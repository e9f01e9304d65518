"""Modules: unpacked, and loaded after what they depend on."""

import gzip
import lzma
from pathlib import Path

import pytest

from lab.build import modules
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
