# SPDX-License-Identifier: GPL-2.0-or-later
"""Kinds of devices in a profile: what is refused, and with which words."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from lab.problem import dotted
from lab.profile.explain import explain
from lab.profile.models import Profile

MIB = 2**20
BLK = {"type": "virtio-blk", "serial": "B", "size": MIB}
SCSI = {"type": "virtio-scsi", "serial": "C", "size": MIB}
HOST = {"type": "host-block", "serial": "D", "overwrite": "D", "path": "/dev/sdx"}
PCI = {"type": "host-nvme", "serial": "E", "overwrite": "E", "address": "0000:01:00.0"}
NVME: dict[str, Any] = {"type": "nvme", "serial": "A", "namespaces": ({"size": MIB},)}
ZONES = {"zone_size": 2**16}
LARGE_BLOCKS = {"size": MIB, "block_size": 4096}


def profile(*devices: dict[str, Any]) -> Profile:
    return Profile.model_validate({"name": "p", "description": "d", "devices": devices})


def problems(*devices: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a profile of these devices."""
    with pytest.raises(ValidationError) as caught:
        profile(*devices)
    for path, message in explain(caught.value):
        yield f"{dotted(path)}: {message}"


def space(**keys: Any) -> dict[str, Any]:
    """An NVMe device whose only namespace has these keys."""
    return {**NVME, "namespaces": ({"size": MIB, **keys},)}


def test_all_kinds_go_together() -> None:
    assert len(profile(NVME, BLK, SCSI, HOST, PCI).devices) == 5


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ({**BLK, "size": 1000}, "devices[0].size: 1000 B is not whole blocks; expected"),
        ({**BLK, "serial": "x" * 21}, "devices[0].serial: 'xxxxxxxxxxxxxxxxxxxxx' does not fit;"),
        (
            {**SCSI, "serial": "x" * 37},
            "devices[0].serial: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        ({**BLK, "serial": "root"}, "devices[0].serial: 'root' is a disk of the lab's own;"),
        ({**BLK, "medium": "here.raw"}, "devices[0].medium: 'here.raw' does not fit; expected the"),
        ({**HOST, "overwrite": "F"}, "devices[0].overwrite: 'F' is not the serial; expected 'D'"),
        ({**PCI, "overwrite": "e"}, "devices[0].overwrite: 'e' is not the serial; expected 'E'"),
        ({**PCI, "address": "01:00.0"}, "devices[0].address: '01:00.0' does not fit; expected a"),
        (
            {**HOST, "path": "/tmp/file"},
            "devices[0].path: '/tmp/file' does not fit; expected a path",
        ),
        ({**NVME, "controllers": 9}, "devices[0].controllers: 9 is more than 8; expected 1 to 8"),
        (space(pi=1), "devices[0].namespaces[0].metadata: 0 bytes hold no protection information"),
        (space(pi=1, guard=64, metadata=8), "devices[0].namespaces[0].metadata: 8 bytes hold no"),
        (space(extended=True), "devices[0].namespaces[0].extended: there is no metadata;"),
        (space(pi_first=True), "devices[0].namespaces[0].pi_first: there is no protection"),
        (
            {**space(zoned=ZONES), "fdp": {"handles": 1}},
            "devices[0].namespaces[0].zoned: zones and fdp do not go together;",
        ),
        (
            {**NVME, "fdp": {"handles": 1}, "namespaces": ({"size": 2**20}, LARGE_BLOCKS)},
            "devices[0].namespaces[1].block_size: 4096 differs from namespaces[0]; expected 512,",
        ),
        (
            {**NVME, "atomic": {"awun": 1, "awupf": 2}},
            "devices[0].atomic.awupf: 2 is more than awun; expected at most 1 blocks",
        ),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(device: dict[str, Any], said: str) -> None:
    (problem,) = problems(device)
    assert problem.startswith(said)


def test_a_zones_window_fits_into_the_zone() -> None:
    zrwa = {"size": 2**17, "flush_granularity": 3 * 2**12, "resources": 5}
    (problem,) = problems(space(zoned={**ZONES, "zrwa": zrwa}))
    assert problem.startswith("devices[0].namespaces[0].zoned.zrwa.flush_granularity: 12K does not")
    zrwa["flush_granularity"] = 2**12
    found = [*problems(space(zoned={**ZONES, "max_active": 4, "zrwa": zrwa}))]
    assert found == [
        "devices[0].namespaces[0].zoned.zrwa.size: 128K is more than a zone holds; "
        "expected at most 64K",
        "devices[0].namespaces[0].zoned.zrwa.resources: 5 is more than max_active; "
        "expected at most 4",
    ]


def test_a_serial_is_unique_among_all_kinds() -> None:
    (problem,) = problems(NVME, {**BLK, "serial": "A"})
    assert problem.startswith("devices[1].serial: 'A' is already the serial of devices[0];")


def test_there_are_only_so_many_slots() -> None:
    many = [{**NVME, "serial": f"S{number}", "controllers": 8} for number in range(17)]
    assert len(profile(*many[:16]).devices) == 16
    (problem,) = problems(*many)
    assert problem == "devices: 136 controllers do not fit; expected at most 128"
