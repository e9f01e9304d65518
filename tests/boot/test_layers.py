# SPDX-License-Identifier: GPL-2.0-or-later
"""Every type of layer, with the keys that no shipped profile has."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.boot.conftest import Lab, booted, capability, steps, verified

LAYERS = """\
description: every type of layer, with the keys that no shipped profile has
machine: {memory: 2G}
devices:
- type: nvme
  serial: D
  namespaces:
  - {size: 16M}
  - {size: 16M}
  - {size: 16M}
  - {size: 16M}
  - {size: 16M}
  - {size: 16M}
  - {size: 16M}
  - {size: 16M}
  - {size: 16M}
  - {size: 16M}
  - {size: 64M}
  - {size: 16M}
- type: nvme
  serial: M
  namespaces: [{size: 16M}, {size: 16M}, {size: 16M, write_cache: false}, {size: 16M}]
- type: nvme
  serial: V
  namespaces:
  - {size: 1M}
  - {size: 64K}
  - {size: 1M}
  - {size: 64K}
  - {size: 1M}
  - {size: 64K}
  - {size: 64K}
- type: nvme
  serial: F
  namespaces:
  - {size: 64M, block_size: 4096}
  - {size: 320M, block_size: 4096}
  - {size: 16M, block_size: 4096}
- type: nvme
  serial: Z
  namespaces:
  - {size: 256M, block_size: 4096, zoned: {zone_size: 8M}}
  - {size: 64M, block_size: 4096, zoned: {zone_size: 8M}}
  - {size: 64M, block_size: 4096, zoned: {zone_size: 8M}}
- {type: virtio-blk, serial: B, size: 320M}
- {type: virtio-scsi, serial: S, size: 400M}
layers:
- {name: flaky, type: dm-flakey, over: "D:1", features: [drop_writes, "corrupt_bio_byte 32 r 1 0"]}
- {name: broken, type: dm-error, over: flaky, bad: [{offset: 8M, size: 4K}]}
- {name: slow, type: dm-delay, over: "D:2", read: 5ms, write: 20ms}
- {name: dusty, type: dm-dust, over: "D:3", bad_blocks: [8, 9], required: false}
- {name: logged, type: dm-log-writes, over: "D:4", log: "D:5"}
- {name: strict, type: dm-verity, over: "V:1", hash: "V:2", tasklet: true}
- {name: lax, type: dm-verity, over: "V:3", hash: "V:4", algorithm: sha512, corruption: ignore}
- {name: fixed, type: dm-verity, over: "V:5", hash: "V:6", fec: "V:7", fec_roots: 4}
- {name: flash, type: f2fs, over: "F:1", zoned: "Z:1", mkfs: [-l, flash], options: [noatime]}
- {name: hidden, type: dm-crypt, over: "Z:2"}
- {name: zones, type: zonefs, over: hidden}
- name: cloned
  type: dm-clone
  over: "D:9"
  destination: "D:10"
  metadata: "D:6"
  required: false
- {name: debug, type: scsi-debug, size: 64M, block_size: 4096}
- {name: parity, type: md, over: ["M:1", "M:2", "M:3"], level: raid5, journal: "M:4"}
- name: plain
  type: xfs
  over: B
  rt: parity
  log: "D:11"
  mkfs: [-L plain]
  mount: /srv/plain
- {name: unmade, type: xfs, over: "D:12", rt: "Z:3", required: false}
- {name: host, type: xfs, over: S}
- {name: zloop, type: zloop, over: host, size: 8M, zoned: {zone_size: 4M}, required: false}
- {name: disk, type: loop, over: host, size: 40M, block_size: 4096, partitions: [16M, 8M]}
- name: secret
  type: dm-crypt
  over: "disk:2"
  sector_size: 4096
  no_read_workqueue: true
  no_write_workqueue: true
- {name: coarse, type: xfs, over: "F:2"}
- {name: buffered, type: loop, over: coarse, size: 16M, direct_io: true, required: false}
- {name: above, type: ext4, over: buffered, required: false}
- {name: unbuffered, type: loop, over: coarse, size: 16M, direct_io: true, block_size: 4096}
- {name: sometimes, type: dm-flakey, over: "F:3", up: 20s, down: 2s}
- {name: network, type: nvmet, over: host, size: 16M, transport: tcp, buffered: true}
- {name: fileio, type: tcm-loop, over: host, size: 16M, block_size: 4096, write_back: true}
- {name: bitmap, type: dm-integrity, over: "D:8", mode: bitmap, algorithm: sha256, block_size: 4096}
- {name: direct, type: dm-integrity, over: "D:7", mode: direct}
- {name: copying, type: null-blk, size: 8M, max_copy_bytes: 65536, required: false}
- {name: snap, type: dm-snapshot, over: bitmap, store: direct, persistent: false}
"""

ZONED = """\
description: dm-zoned with conventional zones, and with a cache
devices:
- type: nvme
  serial: Z
  namespaces: [{size: 128M, block_size: 4096, zoned: {zone_size: 8M}}]
layers:
- name: mixed
  type: null-blk
  size: 128M
  block_size: 4096
  zoned: {zone_size: 4M, conventional: 6}
- {name: anywhere, type: dm-zoned, over: mixed}
- {name: buffer, type: null-blk, size: 64M, block_size: 4096}
- {name: cached, type: dm-zoned, over: Z, cache: buffer}
"""
"""Apart from the others: an idle dm-zoned device keeps a CPU busy (docs/findings.md)."""


ZONED_XFS = """\
description: zoned XFS, on a device of its own for the zones and on one that has both kinds
image: sid
kernel: debian-sid
machine: {memory: 2G}
guest: {boot_deadline: 10m}
devices:
- {type: nvme, serial: D, namespaces: [{size: 320M}]}
- {type: nvme, serial: Z, namespaces: [{size: 512M, block_size: 4096, zoned: {zone_size: 16M}}]}
layers:
- {name: zoned, type: xfs, over: D, rt: Z}
- {name: smr, type: null-blk, size: 1G, block_size: 4096, zoned: {zone_size: 16M, conventional: 32}}
- {name: inner, type: xfs, over: smr}
"""


@pytest.fixture(scope="module")
def layers(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A guest with LAYERS."""
    yield from booted(lab, tmp_path_factory.mktemp("profile"), "layers", LAYERS)


def test_every_layer_is_made_and_works(lab: Lab, layers: dict[str, Any]) -> None:
    unmade = {part["name"]: part["said"] for part in layers["stack"] if part["status"] != "up"}
    for name in ("buffered", "above"):
        del unmade[name]
    # trixie's mkfs.xfs, which would make what no kernel mounts, and what to take instead.
    said = unmade.pop("unmade")
    assert said.startswith("unknown option -r zoned=1; ") and said.count("\n") == 0
    assert "`image: sid`" in said and "`kernel: debian-sid`" in said
    assert "max_copy_bytes" in unmade.pop("copying", "max_copy_bytes")
    assert set(unmade) <= {"dusty", "cloned", "zloop"}, unmade
    assert all("not found" in said for said in unmade.values())
    found = verified(lab, "layers")
    assert {"broken", "logged", "flash", "disk:1", "snap:origin", "unbuffered"} <= set(found)
    assert found.pop("sometimes") == "not verified"
    assert set(found.values()) == {"holds"}, found


def test_members_of_an_array_are_compared(lab: Lab, layers: dict[str, Any]) -> None:
    # Below the file system on it: nothing but `layers verify` of a free array asks for that.
    code = "import sys; sys.path.insert(0, '/run/lab/layers'); import md; print(md.compare({!r}))"
    (node,) = (part["devices"][""] for part in layers["stack"] if part["name"] == "parity")
    run = ("ssh", "layers", "--", "python3", "-c", code.format(node))
    assert lab(*run).stdout.strip() == "its members agree"


MEND = """
import sys
sys.path.insert(0, "/run/lab/layers")
import md, system
array = md.Md({"name": "mirror", "over": ["LABNVME0", "LABNVME1"], "journal": None})
node = md.array_over("/dev/nvme0n1")
print(array.mend())
system.run(["mdadm", "--manage", node, "--fail", "/dev/nvme0n1"])
print(md.attribute(node, "degraded"))
print(array.mend())
print(md.attribute(node, "degraded"))
"""


def test_what_a_trial_throws_out_of_an_array_is_brought_back_and_told(lab: Lab) -> None:
    lab("up", "md-raid1", "--name", "mirror")
    try:
        said = lab("ssh", "mirror", "--", "python3", "-c", MEND).stdout.splitlines()
    finally:
        lab("down", "mirror")
    assert said == ["", "1", "the array threw out nvme0n1, which was brought back", "0"]


@pytest.mark.skipif("LAB_SID" not in os.environ, reason="LAB_SID=1 builds an image of sid")
def test_zoned_xfs_copies_by_reading_and_writing(lab: Lab, tmp_path: Path) -> None:
    for found in booted(lab, tmp_path, "zonedxfs", ZONED_XFS):
        assert {part["status"] for part in found["stack"]} == {"up"}
        assert not capability(found, "zoned", "FICLONE")["supported"]
        assert capability(found, "zoned", "copy_file_range")["said"].endswith("no block shared")
        assert set(verified(lab, "zonedxfs").values()) == {"holds"}


def test_dm_zoned_is_written_anywhere(lab: Lab, tmp_path: Path) -> None:
    for _ in booted(lab, tmp_path, "zoned", ZONED):
        assert verified(lab, "zoned") == {"anywhere": "holds", "cached": "holds"}


def test_what_the_kernel_makes_otherwise_is_left_out_and_said(
    lab: Lab, layers: dict[str, Any]
) -> None:
    parts = {part["name"]: part for part in layers["stack"]}
    assert parts["buffered"]["status"] == "not supported"
    assert "direct_io: true asked, the kernel made it false" in parts["buffered"]["said"]
    assert "block_size: 4096 on the loop" in parts["buffered"]["cure"]
    assert parts["copying"]["status"] == "not supported"
    assert parts["copying"]["said"] == "null_blk has no max_copy_bytes here"
    assert parts["above"]["said"] == "stands on buffered, which is not up"
    made = {each["key"]: each["made"] for each in parts["unbuffered"]["properties"]}
    assert (made["direct_io"], made["block_size"]) == (True, 4096)
    # What is not as asked is not there either.
    listed = lab("ssh", "layers", "--", "losetup --list --noheadings --output BACK-FILE").stdout
    files = {Path(line).name for line in listed.split()}
    assert "unbuffered.img" in files and "buffered.img" not in files


def test_whatever_is_up_is_as_the_profile_asked(layers: dict[str, Any]) -> None:
    parts = {part["name"]: part for part in layers["stack"] if part["status"] == "up"}
    for part in parts.values():
        assert all(each["made"] == each["asked"] for each in part["properties"]), part
    bare = {name for name, part in parts.items() if not part["properties"]}
    assert bare == {"zones"}  # zonefs has no keys but its name


def test_nothing_is_tried_on_what_is_down_at_times(layers: dict[str, Any]) -> None:
    for name in ("discard", "write zeroes", "copy_file_range"):
        row = capability(layers, "sometimes", name)
        assert row["supported"] is None
        assert row["said"] == "not tried: sometimes works for 20s and fails for 2s"
    assert capability(layers, "flaky", "table")["supported"]


def test_tables_are_as_the_profile_says(layers: dict[str, Any]) -> None:
    for name, words in (
        ("flaky", "6 drop_writes corrupt_bio_byte 32 r 1 0"),
        ("slow", " 5 "),
        ("strict", "try_verify_in_tasklet"),
        ("lax", "ignore_corruption"),
        ("fixed", "use_fec_from_device"),
        ("fixed", "fec_roots 4"),
        ("secret", "no_read_workqueue no_write_workqueue sector_size:4096"),
        ("bitmap", "internal_hash:sha256"),
    ):
        row = capability(layers, name, "table")
        assert row["supported"] and words in row["said"], row
    assert capability(layers, "network", "copy_file_range from D:1")["said"].startswith("EINVAL")


def test_layers_go_down_and_come_back(lab: Lab, layers: dict[str, Any]) -> None:
    done = lab("ssh", "layers", "--", "layers down --json && layers up --json").stdout
    told = [step for step in steps(done) if step["event"] in ("disk", "layer")]
    # What stands on a layer that is not there is passed over.
    assert {step["name"] for step in told if step["status"] == "skipped"} == {"above"}, told
    assert {step["status"] for step in told} <= {"down", "up", "not supported", "skipped"}, told


CLONED = """
from pathlib import Path
import sys
sys.path.insert(0, "/run/lab/layers")
import ioctls
for directory in ("/mnt/host", "/srv/plain"):
    source, target = Path(directory, "source"), Path(directory, "target")
    source.write_bytes(b"x" * 65536)
    clone(source, target)
    with target.open("rb") as file:
        print(ioctls.shares_blocks(file.fileno()), target.read_bytes() == source.read_bytes())
"""


def test_media_are_cloned_by_reflink_where_the_file_system_can(
    lab: Lab, layers: dict[str, Any]
) -> None:
    # The host's own file system may have no reflinks: the guest has both kinds.
    code = (ROOT / "lab/host/clone.py").read_text() + CLONED
    assert lab("ssh", "layers", "--", "python3", "-c", code).stdout.splitlines() == [
        "True True",
        "False True",
    ]


def test_verity_reports_ignores_or_repairs_what_was_changed_below_it(
    lab: Lab, layers: dict[str, Any]
) -> None:
    def run(command: str) -> str:
        done = lab("ssh", "layers", "--", command, status=None)
        return (done.stdout if done.returncode == 0 else done.stderr).strip()

    read = "dd if=/dev/lab/{} bs=4096 skip=7 count=1 iflag=direct status=none"
    write = "dd if=/dev/zero of=/dev/lab/{} bs=4096 seek=7 count=1 oflag=direct status=none"
    whole = run(f"{read.format('strict')} | sha256sum")
    zeroes = run("head -c 4096 /dev/zero | sha256sum")
    assert whole != zeroes
    for below in ("V:1", "V:3", "V:5"):
        assert run(write.format(below)) == ""
    assert "Input/output error" in run(read.format("strict"))
    assert run(f"{read.format('lax')} | sha256sum") == zeroes
    assert run(f"{read.format('fixed')} | sha256sum") == whole
