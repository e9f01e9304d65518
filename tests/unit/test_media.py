# SPDX-License-Identifier: GPL-2.0-or-later
"""The media of a guest: fresh, sparse, or clones of prepared ones that fit."""

from pathlib import Path
from typing import Any

import pytest

from lab.errors import ProfileError
from lab.guest.media import create_media
from lab.profile.disk import disks
from lab.profile.models import Profile

MIB = 2**20


def profile(**namespace: Any) -> Profile:
    device = {"type": "nvme", "serial": "S", "namespaces": ({"size": MIB, **namespace},)}
    return Profile.model_validate({"name": "p", "description": "d", "devices": (device,)})


def test_a_fresh_medium_is_a_hole(tmp_path: Path) -> None:
    create_media(tmp_path, profile(metadata=8))
    found = (tmp_path / "S-1.raw").stat()
    assert (found.st_size, found.st_blocks) == (MIB // 512 * 520, 0)


def test_protection_information_starts_as_unchecked(tmp_path: Path) -> None:
    create_media(tmp_path, profile(metadata=8, pi=1))
    data = (tmp_path / "S-1.raw").read_bytes()
    assert data == bytes(MIB) + b"\xff" * (MIB // 512 * 8)


def test_a_prepared_medium_is_cloned_and_never_written(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    prepared.write_bytes(b"x" * MIB)
    (tmp_path / "guest").mkdir()
    create_media(tmp_path / "guest", profile(medium=str(prepared)))
    medium = tmp_path / "guest/S-1.raw"
    assert medium.read_bytes() == prepared.read_bytes()
    assert not medium.samefile(prepared)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"short", "5 bytes; the medium of S has 1048576 bytes")],
)
def test_a_prepared_medium_must_fit(tmp_path: Path, content: bytes | None, said: str) -> None:
    prepared = tmp_path / "prepared"
    if content is not None:
        prepared.write_bytes(content)
    with pytest.raises(ProfileError, match=said):
        create_media(tmp_path, profile(medium=str(prepared)))


def test_a_namespace_has_a_short_name_only_when_it_is_alone() -> None:
    def names(*namespaces: dict[str, Any]) -> list[tuple[str, str]]:
        device = {"type": "nvme", "serial": "S", "namespaces": namespaces}
        found = Profile.model_validate({"name": "p", "description": "d", "devices": (device,)})
        return [(disk.ref, disk.alias) for disk in disks(found)]

    assert names({"size": MIB}) == [("S:1", "S")]
    assert names({"size": MIB}, {"size": MIB, "nsid": 7}) == [("S:1", "S:1"), ("S:7", "S:7")]
