# SPDX-License-Identifier: GPL-2.0-or-later
"""The stack as a tree: what stands on what, where it is, and what was found there."""

from io import StringIO

from rich.console import Console

from lab.cli.stack import StackListing, tree
from lab.guest.stack import Capability, StackPart
from lab.profile.load import load
from lab.profile.models import Profile
from lab.vm.support import MissingFeature

PROFILE = Profile.model_validate(
    {
        "name": "p",
        "description": "a [stack]\nin two lines",
        "devices": (
            {
                "type": "nvme",
                "serial": "S",
                "controllers": 2,
                "namespaces": ({"size": 2**26}, {"size": 2**24, "metadata": 8, "pi": 1}),
            },
        ),
        "layers": (
            {"name": "sums", "type": "dm-integrity", "over": "S:1"},
            {"name": "safe", "type": "dm-crypt", "over": "sums"},
            {"name": "log", "type": "dm-log-writes", "over": "safe", "log": "S:2"},
            {"name": "dust", "type": "dm-dust", "over": "log", "required": False},
            {"name": "other", "type": "null-blk", "size": 2**23},
        ),
        "peer": {"layers": ({"name": "far", "type": "null-blk", "size": 2**23},)},
    }
)

PARTS = (
    StackPart(event="disk", name="S:1", status="up", devices={"": "/dev/nvme0n1"}),
    StackPart(
        event="layer",
        name="sums",
        status="up",
        devices={"": "/dev/mapper/sums"},
        size=60 << 20,
        capabilities=(
            Capability(capability="table", supported=True, said=f"crypt {'0' * 64} 0"),
            Capability(capability="discard", supported=True),
            Capability(capability="copy_file_range", supported=False, said="EINVAL"),
            Capability(capability="NVMe Copy", supported=None, said="not tried"),
            Capability(capability="write zeroes", supported=False, said="not zero", wrong=True),
        ),
    ),
    StackPart(
        event="layer", name="dust", status="not supported", tried="modprobe", said="not found"
    ),
)


def drawn(
    *parts: StackPart,
    width: int = 100,
    profile: Profile = PROFILE,
    missing: tuple[MissingFeature, ...] = (),
) -> list[str]:
    """The lines of the tree."""
    out = StringIO()
    Console(file=out, width=width, highlight=False).print(
        tree(profile, StackListing(parts, missing))
    )
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_layers_hang_below_what_they_stand_on() -> None:
    assert drawn() == [
        "p: a [stack] in two lines",
        "├── machine: 2 CPUs, 1G memory, network none",
        "├── guest: image trixie, kernel debian, nvme_io_timeout 3600s",
        "├── S:1  nvme, 64M, blocks of 512 bytes",
        "│   ├── controller: mdts 7, controllers 2",
        "│   ├── copy: msrc 128 ranges, mssrl 128 blocks, mcl 128 blocks",
        "│   └── sums  dm-integrity",
        "│       └── safe  dm-crypt",
        "│           └── log  dm-log-writes, log S:2",
        "│               └── dust  dm-dust, not required",
        "├── S:2  nvme, 16M, blocks of 512+8 bytes",
        "│   ├── copy: msrc 128 ranges, mssrl 128 blocks, mcl 128 blocks",
        "│   ├── pi 1",
        "│   └── → log",
        "├── other  null-blk, 8M",
        "└── peer, at the other end of a private link",
        "    ├── machine: 2 CPUs, 1G memory, network none",
        "    ├── guest: image trixie, kernel debian, nvme_io_timeout 3600s",
        "    └── far  null-blk, 8M",
    ]


def test_what_was_found_stands_beside_it() -> None:
    lines = drawn(*PARTS)
    assert "├── S:1  nvme, 64M, blocks of 512 bytes  /dev/nvme0n1" in lines
    at = lines.index("│   └── sums  dm-integrity, 60M  /dev/mapper/sums")
    assert lines[at + 1 : at + 5] == [
        "│       ├── table: crypt (key) 0",
        "│       ├── WRONG: write zeroes: not zero",
        "│       ├── works: discard",
        "│       ├── not supported: copy_file_range",
    ]
    assert any(
        "dust  dm-dust, not required  not supported: modprobe: not found" in x for x in lines
    )


def test_the_path_that_a_profile_says_is_told() -> None:
    assert drawn(profile=load("dm-kcopyd"))[-1] == "└── path: dm-kcopyd"
    placed = drawn(profile=load("nvme-cross-namespace"))
    assert placed[-1] == "└── path: nvme-cross-ns on LABNVME0:2"


def test_it_fits_the_terminal() -> None:
    assert all(len(line) <= 60 for line in drawn(*PARTS, width=60))


NEW = Profile.model_validate(
    {
        "name": "new",
        "description": "what not every QEMU has",
        "devices": (
            {
                "type": "nvme",
                "serial": "N",
                "atomic": {"awun": 8},
                "namespaces": (
                    {
                        "size": 2**26,
                        "zoned": {
                            "zone_size": 2**22,
                            "zrwa": {"size": 2**16, "flush_granularity": 2**14, "resources": 4},
                        },
                    },
                    {"size": 2**24},
                ),
            },
        ),
    }
)


def test_what_this_qemu_lacks_is_told_instead_of_drawn() -> None:
    window = "│   └── ZRWA: 64K, flushed by 16K, in 4 zones at once"
    lines = drawn(profile=NEW)
    assert window in lines
    assert "│   ├── controller: mdts 7, atomic awun 8" in lines
    lacks = (MissingFeature("N", "atomic", "no"), MissingFeature("N", "zoned.zrwa", "no"))
    lines = drawn(profile=NEW, missing=lacks)
    assert "│   ├── controller: mdts 7" in lines
    assert [line for line in lines if "zrwa" in line.lower()] == [
        "│   └── this QEMU has no: atomic, zoned.zrwa"
    ]
