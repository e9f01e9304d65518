# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper layers: models, tables and formats; what needs no kernel to be right or wrong."""

import dataclasses
import hashlib
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from lab.profile.base import ConflictError
from lab.profile.layers import BaseLayer, Node
from lab.profile.layers.data import fec_size, tree_size
from lab.profile.layers.kinds import Layer
from tests.unit.test_layers_guest import load

content = load("content")
data = load("data")
dm = load("dm")
dmzoned = load("dmzoned")
faulty = load("faulty")
ioctls = load("ioctls")
kcopyd = load("kcopyd")
mapping = load("mapping")
system = load("system")
storing = load("storing")

LAYERS: TypeAdapter[BaseLayer] = TypeAdapter(Layer)
MIB = 2**20
SIZES = {"a": 64 * MIB, "b": 32 * MIB, "c": 16 * MIB}

SEGMENTS = [{"over": "b", "size": "1M"}, {"over": "a", "offset": "2M", "size": "3M"}]
OVERLAP = [{"offset": "2M", "size": "2M"}, {"offset": "3M", "size": "1M"}]

ALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "dm-linear": (mapping.Linear, {"segments": SEGMENTS}),
    "dm-zoned": (mapping.Zoned, {"over": "a", "cache": "b"}),
    "dm-flakey": (faulty.Flakey, {"over": "a"}),
    "dm-error": (faulty.Error, {"over": "a"}),
    "dm-delay": (faulty.Delay, {"over": "a", "read": "20ms", "flush": "1s"}),
    "dm-dust": (faulty.Dust, {"over": "a", "block_size": 4096}),
    "dm-reorder": (faulty.Reorder, {"over": "a"}),
    "dm-log-writes": (faulty.LogWrites, {"over": "a", "log": "b"}),
    "dm-snapshot": (kcopyd.Snapshot, {"over": "a", "store": "b", "chunk": "16K"}),
    "dm-thin": (kcopyd.Thin, {"over": "a", "metadata": "b", "size": "1G"}),
    "dm-mirror": (kcopyd.Mirror, {"legs": ["a", "c", "b"]}),
    "dm-clone": (kcopyd.Clone, {"over": "b", "destination": "a", "metadata": "c"}),
    "dm-crypt": (data.Crypt, {"over": "a"}),
    "dm-integrity": (data.Integrity, {"over": "a"}),
    "dm-verity": (data.Verity, {"over": "a", "hash": "b", "fec": "c"}),
    "dm-pcache": (storing.Pcache, {"over": "a", "data_crc": True}),
    "dm-vdo": (storing.Vdo, {"over": "a", "size": "1G"}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices /dev/a, /dev/b and /dev/c of the SIZES."""
    for module in (dm, mapping, kcopyd):
        monkeypatch.setattr(module, "device_below", "/dev/{}".format)
    monkeypatch.setattr(system, "size_of", lambda path: SIZES[path.removeprefix("/dev/")])


def model(kind: str, **keys: Any) -> BaseLayer:
    """The model of a layer, as a profile would have it."""
    return LAYERS.validate_json(json.dumps({"type": kind, "name": "it", **ALL[kind][1], **keys}))


def guest(kind: str, **keys: Any) -> Any:
    """The layer as the guest has it, from the model's JSON."""
    return ALL[kind][0](model(kind, **keys).model_dump(mode="json", by_alias=True))


def table(kind: str, **keys: Any) -> list[str]:
    return list(guest(kind, **keys).table())


@pytest.mark.parametrize("kind", ALL)
def test_host_and_guest_agree_on_what_a_layer_stands_on(kind: str) -> None:
    assert guest(kind).uses() == [use.ref for use in model(kind).uses()]


@pytest.mark.parametrize(("kind", "key"), [("dm-verity", "fec"), ("dm-zoned", "cache")])
def test_what_may_be_left_out_is_not_stood_on(kind: str, key: str) -> None:
    without = {key: None}
    assert guest(kind, **without).uses() == [use.ref for use in model(kind, **without).uses()]
    assert len(guest(kind, **without).uses()) == len(guest(kind).uses()) - 1


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        ("dm-linear", {}, ["0 2048 linear /dev/b 0", "2048 6144 linear /dev/a 4096"]),
        ("dm-flakey", {}, ["0 131072 flakey /dev/a 0 3600 0"]),
        (
            "dm-flakey",
            {"up": "0s", "down": "1m", "features": ["error_reads", "corrupt_bio_byte 32 w 1 0"]},
            ["0 131072 flakey /dev/a 0 0 60 6 error_reads corrupt_bio_byte 32 w 1 0"],
        ),
        ("dm-error", {}, ["0 131072 error /dev/a 0"]),
        ("dm-delay", {}, ["0 131072 delay /dev/a 0 20 /dev/a 0 0 /dev/a 0 1000"]),
        ("dm-dust", {}, ["0 131072 dust /dev/a 0 4096"]),
        ("dm-reorder", {}, ["0 131072 reorder /dev/a"]),
        ("dm-log-writes", {}, ["0 131072 log-writes /dev/a /dev/b"]),
        ("dm-snapshot", {}, ["0 131072 snapshot /dev/a /dev/b P 32"]),
        ("dm-snapshot", {"persistent": False}, ["0 131072 snapshot /dev/a /dev/b N 32"]),
        ("dm-thin", {}, ["0 2097152 thin /dev/mapper/it:pool 0"]),
        # As large as the smallest leg.
        ("dm-mirror", {}, ["0 32768 mirror core 1 1024 3 /dev/a 0 /dev/c 0 /dev/b 0"]),
        ("dm-clone", {}, ["0 65536 clone /dev/c /dev/a /dev/b 8"]),
        (
            "dm-pcache",
            {},
            ["0 131072 pcache /dev/pmem0 /dev/a 4 cache_mode writeback data_crc true"],
        ),
        (
            "dm-vdo",
            {"block_size": 512, "compression": True},
            [
                "0 2097152 vdo V4 /dev/a 16384 512 32768 16380 deduplication on compression on",
            ],
        ),
    ],
)
def test_tables(kind: str, keys: dict[str, Any], expected: list[str]) -> None:
    assert table(kind, **keys) == expected


def test_a_cache_without_persistent_memory_says_how_to_have_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(system, "modprobe", lambda *names: loaded.extend(names))
    wait = system.wait_for
    monkeypatch.setattr(system, "wait_for", lambda *args, **keys: wait(*args, deadline=0, **keys))
    with pytest.raises(system.Failure, match="/dev/pmem99: not there") as caught:
        guest("dm-pcache", pmem="/dev/pmem99").make()
    assert "memmap=512M!1G among the guest's kernel_args" in caught.value.cure
    assert loaded == ["nd_e820", "nd_pmem"]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("", "1 restart_on_error"),
        (" 1 try_verify_in_tasklet", "2 try_verify_in_tasklet restart_on_error"),
        (
            " 8 use_fec_from_device 259:3 fec_roots 2 fec_blocks 400 fec_start 0",
            "9 use_fec_from_device 259:3 fec_roots 2 fec_blocks 400 fec_start 0 restart_on_error",
        ),
    ],
)
def test_a_verity_table_gets_one_more_feature(features: str, expected: str) -> None:
    table = f"0 2048 verity 1 259:1 259:2 4096 4096 256 1 sha256 {'d' * 64} {'5' * 64}"
    made = data.with_feature(f"{table}{features}\n", "restart_on_error")
    assert made == f"{table} {expected}"


def test_a_full_pool_fails_writes_instead_of_holding_them() -> None:
    assert list(guest("dm-thin").pool_table()) == [
        "0 131072 thin-pool /dev/b /dev/a 128 0 1 error_if_no_space"
    ]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), max_size=6))
def test_bad_parts_are_exactly_those_named(parts: list[tuple[int, int]]) -> None:
    end, bad = 0, []
    for gap, length in parts:
        bad.append({"offset": (end + gap) * 512, "size": length * 512})
        end += gap + length
    assume(end)
    lines = [line.split() for line in table("dm-error", bad=bad)]
    at, failing = 0, set[int]()
    for start, sectors, target, device, offset in lines:
        assert (int(start), int(offset), device) == (at, at, "/dev/a")
        at += int(sectors)
        if target == "error":
            failing.update(range(int(start), at))
    assert at == SIZES["a"] // 512
    assert failing == {
        sector
        for part in bad
        for sector in range(part["offset"] // 512, (part["offset"] + part["size"]) // 512)
    }


@pytest.mark.parametrize("bits", [128, 192, 256, 512])
def test_keys_have_their_length_and_depend_on_the_name(bits: int) -> None:
    spec = {"type": "dm-crypt", "over": "a", "key_size": bits}
    keys = {data.Crypt({**spec, "name": name}).key() for name in ("one", "two")}
    assert len(keys) == 2
    assert {len(bytes.fromhex(key)) * 8 for key in keys} == {bits}


def test_crypt_counts_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "a", 10 * 4096 + 512)
    words = table("dm-crypt", sector_size=4096, no_read_workqueue=True)[0].split()
    assert words[:4] == ["0", "80", "crypt", "aes-xts-plain64"]
    assert words[5:] == [
        *("0", "/dev/a", "0", "3", "no_read_workqueue", "sector_size:4096", "iv_large_sectors")
    ]
    assert table("dm-crypt")[0].endswith(" 0 /dev/a 0")


def test_what_veritysetup_is_told() -> None:
    made = guest("dm-verity", block_size=1024, algorithm="sha1", fec_roots=24)
    fec = ["--fec-device=/dev/c", "--fec-roots=24"]
    assert made.format_options() == [
        *("--hash=sha1", "--data-block-size=1024", "--hash-block-size=1024"),
        *(f"--salt={data.SALT}", *fec),
    ]
    assert made.open_options() == fec
    made = guest("dm-verity", fec=None, tasklet=True, check_once=True, corruption="restart")
    assert made.open_options() == [
        *("--use-tasklets", "--check-at-most-once", "--restart-on-corruption")
    ]


SALT = "1ab" * 21 + "5"
VERITY_SUPERBLOCK = bytes.fromhex(
    "7665726974790000010000000100000000000000000000000000000000000001736861323536" + "00" * 26
    + "0010000000100000" + "0001000000000000" + "2000000000000000" + SALT
)  # fmt: skip
"""What veritysetup 2.7.5 writes for 1 MiB of zeroes with that salt."""
VERITY_ROOT = "91735f2b30b857db29d359f4d31df705ff6a748ee6eec960ef59e3d0a0cdaf0e"
"""What it says is their root hash."""


def hashed(block: bytes) -> bytes:
    return hashlib.sha256(bytes.fromhex(SALT) + block).digest()


@pytest.mark.parametrize(
    ("size", "block_size", "algorithm", "roots", "tree", "fec"),
    [
        (4096, 4096, "sha256", 2, 4096, 8192),
        (8 << 20, 4096, "sha256", 2, 73728, 73728),
        (64 << 20, 4096, "sha512", 4, 1073152, 1097728),
        (64 << 20, 1024, "sha512", 24, 4474880, 7446528),
        (1 << 20, 512, "sha1", 2, 70656, 9216),
    ],
)
def test_trees_and_parity_are_as_large_as_veritysetup_makes_them(
    size: int, block_size: int, algorithm: str, roots: int, tree: int, fec: int
) -> None:
    # Sizes of the files that `veritysetup format` (cryptsetup 2.6.1) left.
    assert tree_size(size, block_size, algorithm) == tree
    assert fec_size(size, tree, block_size, roots) == fec


def test_the_root_hash_is_found_again() -> None:
    leaves = hashed(bytes(4096)) * 128
    top = (hashed(leaves) * 2).ljust(4096, b"\0")
    start = VERITY_SUPERBLOCK.ljust(4096, b"\0") + top
    assert data.root_hash(start) == VERITY_ROOT
    assert data.root_hash(start[:-1] + b"\1") != VERITY_ROOT


def test_no_root_hash_of_something_else() -> None:
    with pytest.raises(system.Failure, match="something else"):
        data.root_hash(b"LUKS\xba\xbe".ljust(8192, b"\0"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("mirror 2 259:0 259:1 128/128 1 AA 1 core", True),
        ("mirror 2 259:0 259:1 7/128 1 AA 1 core", False),
        ("mirror 3 259:0 259:1 259:2 127/128 1 AAA 1 core", False),
        ("mirror 3 259:0 259:1 259:2 128/128 1 AAA 1 core", True),
    ],
)
def test_sync_is_read_from_the_status(said: str, expected: bool) -> None:
    assert kcopyd.in_sync(said.split()) is expected


# Models


BELOW = [Node("a", "block", 64 * MIB, 512), Node("b", "block", 32 * MIB, 4096)]


@pytest.mark.parametrize(
    ("kind", "keys", "below", "expected"),
    [
        ("dm-linear", {}, BELOW, [("it", 4 * MIB, 4096)]),
        ("dm-snapshot", {}, BELOW, [("it", 64 * MIB, 4096), ("it:origin", 64 * MIB, 512)]),
        ("dm-thin", {"snapshot": True}, BELOW, [("it", 2**30, 512), ("it:snapshot", 2**30, 512)]),
        ("dm-mirror", {"legs": ["a", "b"]}, BELOW, [("it", 32 * MIB, 4096)]),
        ("dm-clone", {}, [BELOW[1], *BELOW], [("it", 32 * MIB, 4096)]),
        ("dm-crypt", {}, BELOW[:1], [("it", 64 * MIB, 512)]),
        ("dm-crypt", {"sector_size": 4096}, [Node("a", "block", 4608)], [("it", 4096, 4096)]),
        ("dm-crypt", {}, [Node("a", "block")], [("it", None, 512)]),
        ("dm-verity", {}, BELOW, [("it", 64 * MIB, 4096)]),
        ("dm-verity", {"block_size": 512}, BELOW[1:], [("it", 32 * MIB, 4096)]),
        ("dm-integrity", {}, BELOW[1:], [("it", None, 4096)]),
        ("dm-log-writes", {}, BELOW, [("it", 64 * MIB, 512)]),
    ],
)
def test_offers(kind: str, keys: dict[str, Any], below: list[Node], expected: list[Any]) -> None:
    found = list(model(kind, **keys).offers(below))
    assert [(node.ref, node.size, node.block_size) for node in found] == expected
    assert {node.read_only for node in found} == {kind == "dm-verity"}


@pytest.mark.parametrize("kind", ["dm-flakey", "dm-error", "dm-delay", "dm-crypt", "dm-linear"])
def test_zones_are_passed_on(kind: str) -> None:
    zoned = [Node("a", "block", 64 * MIB, zoned=True)] * 2
    made = model(kind)
    assert all(use.zoned is None for use in made.uses())
    assert [node.zoned for node in made.offers(zoned)] == [True]


@pytest.mark.parametrize(
    ("kind", "keys", "said"),
    [
        ("dm-flakey", {"features": ["drop_writes", "error_writes"]}, "do not go together"),
        ("dm-flakey", {"features": ["corrupt_bio_byte 1 w 0 0", "drop_writes"]}, "not go together"),
        ("dm-flakey", {"features": ["drop_writes", "drop_writes"]}, "there already"),
        (
            "dm-flakey",
            {"features": ["corrupt_bio_byte 1 w 0 0", "corrupt_bio_byte 1 r 0 0"]},
            "there already",
        ),
        ("dm-flakey", {"up": "0s"}, "no time"),
        ("dm-error", {"bad": OVERLAP}, "at least 4M"),
        ("dm-thin", {"size": 1000000}, "multiple of 512"),
    ],
)
def test_conflicts(kind: str, keys: dict[str, Any], said: str) -> None:
    with pytest.raises((ConflictError, ValidationError), match=said):
        model(kind, **keys)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("dm-flakey", {"features": ["corrupt_bio_byte 0 w 1 0"]}),
        ("dm-flakey", {"features": ["corrupt_bio_byte 1 w 256 0"]}),
        ("dm-flakey", {"features": ["random_read_corrupt 1000000001"]}),
        ("dm-flakey", {"features": ["drop_writes please"]}),
        ("dm-thin", {"chunk": "32K"}),
        ("dm-thin", {"chunk": "96K"}),
        ("dm-snapshot", {"chunk": "5K"}),
    ],
)
def test_what_the_kernel_would_refuse_is_refused(kind: str, keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected a"):
        model(kind, **keys)


@pytest.mark.parametrize(
    "feature",
    ["error_reads", "corrupt_bio_byte 224 r 255 32", "random_write_corrupt 1000000000"],
)
def test_features_of_flakey(feature: str) -> None:
    assert feature in table("dm-flakey", features=[feature, "drop_writes"])[0]


# dm-zoned


@given(
    zone_blocks=st.integers(6, 16).map(lambda power: 2**power),
    conventional=st.integers(0, 40),
    sequential=st.integers(1, 200),
    runt=st.booleans(),
    cache_zones=st.integers(0, 40),
    cache_rest=st.integers(0, 63),
)
def test_the_kernel_would_take_the_layout(
    zone_blocks: int,
    conventional: int,
    sequential: int,
    runt: bool,
    cache_zones: int,
    cache_rest: int,
) -> None:
    kinds = [dmzoned.CONVENTIONAL] * conventional + [dmzoned.SEQUENTIAL] * sequential
    kinds += [dmzoned.UNUSABLE] * runt
    cache = cache_zones * zone_blocks + cache_rest
    try:
        made = dmzoned.layout(zone_blocks, kinds, cache)
    except system.Failure:
        # What it needs at most: a bitmap for each zone, the map, and zones to buffer in.
        few = 2 * (2 + (300 * max(1, zone_blocks // 2**15) + 2) // zone_blocks)
        assert sequential < 3 or (cache_zones if cache else conventional) <= few
        return
    zones = [dmzoned.CONVENTIONAL] * cache_zones + [dmzoned.UNUSABLE] * bool(cache_rest) + kinds
    assert made.zones == len(zones)
    # drivers/md/dm-zoned-metadata.c: dmz_check_sb, dmz_load_sb, dmz_ctr_metadata, dmz_load_mapping
    usable = len(zones) - zones.count(dmzoned.UNUSABLE) - (made.tertiary is not None)
    randomly = zones.count(dmzoned.CONVENTIONAL)
    assert 0 < made.meta_zones < randomly
    assert 0 < made.reserved < usable - made.meta_zones
    assert 0 < made.chunks <= usable - 2 * made.meta_zones - made.reserved
    assert made.map_blocks * 512 >= made.chunks
    assert made.bitmap_blocks * 4096 * 8 >= len(zones) * zone_blocks
    assert made.meta_blocks <= made.meta_zones * zone_blocks
    sets = zones[made.primary : made.secondary + made.meta_zones]
    assert sets == [dmzoned.CONVENTIONAL] * 2 * made.meta_zones
    assert made.primary == (0 if cache else zones.index(dmzoned.CONVENTIONAL))
    if cache:
        assert made.secondary + made.meta_zones <= cache // zone_blocks


@pytest.mark.parametrize(
    ("kinds", "cache"),
    [
        ([dmzoned.SEQUENTIAL] * 64, 0),  # nowhere for metadata
        ([dmzoned.CONVENTIONAL] * 2 + [dmzoned.SEQUENTIAL] * 62, 0),  # none left for buffers
        ([dmzoned.SEQUENTIAL] * 64, 2 * 1024),
        ([dmzoned.SEQUENTIAL] * 64, 1023),
        ([dmzoned.CONVENTIONAL] * 9 + [dmzoned.SEQUENTIAL] * 64, 1023),  # no zone in the cache
        ([dmzoned.CONVENTIONAL] * 63 + [dmzoned.SEQUENTIAL], 0),  # the only one is reserved
        (
            [dmzoned.CONVENTIONAL, dmzoned.SEQUENTIAL, *[dmzoned.CONVENTIONAL] * 9]
            + [dmzoned.SEQUENTIAL] * 9,
            0,
        ),  # not in a row
    ],
)
def test_what_dm_zoned_cannot_use(kinds: list[str], cache: int) -> None:
    with pytest.raises(system.Failure, match="needs"):
        dmzoned.layout(1024, kinds, cache)


MADE = dmzoned.layout(1024, [dmzoned.SEQUENTIAL] * 32, 16384)
UUIDS = (b"whole-identifier", b"device-identifie")


def test_a_superblock_of_the_kernel_is_known() -> None:
    """The one that Linux 6.12.117 wrote for such devices, in its 59th generation."""
    written = bytes.fromhex(
        "44425a44020000003b00000000000000000000000000000032000000030000001c0000000100000030000000"
        "3df38141" + "7a".ljust(64, "0")
        + "8123a4081ef34907ae3b4c966f52dde288c82703fb8b463c81edfaea353dca2c"
    )  # fmt: skip
    assert dmzoned.chunks_of(written.ljust(4096, b"\0")) == MADE.chunks == 28
    identifiers = (written[80:96], written[96:112])
    assert dmzoned.superblock(MADE, 0, 59, identifiers, "z") == written.ljust(4096, b"\0")


@given(st.integers(0, 4095), st.integers(1, 255))
def test_a_damaged_superblock_is_none(at: int, change: int) -> None:
    block = bytearray(dmzoned.superblock(MADE, MADE.secondary, 1, UUIDS, "label"))
    assert dmzoned.chunks_of(block) == MADE.chunks
    block[at] ^= change
    assert dmzoned.chunks_of(block) is None


def test_a_blank_block_is_no_superblock() -> None:
    assert dmzoned.chunks_of(bytes(4096)) is None


@dataclasses.dataclass
class Zone:
    """What the kernel reports of a zone."""

    type: int = ioctls.SEQUENTIAL
    condition: int = ioctls.EMPTY
    length: int = 4 * MIB
    capacity: int = 4 * MIB


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (Zone(), dmzoned.SEQUENTIAL),
        (Zone(type=ioctls.CONVENTIONAL, condition=0), dmzoned.CONVENTIONAL),
        (Zone(length=MIB, capacity=MIB), dmzoned.UNUSABLE),
        (Zone(condition=0xD), dmzoned.UNUSABLE),
        (Zone(condition=0xF), dmzoned.UNUSABLE),
    ],
)
def test_kinds_of_zones(zone: Zone, expected: str) -> None:
    assert dmzoned.kind_of(zone, 4 * MIB) == expected


def test_zones_with_less_capacity_are_refused_in_words() -> None:
    with pytest.raises(system.Failure, match="capacity of 3145728; expected the same"):
        dmzoned.kind_of(Zone(capacity=3 * MIB), 4 * MIB)
