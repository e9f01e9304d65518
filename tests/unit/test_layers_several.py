# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers over several devices, and over files: what mkfs, mdadm and drivers are told."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from lab.profile.layers import BaseLayer, Node
from lab.profile.layers.kinds import Layer
from tests.unit.test_layers_guest import load

filesystems = load("filesystems")
md = load("md")
system = load("system")
zloop = load("zloop")

LAYERS: TypeAdapter[BaseLayer] = TypeAdapter(Layer)


@pytest.fixture(autouse=True)
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices /dev/a, /dev/b, ...; of them /dev/z is zoned."""
    for module in (filesystems, md, zloop):
        monkeypatch.setattr(module, "device_below", "/dev/{}".format)
    monkeypatch.setattr(system, "is_zoned", lambda path: path == "/dev/z")
    blocks = {"logical_block_size": "512"}
    monkeypatch.setattr(system, "queue", lambda path, name: blocks[name])


def guest(made: Any, **keys: Any) -> Any:
    """A layer as the guest has it, from the model's JSON."""
    one = LAYERS.validate_json(json.dumps({"name": "it", **keys}))
    layer = made(one.model_dump(mode="json", by_alias=True))
    assert layer.uses() == [use.ref for use in one.uses()]
    return layer


@pytest.mark.parametrize(
    ("keys", "mkfs", "mount"),
    [
        ({"over": "a"}, "-q -m reflink=1", []),
        ({"over": "a", "reflink": False}, "-q -m reflink=0", []),
        (
            {"over": "a", "rt": "z", "log": "c"},
            "-q -m reflink=0 -r rtdev=/dev/z -r zoned=1 -l logdev=/dev/c",
            ["rtdev=/dev/z", "logdev=/dev/c"],
        ),
        ({"over": "z"}, "-q -m reflink=0 -r zoned=1", []),
        (
            {"over": "a", "rt": "b", "reflink": True},
            "-q -m reflink=1 -r rtdev=/dev/b -d rtinherit=1",
            ["rtdev=/dev/b"],
        ),
    ],
)
def test_where_the_parts_of_xfs_are(keys: dict[str, Any], mkfs: str, mount: list[str]) -> None:
    layer = guest(filesystems.Xfs, type="xfs", **keys)
    assert " ".join(layer.mkfs_arguments(f"/dev/{keys['over']}")) == mkfs
    assert layer.forced_options() == mount


USAGE = "Usage: mkfs.xfs\n/* blocksize */\t\t[-b size=num]\n/* realtime subvol */ [-r zoned=0|1]"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        # mkfs.xfs 6.13.0, and 7.2.0
        ("unknown option -r zoned=1", f"unknown option -r zoned=1; {filesystems.ZONED_XFS}"),
        ("realtime group count (2) must be greater than the minimum zone count (5)", ""),
    ],
)
def test_an_mkfs_that_is_too_old_is_told_from_a_device_that_does_not_fit(
    said: str, told: str
) -> None:
    assert filesystems.refusal(f"{said}\n{USAGE}") == (told or said)
    assert filesystems.refusal(said) == (told or said)


@pytest.mark.parametrize(
    ("keys", "argv"),
    [
        ({"over": "a"}, "mkfs.btrfs -q /dev/a"),
        ({"over": "z"}, "mkfs.btrfs -q -O zoned -d single -m single /dev/z"),
        ({"over": "a", "metadata": "dup"}, "mkfs.btrfs -q -m dup /dev/a"),
        (
            {"over": ["a", "b"], "data": "raid1", "metadata": "raid1", "mkfs": ["-L", "two"]},
            "mkfs.btrfs -q -d raid1 -m raid1 -L two /dev/a /dev/b",
        ),
    ],
)
def test_how_btrfs_lies_on_its_devices(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], argv: str
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(system, "run", lambda words, *_: ran.append(" ".join(words)))
    layer = guest(filesystems.Btrfs, type="btrfs", **keys)
    layer.make(f"/dev/{keys['over'][0]}")
    layer.mount(["mount"])
    scan = ["btrfs device scan /dev/a /dev/b"] if isinstance(keys["over"], list) else []
    assert ran == [argv, *scan, "mount"]


@pytest.mark.parametrize(
    ("keys", "argv"),
    [
        ({"level": "raid0", "over": ["a", "b"], "chunk": "64K"}, ["--chunk=64"]),
        ({"level": "linear", "over": ["a", "b"]}, []),
        (
            {"level": "raid1", "over": ["a", "b"]},
            ["--consistency-policy=resync", "--bitmap=none"],
        ),
        (
            {"level": "raid1", "over": ["a", "b"], "consistency": "bitmap"},
            ["--consistency-policy=bitmap", "--bitmap=internal"],
        ),
        (
            {"level": "raid5", "over": ["a", "b", "c"], "consistency": "ppl"},
            ["--consistency-policy=ppl", "--bitmap=none"],
        ),
        (
            {"level": "raid5", "over": ["a", "b", "c"], "journal": "d"},
            ["--write-journal=/dev/d"],
        ),
    ],
)
def test_what_mdadm_is_told(keys: dict[str, Any], argv: list[str]) -> None:
    layer = guest(md.Md, type="md", **keys)
    known = [
        f"--level={keys['level']}", f"--raid-devices={len(keys['over'])}", "--name=it",
        "--homehost=lab", "--metadata=1.2", "--force",
    ]  # fmt: skip
    assert list(layer.creation()) == [*known, *argv]


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        (
            {"level": "raid0", "over": ["a", "b"], "chunk": "64K"},
            {"level": "raid0", "raid_disks": "2", "chunk_size": "65536"},
        ),
        (
            {"level": "raid1", "over": ["a", "b"], "consistency": "bitmap"},
            {"level": "raid1", "raid_disks": "2", "consistency_policy": "bitmap"},
        ),
        (
            {"level": "raid5", "over": ["a", "b", "c"], "journal": "d"},
            {"level": "raid5", "raid_disks": "3", "consistency_policy": "journal"},
        ),
    ],
)
def test_what_an_array_must_have_become(keys: dict[str, Any], wanted: dict[str, str]) -> None:
    assert guest(md.Md, type="md", **keys).attributes() == wanted


def test_an_array_is_found_by_its_member_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(system, "BLOCK", str(tmp_path))
    (tmp_path / "a/holders").mkdir(parents=True)
    assert md.array_over("/dev/a") is None
    (tmp_path / "a/holders/dm-3").mkdir()
    (tmp_path / "a/holders/md7").mkdir()
    assert md.array_over("/dev/a") == "/dev/md7"
    attributes = tmp_path / "md7/md"
    attributes.mkdir(parents=True)
    # raid0 has neither of the two.
    md.await_sync("/dev/md7", 0)
    (attributes / "sync_action").write_text("resync\n")
    (attributes / "degraded").write_text("0\n")
    with pytest.raises(system.Failure, match="md7 in sync"):
        md.await_sync("/dev/md7", 0)
    (attributes / "sync_action").write_text("idle\n")
    md.await_sync("/dev/md7", 0)
    (attributes / "degraded").write_text("1\n")
    with pytest.raises(system.Failure, match="lacks 1 of its members"):
        md.await_sync("/dev/md7", 0)


def test_what_zloop_is_told_after_every_reboot() -> None:
    keys = {
        "over": "a", "size": "256M", "discard_write_cache": True,
        "zoned": {"zone_size": "16M", "zone_capacity": "12M", "conventional": 2, "max_open": 4},
    }  # fmt: skip
    layer = guest(zloop.Zloop, type="zloop", **keys)
    assert list(layer.options()) == [
        "capacity_mb=256", "zone_size_mb=16", "conv_zones=2", "zone_capacity_mb=12",
        "max_open_zones=4", "discard_write_cache",
    ]  # fmt: skip
    again = guest(zloop.Zloop, type="zloop", **keys)
    assert again.node == layer.node


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"type": "md", "over": ["a", "z"], "level": "raid1"}, Node("it", "block", None, 4096)),
        ({"type": "btrfs", "over": ["a", "z"]}, Node("it", "directory")),
        ({"type": "xfs", "over": "a", "rt": "z"}, Node("it", "directory", 32)),
        (
            {"type": "zloop", "over": "a", "size": "8M", "zoned": {"zone_size": "4M"}},
            Node("it", "block", 8 << 20, 4096, True),
        ),
    ],
)
def test_what_they_offer(keys: dict[str, Any], expected: Node) -> None:
    below = [Node("a", "block", 64), Node("z", "block", 32, 4096)]
    layer = LAYERS.validate_json(json.dumps({"name": "it", **keys}))
    assert list(layer.offers(below)) == [expected]
