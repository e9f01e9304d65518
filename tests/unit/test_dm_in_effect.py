# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of the device mapper as the kernel gives them back, compared with what was asked."""

from typing import Any

import pytest

from tests.unit.test_layers_dm import guest
from tests.unit.test_layers_guest import load

properties = load("properties")
system = load("system")


@pytest.fixture(autouse=True)
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices a, b and c; a of 64 MiB, the smallest of 16."""
    for module in ("dm", "mapping", "kcopyd"):
        monkeypatch.setattr(load(module), "device_below", "/dev/{}".format)
    sizes = {"/dev/a": 64 << 20, "/dev/b": 32 << 20, "/dev/c": 16 << 20}
    monkeypatch.setattr(system, "size_of", lambda path: sizes[path])


IN_EFFECT = {
    "dm-flakey": "0 131072 flakey 259:11 0 3600 0 6 corrupt_bio_byte 32 r 1 0 drop_writes",
    "dm-delay": "0 131072 delay 259:1 0 20 259:1 0 0 259:1 0 1000",
    "dm-dust": "0 131072 dust 259:1 0 4096",
    "dm-snapshot": "0 131072 snapshot 259:1 259:2 P 32",
    "dm-mirror": "0 32768 mirror core 1 1024 3 259:1 0 259:3 0 259:2 0",
    "dm-clone": "0 65536 clone 259:3 259:1 259:2 8",
    "dm-crypt": f"0 131072 crypt aes-xts-plain64 {'0' * 128} 0 259:1 0 1 no_write_workqueue",
    "dm-integrity": "0 130000 integrity 259:1 0 4 B 3 buffer_sectors:128 internal_hash:crc32c",
    "dm-pcache": "0 131072 pcache 259:1 259:0 4 cache_mode writeback crc true",
    "dm-verity": "0 131072 verity 1 259:1 259:2 4096 4096 16384 1 sha256 00 1ab 10 "
    "ignore_corruption try_verify_in_tasklet use_fec_from_device 259:3 fec_blocks 16513 "
    "fec_start 0 fec_roots 2",
}
"""A table as each target gives it, with two options of flakey in another order than asked."""

ASKED: dict[str, dict[str, Any]] = {
    "dm-flakey": {"features": ["drop_writes", "corrupt_bio_byte 32 r 1 0"]},
    "dm-integrity": {"mode": "bitmap"},
    "dm-verity": {"corruption": "ignore", "tasklet": True},
}

OTHERWISE: dict[str, tuple[dict[str, Any], str]] = {
    "dm-flakey": ({"up": "20s"}, "up: 20.0 asked, the kernel made it 3600.0"),
    "dm-delay": ({"write": "20ms"}, "write: 0.02 asked, the kernel made it 0.0"),
    "dm-dust": ({"block_size": 512}, "block_size: 512 asked, the kernel made it 4096"),
    "dm-snapshot": ({"persistent": False}, "persistent: false asked, the kernel made it true"),
    "dm-mirror": ({"region": "1M"}, "region: 1M asked, the kernel made it 512K"),
    "dm-clone": ({"region": "8K"}, "region: 8K asked, the kernel made it 4K"),
    "dm-crypt": ({"no_read_workqueue": True}, r"options: \['no_read_workqueue'\] asked"),
    "dm-integrity": ({"mode": "journal"}, "mode: journal asked, the kernel made it bitmap"),
    "dm-pcache": ({"data_crc": False}, "data_crc: false asked, the kernel made it true"),
    "dm-verity": ({"check_once": True}, "check_once: true asked, the kernel made it false"),
}


@pytest.mark.parametrize("kind", IN_EFFECT)
def test_the_options_of_a_table_are_those_in_effect(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(system, "run", lambda argv: f"{IN_EFFECT[kind]}\n")
    keys = ASKED.get(kind, {})
    assert properties.check(guest(kind, **keys).asked(None))
    changed, said = OTHERWISE[kind]
    with pytest.raises(system.Failure, match=said):
        properties.check(guest(kind, **keys | changed).asked(None))


def test_a_table_with_other_targets_is_not_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "run", lambda argv: "0 131072 error \n")
    with pytest.raises(
        system.Failure, match="0 131072 log-writes asked, the kernel made it 0 131072 e"
    ):
        properties.check(guest("dm-log-writes").asked(None))


def test_a_flakey_layer_without_features_has_those_that_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = "0 131072 flakey 259:1 0 3600 0 2 error_reads error_writes"
    monkeypatch.setattr(system, "run", lambda argv: told)
    keys = [each["key"] for each in properties.check(guest("dm-flakey").asked(None))]
    assert keys == ["targets", "up", "down"]
