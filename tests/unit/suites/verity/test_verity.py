# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite verity: where hashes stand, what damage must come to, and what the guest is told."""

import json
import runpy
import sys
import zlib
from collections.abc import Sequence
from errno import EILSEQ, EIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.cli.show.latency import bars
from lab.errors import GuestError, ProfileError, UsageError
from lab.profile.layers.data import DmCrypt, fec_size, tree_size
from lab.profile.load import load
from lab.suites.verity import latency, refusals
from lab.suites.verity.checker import (
    Checker,
    CheckerTimeout,
    CheckFailure,
    ProgramEnd,
    differences,
    errors,
    failing,
    spans,
    told,
)
from lab.suites.verity.medium import HashTree, Medium, filled, root_hash
from lab.suites.verity.modes import MODES, Damage, DamageOutcome, wanted
from lab.suites.verity.options import PLANTS, parse
from lab.suites.verity.run import subjects
from lab.suites.verity.scene import CaseDeclined, VerityCase, VerityScene, identical
from lab.suites.verity.sectors import crypt_table
from lab.suites.verity.target import Target, targets
from lab.suites.verity.trees import Trees, refusal
from lab.vm.disks import find_disks
from tests import ROOT
from tests.unit.test_layers_dm import SALT, VERITY_ROOT

SIZE = 4096


def medium(path: Path, blocks: int, size: int = SIZE) -> Medium:
    made = Medium(path / "medium", size)
    made.path.write_bytes(bytes(blocks * size))
    return made


# The medium


def test_the_root_hash_is_the_one_that_veritysetup_finds(tmp_path: Path) -> None:
    data = medium(tmp_path, 256)
    assert root_hash(data, bytes.fromhex(SALT), "sha256", 32) == VERITY_ROOT
    data.flip(255)
    assert root_hash(data, bytes.fromhex(SALT), "sha256", 32) != VERITY_ROOT


@given(st.integers(2, 100_000), st.sampled_from([512, 1024, 4096]), st.sampled_from([32, 64]))
def test_every_block_has_its_hash_in_one_block_of_the_tree(
    blocks: int, size: int, digest: int
) -> None:
    tree = HashTree(blocks, size, digest)
    algorithm = {32: "sha256", 64: "sha512"}[digest]
    assert (1 + tree.total) * size == tree_size(blocks * size, size, algorithm)
    assert tree.leaf(blocks - 1) == tree.total
    block = blocks // 3
    assert block in tree.beside(block)
    assert {tree.leaf(other) for other in tree.beside(block)} == {tree.leaf(block)}
    assert sum(len(tree.beside(at)) for at in range(0, blocks, tree.per_block)) == blocks


def test_what_the_guest_writes_is_what_the_host_expects(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "guest-scripts/layers"))
    try:
        write = runpy.run_path(str(ROOT / "guest-scripts/suites/checker"))["write"]
    finally:
        sys.path.remove(str(ROOT / "guest-scripts/layers"))
        for name in ("kernellog", "direct"):
            sys.modules.pop(name, None)
    by_guest = medium(tmp_path, 8)
    assert write(str(by_guest.path), SIZE, 8, "seed", 3) == {"errors": {}}
    by_host = Medium(tmp_path / "other", SIZE)
    by_host.path.write_bytes(bytes(8 * SIZE))
    by_host.fill("seed")
    assert by_guest.sums() == by_host.sums()
    assert by_host.find(filled("seed", 5, SIZE)) == 5
    with pytest.raises(GuestError, match="no block holds"):
        by_host.find(b"nowhere")


def scene(plant: str = "") -> VerityScene:
    return VerityScene(SimpleNamespace(), SimpleNamespace(), plant)  # type: ignore[arg-type]


@pytest.mark.parametrize("blocks", [(), (3,), (1, 6)])
def test_bits_are_flipped_and_flipped_back(tmp_path: Path, blocks: Sequence[int]) -> None:
    data = medium(tmp_path, 8)
    before = data.sums()
    with scene().flipped(data, blocks):
        changed = [at for at, now in enumerate(data.sums()) if now != before[at]]
    assert changed == list(blocks)
    assert data.sums() == before


def test_a_write_of_whoever_only_checks_is_found(tmp_path: Path) -> None:
    data = medium(tmp_path, 8)
    with (
        pytest.raises(CheckFailure, match="block 5: is not what it must be"),
        scene().flipped(data, [3]),
    ):
        data.flip(5)
    # A repair on the medium is one as well.
    data.path.write_bytes(bytes(8 * SIZE))
    with pytest.raises(CheckFailure, match="block 3"), scene().flipped(data, [3]):
        data.flip(3)


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_is_found_on_the_medium_if_nowhere_else(tmp_path: Path, plant: str) -> None:
    data = medium(tmp_path, 8)
    before = data.sums()
    with pytest.raises(CheckFailure, match="on the medium"), scene(plant).flipped(data, [3]):
        assert data.sums() != failing(before, {3: EIO})
    assert data.sums() == before


# What reading comes to


def test_differences_are_told_by_block() -> None:
    found = [1, -EIO, 3, 4, -EILSEQ, -EIO, 9]
    expected = [1, 2, -EIO, -EIO, -EIO, -EIO, 7]
    assert differences(found, found) == ""
    assert differences(found, expected) == (
        "block 1: EIO, expected to be read; block 2-3: could be read, expected EIO; "
        "block 4: EILSEQ, expected EIO; block 6: is not what it must be"
    )
    assert errors(found) == "EIO at 1, 5; EILSEQ at 4"
    assert errors([1, 2]) == "all read"


@given(st.sets(st.integers(0, 60)))
def test_spans_have_each_number_once(numbers: set[int]) -> None:
    ends = [part.split("-") for part in spans(sorted(numbers)).split(", ") if part]
    covered = [
        at for first, *last in ends for at in range(int(first), int((last or [first])[0]) + 1)
    ]
    assert covered == sorted(numbers)


@pytest.fixture
def pair() -> tuple[Target, Target]:
    profile = load("dm-verity")
    found = targets(profile.layers, find_disks(profile))
    assert found
    return found


def test_what_damage_comes_to(tmp_path: Path, pair: tuple[Target, Target]) -> None:
    plain, _ = pair
    data = medium(tmp_path, plain.tree.blocks)
    data.fill("seed")
    whole = data.sums()
    (bad,) = plain.bad(1)
    data.flip(bad)

    def come(then: DamageOutcome, *, tree: bool = False) -> list[list[int]]:
        return wanted(then, whole, plain, Damage(tree=tree), [bad], data)

    (failed,) = come(DamageOutcome.FAILS)
    assert [at for at, value in enumerate(failed) if value != whole[at]] == [bad]
    assert failed[bad] == -EIO
    assert come(DamageOutcome.AS_IT_IS) == [data.sums()]
    assert come(DamageOutcome.REPAIRED) == [whole]
    (unvouched,) = come(DamageOutcome.FAILS, tree=True)
    assert [at for at, value in enumerate(unvouched) if value < 0] == list(plain.tree.beside(bad))
    assert come(DamageOutcome.AS_IT_IS, tree=True) == [whole]
    assert come(DamageOutcome.REPAIRED_OR_FAILS) == [whole, failed]


def test_damage_meets_as_many_blocks_of_a_codeword_as_it_should(
    pair: tuple[Target, Target],
) -> None:
    _, fec = pair
    assert [len(fec.bad(blocks)) for blocks in (1, 0, -1)] == [1, 2, 3]
    first, second = fec.bad(0)
    # Blocks so far apart share codewords: as many as parity has blocks, for each root.
    covered = fec.data.drive.size, fec.hash.drive.size
    parity = fec_size(*covered, fec.size, fec.layer.fec_roots)
    assert second - first == parity // fec.size // fec.layer.fec_roots


def test_what_is_read_otherwise_the_other_way_is_found() -> None:
    same: dict[str, dict[str, tuple[int, ...]]] = {
        "reads": {"workqueue": (1, 2), "tasklet": (1, 2)}
    }
    assert identical(same) == ["1 cases read the same both ways"]
    with pytest.raises(CheckFailure, match="load: tasklet otherwise than workqueue: block 1"):
        identical(same | {"load": {"workqueue": (1, 2), "tasklet": (1, -EIO)}})
    with pytest.raises(CaseDeclined):
        identical({"reads": {"workqueue": (1, 2)}})


def test_what_user_space_was_told_is_not_only_in_the_log() -> None:
    kernel = (
        "device-mapper: table: 254:0: verity: Unrecognized verity feature request (-EINVAL)",
        "device-mapper: ioctl: error adding target to table",
    )
    user = "device-mapper: reload ioctl on x failed: Invalid argument\nCommand failed."
    said = ProgramEnd(("dmsetup",), 1, "", user, kernel)
    assert said.user == "device-mapper: reload ioctl on x failed: Invalid argument Command failed."
    assert said.only_in_log() == kernel
    told = ProgramEnd(("dmsetup",), 1, "", "error adding target to table", kernel)
    assert told.only_in_log() == kernel[:1]


@pytest.mark.parametrize("problem", [CheckFailure("no"), GuestError("gone"), KeyboardInterrupt()])
def test_a_user_who_breaks_off_does_not_wait_for_the_guest(problem: BaseException) -> None:
    asked: list[tuple[str, ...]] = []
    checker = SimpleNamespace(run=lambda *argv: asked.append(argv))
    scene = VerityScene(SimpleNamespace(), checker)  # type: ignore[arg-type]
    with pytest.raises(type(problem)), scene.closing("dmsetup", "remove", "x"):
        raise problem
    assert asked == ([] if isinstance(problem, KeyboardInterrupt) else [("dmsetup", "remove", "x")])


class Silent:
    """An executor that answers once, and then no more."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self, **_: object) -> None:
        self.sent += 1

    def answer(self, _deadline: float) -> dict[str, Any] | None:
        answer = {"status": 3, "stdout": "", "stderr": "no\n", "kernel": ["x: why", "x: why"]}
        return answer if self.sent == 1 else None


def test_what_a_program_says_is_kept_and_a_guest_without_an_answer_is_asked_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = Silent()
    monkeypatch.setattr("lab.suites.verity.checker.Executor", lambda *_: executor)
    asked = Checker(SimpleNamespace(), 1.0)  # type: ignore[arg-type]
    with pytest.raises(CheckFailure, match="a b: exit status 3: no; kernel: x: why"):
        asked.must("a", "b")
    assert asked.said == ["kernel: x: why", "kernel: x: why", "$ a b\nno\nstatus 3"]
    assert told(asked.heard) == ["x: why (2 times)"]
    for _ in range(2):
        with pytest.raises(CheckerTimeout):
            asked.run("c")
    assert executor.sent == 2


@pytest.mark.parametrize(
    ("user", "kernel", "kind"),
    [
        ("failed: Invalid argument", "verity: Unrecognized verity feature request", CaseDeclined),
        ("Requested dm-verity tasklets are not supported.", "", CaseDeclined),
        ("failed: Invalid argument", "verity: Invalid fec_roots", CheckFailure),
    ],
)
def test_a_kernel_without_an_option_is_no_failure(
    user: str, kernel: str, kind: type[Exception]
) -> None:
    why = refusal(ProgramEnd(("veritysetup",), 1, "", user, (kernel,) if kernel else ()))
    assert type(why) is kind
    assert user in str(why) and kernel in str(why)


# What is carried out


def titles(profile: str) -> list[str]:
    found: list[VerityCase] = []
    for subject in subjects(load(profile)):
        found += [*subject.cases(), *subject.endings()]
        if isinstance(subject, Trees):
            found += refusals.cases(subject)
    return [case.title for case in found]


@pytest.mark.parametrize("profile", ["dm-verity", "dm-verity-tasklet"])
def test_every_mode_has_its_case_both_ways(profile: str) -> None:
    names = titles(profile)
    assert len(names) == len(set(names))
    for mode in MODES:
        assert {f"workqueue:{mode.name}", f"tasklet:{mode.name}"} <= set(names)
    assert {"tasklet:panic-on-corruption", "refused-unknown-option", "identical"} <= set(names)


def test_sectors_with_and_without_queues() -> None:
    names = titles("dm-crypt-integrity")
    assert {"integrity:data-flipped", "workqueue:load", "no-workqueue:load"} <= set(names)


def test_nothing_to_test_is_the_profiles_mistake() -> None:
    with pytest.raises(ProfileError, match="nothing to test"):
        subjects(load("nvme-copy"))
    with pytest.raises(ProfileError, match="wants 1024 at least"):
        subjects(load("dm-verity", ["devices[0].namespaces[0].size=1M"]))


def test_the_table_of_dm_crypt_is_that_of_its_layer_but_for_its_queues() -> None:
    (crypt,) = (one for one in load("dm-crypt-integrity").layers if isinstance(one, DmCrypt))
    plain = crypt_table(crypt, "/dev/below", 1001, ()).split()
    assert plain[:4] == ["0", "1000", "crypt", "aes-xts-plain64"]
    assert plain[8:] == ["2", "sector_size:4096", "iv_large_sectors"]
    assert crypt_table(crypt, "/dev/below", 1000, ("no_read_workqueue",)).split()[8:10] == [
        "3", "no_read_workqueue",
    ]  # fmt: skip


def test_arguments() -> None:
    asked = parse(["--only", "tasklet:*,format", "--seconds", "0.5", "--plant", "no-flip"])
    assert asked.selects("tasklet:reads") and asked.selects("format")
    assert not asked.selects("workqueue:reads")
    assert parse([]).selects("anything")


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (["--seconds", "0"], "--seconds"),
        (["--plant", "help"], "nothing to plant called help"),
        (["--what"], "unrecognized"),
    ],
)
def test_arguments_that_make_no_sense(args: list[str], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parse(args)


# Latency


def fio(median: int, high: int) -> str:
    percentile = {f"{part:f}": median for part in latency.PERCENTS} | {"99.000000": high}
    read = {"clat_ns": {"percentile": percentile}, "total_ios": 42}
    return "note: something first\n" + json.dumps({"jobs": [{"read": read}]})


def test_figures_of_fio() -> None:
    found = latency.parse(fio(1500, 9000))
    assert (found.taken[50.0], found.taken[99.0], found.reads) == (1.5, 9.0, 42)
    assert tuple(found.taken) == latency.PERCENTS


@pytest.mark.parametrize("text", ["", "{}", '{"jobs": []}', "fio: no"])
def test_what_is_no_answer_of_fio(text: str) -> None:
    with pytest.raises(GuestError, match="fio"):
        latency.parse(text)


def test_bars_have_one_scale() -> None:
    rows: list[dict[str, Any]] = [
        {"way": "workqueue", "median_us": 100.0, "p99_us": 400.0},
        {"way": "tasklet", "median_us": 50.0, "p99_us": 0.0},
    ]
    lines = list(bars(rows))
    assert [line.count("█") for line in lines] == [12, 6, 48, 1]
    assert all(len(line) <= 80 for line in lines)


def test_the_sum_of_a_block_is_its_crc(tmp_path: Path) -> None:
    data = medium(tmp_path, 2)
    data.fill("x")
    assert data.sums() == [zlib.crc32(filled("x", block, SIZE)) for block in range(2)]
