# SPDX-License-Identifier: GPL-2.0-or-later
"""cpio archives: what is put in is what the kernel's format says, and comes out again."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.artifacts.initramfs import ArchiveEntry, archive, early, static_nodes

_NAME = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1)
_PART = _NAME.filter(lambda name: name not in (".", "..", "TRAILER!!!"))
_PERMISSIONS = st.integers(0, 0o7777)
_ENTRY = st.one_of(
    st.builds(ArchiveEntry.file, st.binary(max_size=50), _PERMISSIONS),
    st.builds(ArchiveEntry.directory, _PERMISSIONS),
    st.builds(ArchiveEntry.symlink, _NAME),
    st.builds(
        ArchiveEntry.node, st.sampled_from("bc"), st.integers(0, 4095), st.integers(0, 2**20 - 1)
    ),
)
_FILES = st.dictionaries(st.lists(_PART, min_size=1, max_size=3).map("/".join), _ENTRY, max_size=8)


def read(data: bytes) -> dict[str, ArchiveEntry]:
    """Read concatenated archives the way init/initramfs.c does: later files replace earlier."""
    files: dict[str, ArchiveEntry] = {}
    at = 0
    while at < len(data):
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        body = at + (110 + name_size + 3) // 4 * 4
        at = (body + size + 3) // 4 * 4
        if name != b"TRAILER!!!\0":
            device = (fields[9], fields[10])
            files[name[:-1].decode()] = ArchiveEntry(data[body : body + size], mode, device)
    return files


@given(_FILES)
def test_what_is_put_in_comes_out(files: dict[str, ArchiveEntry]) -> None:
    found = read(archive(files))
    assert {path: found[path] for path in files} == files


@given(_FILES)
def test_directories_come_before_what_is_in_them(files: dict[str, ArchiveEntry]) -> None:
    seen = {"."}
    for path, entry in read(archive(files)).items():
        assert str(Path(path).parent) in seen
        seen.add(path)
        if path not in files:
            assert stat.S_ISDIR(entry.mode)


@given(_FILES, _FILES)
def test_archives_concatenate(
    first: dict[str, ArchiveEntry], second: dict[str, ArchiveEntry]
) -> None:
    both = archive(first) + archive(second)
    assert len(archive(first)) % 4 == 0
    found = read(both)
    assert {path: found[path] for path in second} == second


def test_cpio_unpacks_it(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not installed")
    files = {
        "bin/run": ArchiveEntry.file(b"#!/bin/sh\n", 0o755),
        "bin/alias": ArchiveEntry.symlink("run"),
        "empty": ArchiveEntry.file(b""),
        "odd": ArchiveEntry.file(b"12345", 0o600),
    }
    unpack = ["cpio", "-idm", "--quiet", "--no-preserve-owner"]
    done = subprocess.run(
        unpack, input=archive(files), cwd=tmp_path, check=True, capture_output=True
    )
    assert done.stderr == b""
    assert (tmp_path / "bin/run").stat().st_mode == stat.S_IFREG | 0o755
    assert (tmp_path / "bin/alias").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "odd").read_bytes() == b"12345"
    assert (tmp_path / "odd").stat().st_mode == stat.S_IFREG | 0o600


def test_the_shared_initramfs_has_what_init_early_looks_for() -> None:
    scripts = {"init-early": b"early", "init": b"root"}
    lists = {"root": ["b-c.ko", "a.ko"], "later": []}
    nodes = {"net/tun": ArchiveEntry.node("c", 10, 200)}
    made = early(b"busybox", scripts, {"a.ko": b"A", "b-c.ko": b"B"}, lists, nodes)
    files = read(made)
    assert files["init"] == ArchiveEntry.file(b"early", 0o755)
    assert files["init-root"] == ArchiveEntry.file(b"root", 0o755)
    # File and name: parameters are those of a name.
    assert files["modules/root"].data == b"b-c.ko b_c\na.ko a\n"
    assert files["modules/later"].data == b""
    assert files["modules/b-c.ko"].data == b"B"
    assert {"dev", "proc", "run", "sys", "root", "nodes"} <= set(files)
    assert files["nodes/net/tun"] == ArchiveEntry.node("c", 10, 200)
    assert stat.S_ISDIR(files["nodes/net"].mode)


DEVNAME = """\
# Device nodes to trigger on-demand module loading.
loop loop-control c10:237
tun net/tun c10:200
floppy fd0 b2:0
half a-line
"""


def test_what_depmod_lists_is_there_before_its_module() -> None:
    assert static_nodes(DEVNAME) == {
        "loop-control": ArchiveEntry(b"", stat.S_IFCHR | 0o600, (10, 237)),
        "net/tun": ArchiveEntry(b"", stat.S_IFCHR | 0o600, (10, 200)),
        "fd0": ArchiveEntry(b"", stat.S_IFBLK | 0o600, (2, 0)),
    }
