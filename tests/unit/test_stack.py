# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers on disks: what stands on what, and which profiles are refused for it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.problem import InvalidProfileError
from lab.profile.layers import Node
from lab.profile.load import load_file
from lab.profile.models import Profile, stack

DISKS = """\
description: disks to stack on
devices:
- type: nvme
  serial: ONE
  namespaces: [{size: 64M}]
- type: nvme
  serial: TWO
  namespaces:
  - {size: 64M}
  - {size: 32M, block_size: 4096}
- type: nvme
  serial: ZNS
  namespaces: [{size: 64M, block_size: 4096, zoned: {zone_size: 4M}}]
"""


def loaded(directory: Path, layers: str, disks: str = DISKS) -> Profile:
    """The profile with these layers on DISKS."""
    path = directory / "p.yaml"
    path.write_text(disks + "layers:\n" + layers)
    return load_file(path)


def problems(directory: Path, layers: str) -> list[str]:
    """`key: message` of everything that is wrong."""
    with pytest.raises(InvalidProfileError) as caught:
        loaded(directory, layers)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_a_stack_knows_sizes_block_sizes_and_zones(tmp_path: Path) -> None:
    profile = loaded(
        tmp_path,
        """\
- {name: base, type: xfs, over: ONE}
- {name: disk, type: loop, over: base, size: 32M, block_size: 4096, partitions: [8M, 16M]}
- name: joined
  type: dm-linear
  segments: [{over: "disk:1", size: 8M}, {over: "TWO:1", offset: 1M, size: 4M}]
- {name: flaky, type: dm-flakey, over: ZNS}
- {name: zones, type: btrfs, over: flaky}
""",
    )
    nodes = stack(profile).nodes
    assert nodes["ONE"] is nodes["ONE:1"]
    assert nodes["base"] == Node("base", "directory", 64 << 20)
    assert nodes["disk:2"] == Node("disk:2", "block", 16 << 20, 4096, within="disk")
    assert nodes["joined"] == Node("joined", "block", 12 << 20, 4096)
    assert nodes["flaky"].zoned and not nodes["joined"].zoned
    assert nodes["zones"].kind == "directory"


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        pytest.param(
            "- {name: fs, type: xfs, over: THREE}",
            "layers[0].over: nothing is called 'THREE'; "
            "expected one of: ONE:1, ONE, TWO:1, TWO:2, ZNS:1, ZNS",
            id="unknown",
        ),
        pytest.param(
            "- {name: fs, type: xfs, over: disk}\n- {name: disk, type: null-blk, size: 64M}",
            "layers[0].over: 'disk' comes later; expected a disk or a layer above in the file",
            id="later",
        ),
        pytest.param(
            "- {name: fs, type: xfs, over: TWO}",
            "layers[0].over: nothing is called 'TWO'; "
            "expected one of: ONE:1, ONE, TWO:1, TWO:2, ZNS:1, ZNS",
            id="which namespace",
        ),
        pytest.param(
            "- {name: fs, type: xfs, over: ZNS}",
            "layers[0].over: ZNS:1 is zoned; expected one without zones, with this one as rt, or "
            "one with conventional zones",
            id="zoned",
        ),
        pytest.param(
            "- {name: fs, type: ext4, over: ZNS}",
            "layers[0].over: ZNS is zoned; expected one without zones",
            id="zoned, and no file system for that",
        ),
        pytest.param(
            "- {name: fs, type: xfs, over: ZNS, rt: ONE}",
            "layers[0].over: ZNS is zoned; expected one without zones",
            id="zoned metadata",
        ),
        pytest.param(
            "- {name: fs, type: xfs, over: ONE, rt: ZNS, reflink: true}",
            "layers[0].reflink: true over ZNS:1, which is zoned; expected false",
            id="reflinks on zones",
        ),
        pytest.param(
            "- {name: fs, type: btrfs, over: [ONE, ZNS]}",
            "layers[0].over[1]: ZNS:1 is zoned, unlike ONE:1; expected all alike",
            id="zones and none",
        ),
        pytest.param(
            "- {name: fs, type: btrfs, over: ONE, metadata: raid1}",
            "layers[0].metadata: raid1 over 1 of at least 2 devices; expected more of them in "
            "over, or single or dup",
            id="raid on one device",
        ),
        pytest.param(
            "- {name: fs, type: btrfs, over: [ONE, 'TWO:9']}",
            "layers[0].over[1]: nothing is called 'TWO:9'; "
            "expected one of: ONE:1, ONE, TWO:1, TWO:2, ZNS:1, ZNS",
            id="a member that is none",
        ),
        pytest.param(
            "- {name: fs, type: btrfs, over: ONE 1}",
            "layers[0].over: 'ONE 1' does not fit; expected a disk's serial (SERIAL, or "
            "SERIAL:NSID) or the name of a layer above in the file (NAME, or NAME:PART)",
            id="no reference",
        ),
        pytest.param(
            "- {name: a, type: md, over: [ONE, ONE], level: raid1}",
            "layers[0].over[1]: this layer stands on ONE already; expected a free block device",
            id="a member twice",
        ),
        pytest.param(
            "- {name: a, type: md, over: [ONE, 'TWO:1'], level: raid5}",
            "layers[0].over: 2 members; expected at least 3 of raid5",
            id="too few members",
        ),
        pytest.param(
            "- {name: a, type: md, over: [ONE, 'TWO:1'], level: raid1, chunk: 64K}",
            "layers[0].chunk: raid1 has no stripes; expected none",
            id="a chunk without stripes",
        ),
        pytest.param(
            "- {name: a, type: md, over: [ONE, 'TWO:1'], level: raid1, consistency: ppl}",
            "layers[0].consistency: ppl is not for raid1; expected a level of: raid5",
            id="ppl of raid1",
        ),
        pytest.param(
            "- {name: a, type: md, over: [ONE], level: raid0, journal: 'TWO:1'}",
            "layers[0].journal: not for raid0; expected a level of: raid4, raid5, raid6",
            id="a journal of raid0",
        ),
        pytest.param(
            "- {name: fs, type: zonefs, over: ONE}",
            "layers[0].over: ONE is not zoned; expected a zoned one",
            id="not zoned",
        ),
        pytest.param(
            "- {name: disk, type: loop, over: ONE, size: 8M}",
            "layers[0].over: ONE is a block device; expected a file system",
            id="kind",
        ),
        pytest.param(
            "- {name: fs, type: xfs, over: ONE}\n- {name: other, type: ext4, over: 'ONE:1'}",
            "layers[1].over: fs stands on ONE:1 already; expected a free block device",
            id="taken under another name",
        ),
        pytest.param(
            "- {name: log, type: dm-log-writes, over: ONE, log: ONE}",
            "layers[0].log: this layer stands on ONE already; expected a free block device",
            id="taken by itself",
        ),
        pytest.param(
            "- name: two\n  type: dm-linear\n"
            "  segments: [{over: ONE, size: 8M}, {over: ONE, offset: 7M, size: 8M}]",
            "layers[0].segments[1].over: this layer stands on ONE already; "
            "expected a free block device",
            id="overlapping segments",
        ),
        pytest.param(
            "- name: two\n  type: dm-linear\n  segments: [{over: ONE, offset: 60M, size: 8M}]",
            "layers[0].segments[0].over: 68M are needed of ONE, which has 64M; expected less",
            id="too small",
        ),
        pytest.param(
            "- {name: fs, type: xfs, over: ONE}\n"
            "- {name: disk, type: loop, over: fs, size: 32M, partitions: [8M]}\n"
            "- {name: part, type: dm-flakey, over: 'disk:1'}\n"
            "- {name: all, type: dm-flakey, over: disk}",
            "layers[3].over: part stands on disk:1, a part of it; expected a free block device",
            id="partition and whole",
        ),
        pytest.param(
            "- {name: ONE, type: null-blk, size: 8M}",
            "layers[0].name: 'ONE' does not fit; expected 1 to 31 lowercase letters, digits, '_' "
            "and '-'",
            id="name",
        ),
        pytest.param(
            "- {name: a, type: null-blk, size: 8M}\n- {name: a, type: null-blk, size: 8M}",
            "layers[1].name: 'a' is taken; expected a name of its own",
            id="name twice",
        ),
        pytest.param(
            "- {name: a, type: scsi-debug, size: 8M}\n- {name: b, type: scsi-debug, size: 8M}",
            "layers[1].type: the guest's scsi_debug makes one kind of disk; expected it once",
            id="scsi_debug twice",
        ),
        pytest.param(
            "- {name: v, type: dm-verity, over: 'TWO:1', hash: 'TWO:2'}\n"
            "- {name: fs, type: ext4, over: v}",
            "layers[1].over: v is read-only; expected a device that can be written",
            id="read-only",
        ),
        pytest.param(
            "- {name: fs, type: f2fs, over: ONE, zoned: ZNS}",
            "layers[0].zoned: ZNS has blocks of 4096 bytes, ONE of 512; expected the same",
            id="block sizes",
        ),
        pytest.param(
            "- {name: tiny, type: null-blk, size: 1M}\n"
            "- {name: v, type: dm-verity, over: ONE, hash: 'TWO:2', fec: tiny, fec_roots: 8}",
            "layers[1].fec: 3200K are needed of tiny, which has 1M; expected less of ONE:1, or "
            "more of this",
            id="parity does not fit",
        ),
        pytest.param(
            "- {name: tiny, type: null-blk, size: 1M}\n"
            "- {name: v, type: dm-verity, over: 'TWO:1', hash: tiny, block_size: 1024}",
            "layers[1].hash: 2116K are needed of tiny, which has 1M; expected less of TWO:1, or "
            "more of this",
            id="hashes do not fit",
        ),
        pytest.param(
            "- {name: fs, type: xfs, over: ONE}\n- {name: one, type: nfs, over: fs}\n"
            "- {name: two, type: nfs, over: one}",
            "layers[2].over: one comes from a server; expected a file system of this guest",
            id="NFS over NFS",
        ),
    ],
)
def test_what_cannot_stand_is_refused(tmp_path: Path, layers: str, expected: str) -> None:
    assert expected in problems(tmp_path, layers + "\n")


def test_a_broken_layer_is_not_held_against_those_above_it(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "- {name: fs, type: xfs, over: NOTHING}\n"
        "- {name: disk, type: loop, over: fs, size: 8M}\n"
        "- {name: top, type: ext4, over: disk}\n",
    )
    assert len(found) == 1 and found[0].startswith("layers[0].over")


def test_a_peer_exports_what_the_other_guest_connects_to(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    text = """\
description: two guests
layers: [{name: remote, type: nvme-connect, target: export}]
peer:
  devices: [{type: nvme, serial: P, namespaces: [{size: 64M}]}]
  layers: [{name: export, type: nvmet, over: P, transport: tcp, connect: false}]
"""
    path.write_text(text)
    assert stack(load_file(path)).nodes["remote"] == Node("remote", "block", 64 << 20)
    path.write_text(text.replace("target: export", "target: exported"))
    with pytest.raises(InvalidProfileError) as caught:
        load_file(path)
    assert "layers[0].target: nothing is called 'exported'; expected one of: export" in str(
        caught.value
    )


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(1, 64)), min_size=1, max_size=6))
def test_segments_of_one_disk_are_taken_once(extents: list[tuple[int, int]]) -> None:
    """A linear device over one disk is accepted exactly if no sector is used twice and all are
    there."""
    data = {
        "name": "p",
        "description": "segments",
        "devices": ({"type": "nvme", "serial": "S", "namespaces": ({"size": 64 << 20},)},),
        "layers": (
            {
                "name": "l",
                "type": "dm-linear",
                "segments": tuple(
                    {"over": "S", "offset": start << 20, "size": size << 20}
                    for start, size in extents
                ),
            },
        ),
    }
    used = [mib for start, size in extents for mib in range(start, start + size)]
    fits = len(used) == len(set(used)) and max(used) < 64
    try:
        Profile.model_validate(data)
    except ValueError:
        assert not fits
    else:
        assert fits
