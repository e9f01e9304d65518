# SPDX-License-Identifier: GPL-2.0-or-later
"""Tar files that claim more than they have: refused by their heads, and holes stay holes."""

import gzip
import io
import lzma
import os
import tarfile
from pathlib import Path

import pytest

from lab.errors import HostError, UsageError
from lab.results.bundle import read, unpack
from lab.results.tarred import Bounds

SMALL = Bounds(spare=0)
_MAGIC = b"ustar  \0"


def head(kind: bytes, size: int, name: str = "lab-x/log") -> bytearray:
    """A head as GNU tar writes it, without its sum."""
    found = bytearray(tarfile.BLOCKSIZE)
    found[: len(name)] = name.encode()
    found[100:108] = b"0000644\0"
    found[124:136] = number(size)
    found[156:157] = kind
    found[257:265] = _MAGIC
    return found


def number(value: int) -> bytes:
    """Eleven octal digits, or base 256 where they are too few (tar's manual, 15.1)."""
    octal = b"%011o\0" % value
    return octal if len(octal) == 12 else b"\x80" + value.to_bytes(11, "big")


def summed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def sparse(real: int, data: bytes = b"") -> bytes:
    """A file of so many bytes that has nothing but data at its end, in the old format of GNU."""
    block = head(tarfile.GNUTYPE_SPARSE, len(data))
    block[386:398], block[398:410] = number(real - len(data)), number(len(data))
    block[483:495] = number(real)
    return summed(block) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content + bytes(1024))
    return path


def refused(path: Path, said: str, bounds: Bounds = SMALL) -> None:
    """Neither read nor unpacked, and nothing is left of it."""
    target = path.with_name("out")
    target.mkdir()
    for take in (read, lambda path: unpack(path, target, bounds)):
        with pytest.raises(UsageError, match=said):
            take(path)
    assert list(target.iterdir()) == []


def test_a_file_that_claims_terabytes_is_refused_by_its_head(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_bytes(gzip.compress(sparse(8 << 40) + bytes(1024)))
    assert path.stat().st_size < 400
    refused(path, "makes it too large: 8796093022208 bytes")


def test_all_files_together_have_a_bound(tmp_path: Path) -> None:
    heads = [summed(head(tarfile.REGTYPE, 0, f"lab-x/{k}")) for k in range(2)]
    path = written(tmp_path / "b.tar", b"".join(heads) + sparse(1 << 20))
    assert unpack(path, tmp_path, Bounds(total=1 << 20, spare=0))
    with pytest.raises(UsageError, match="too large"):
        unpack(path, tmp_path, Bounds(total=(1 << 20) - 1, spare=0))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_name_without_an_end_is_not_kept(tmp_path: Path, kind: bytes) -> None:
    refused(written(tmp_path / "b.tar", summed(head(kind, 1 << 40))), "its heads have no end")


def test_a_map_of_holes_without_an_end_is_not_kept(tmp_path: Path) -> None:
    first = head(tarfile.GNUTYPE_SPARSE, 0)
    first[482], first[483:495] = 1, number(512)
    more = bytearray(tarfile.BLOCKSIZE)
    more[504] = 1
    path = written(tmp_path / "b.tar", summed(first) + bytes(more) * 64)
    with pytest.raises(UsageError, match="its heads have no end"):
        unpack(path, tmp_path, Bounds(heads=1 << 14))


def test_heads_upon_heads_are_no_traceback(tmp_path: Path) -> None:
    name = summed(head(tarfile.GNUTYPE_LONGNAME, 512)) + b"x" * 512
    refused(written(tmp_path / "b.tar", name * 2000), "no bundle of a run")


def test_a_hole_stays_one(tmp_path: Path) -> None:
    path = written(tmp_path / "b.tar", sparse(1 << 30, b"at the end"))
    # Where a hole took room, there would be none.
    unpack(path, tmp_path, SMALL)
    found = tmp_path / "log"
    assert found.stat().st_size == 1 << 30
    assert found.stat().st_blocks * 512 < 1 << 20
    with found.open("rb") as file:
        file.seek(-12, os.SEEK_END)
        assert file.read() == b"\0\0at the end"


def test_without_room_nothing_is_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path / "b.tar", sparse(1 << 30, b"at the end"))
    with pytest.raises(HostError, match="MiB needed to unpack"):
        unpack(path, tmp_path, Bounds(spare=1 << 62))
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("name", ["lab-x/a\0b", "lab-x/" + "n" * 300, "lab-x/a/b", "lab-x"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "b.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("lab-x/a"), io.BytesIO())
        member = tarfile.TarInfo("lab-x/short")
        member.pax_headers = {"path": name}
        tar.addfile(member, io.BytesIO())
    refused(path, "has no place in one")


def test_a_document_too_large_to_be_read_is_refused(tmp_path: Path) -> None:
    block = head(tarfile.REGTYPE, 1 << 30, "lab-x/operations.json")
    refused(written(tmp_path / "b.tar", summed(block)), "has no place in one")


def test_damage_of_any_packing_is_told(tmp_path: Path) -> None:
    content = bytearray(lzma.compress(sparse(1 << 20, b"x" * 4096)))
    content[40:60] = bytes(20)
    path = tmp_path / "b.tar.xz"
    path.write_bytes(content)
    refused(path, "no bundle of a run")
