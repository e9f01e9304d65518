# SPDX-License-Identifier: GPL-2.0-or-later
"""Planted defects: each damages what it says, and the rule it names is then violated."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lab.copy.contract import Aftermath, CachedCopy, Facts, Recovery, Ruling, judge
from lab.copy.ground import MediumGround
from lab.copy.model import SECTOR, Completion
from lab.copy.oracle import classify, flip_bit
from lab.copy.paths.traced import offload, parse_trace
from lab.copy.plant import KINDS, Plant, find, listing
from lab.copy.sizes import SIZE_LIMIT_EXCEEDED
from lab.crash.writelog import Flag, LogEntry
from lab.errors import UsageError
from lab.guest.kmsg import complaints
from lab.vm.graph import Rule
from tests.unit.builders import (
    COPY,
    DONE,
    TAGGING,
    WINDOW,
    contents,
    copied,
    facts,
    findings,
    sector_of,
    write_medium,
)

FIRST, SECOND, THIRD = (part for _, part in COPY.pieces())
FAILED_IN_THE_SECOND = Completion(0x280, 1, 0.01)


def test_every_kind_is_listed_with_its_rule_and_what_it_does() -> None:
    entries = re.split(r"\n(?! )", listing())
    assert [" ".join(entry.split()) for entry in entries] == [
        f"{kind} {plant.rule} {plant.does}" for kind, plant in KINDS.items()
    ]


def test_every_rule_of_the_contract_has_a_defect_that_violates_it() -> None:
    assert {plant.rule for plant in KINDS.values()} == set(judge(facts()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_found_by_its_name(kind: str) -> None:
    assert find(kind).kind == kind


def test_an_unknown_kind_is_refused_with_the_way_to_the_list() -> None:
    with pytest.raises(UsageError, match="'bit-rot'") as caught:
        find("bit-rot")
    assert "--plant help" in caught.value.hint


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """A medium on which the copy was carried out perfectly."""
    path = tmp_path / "medium"
    write_medium(path, copied())
    return path


def planted(kind: str, medium: Path, succeeded: bool = True) -> dict[int, bytes]:
    """The sectors that a kind changes on the medium, with what they hold then."""
    before = medium.read_bytes()
    find(kind).medium(MediumGround(medium), COPY, TAGGING, succeeded)
    after = medium.read_bytes()
    assert len(after) == len(before)
    return {
        at // SECTOR: after[at : at + SECTOR]
        for at in range(0, len(after), SECTOR)
        if after[at : at + SECTOR] != before[at : at + SECTOR]
    }


def test_flip_bit_flips_one_bit_of_the_destination(medium: Path) -> None:
    ((at, sector),) = planted("flip-bit", medium).items()
    assert at in COPY.target
    new, found = int.from_bytes(sector_of(20)), int.from_bytes(sector)
    assert (new ^ found).bit_count() == 1


def test_wrong_range_puts_the_last_ranges_data_first(medium: Path) -> None:
    assert planted("wrong-range", medium) == {48: sector_of(39)}


def test_torn_block_leaves_half_new_and_half_old(medium: Path) -> None:
    half = SECTOR // 2
    assert planted("torn-block", medium) == {48: sector_of(20)[:half] + sector_of(48)[half:]}


def test_touch_neighbour_writes_source_data_behind_the_destination(medium: Path) -> None:
    assert planted("touch-neighbour", medium) == {60: sector_of(20)}


def test_change_source_zeroes_the_first_source_sector(medium: Path) -> None:
    assert planted("change-source", medium) == {20: bytes(SECTOR)}


def test_drop_last_range_undoes_the_last_range_of_a_success_only(medium: Path) -> None:
    assert planted("drop-last-range", medium, succeeded=False) == {}
    assert planted("drop-last-range", medium) == {at: sector_of(at) for at in THIRD}


def test_hide_corruption_makes_the_destination_of_a_success_whole(medium: Path) -> None:
    flip_bit(MediumGround(medium), 50)
    assert planted("hide-corruption", medium, succeeded=False) == {}
    assert planted("hide-corruption", medium) == {50: sector_of(22)}


ON_MEDIUM = [kind for kind, plant in KINDS.items() if plant.medium is not Plant.medium]
BESIDES = [kind for kind in KINDS if kind not in ON_MEDIUM]


@pytest.mark.parametrize("kind", ON_MEDIUM)
def test_damage_on_the_medium_violates_just_the_rule_it_names(kind: str, medium: Path) -> None:
    plant = find(kind)
    corrupted = (50,) if kind == "hide-corruption" else ()
    for sector in corrupted:
        flip_bit(MediumGround(medium), sector)
    plant.medium(MediumGround(medium), COPY, TAGGING, True)
    seen = classify(COPY, TAGGING, MediumGround(medium).read(WINDOW))
    case = facts(findings=seen, corrupted=corrupted)
    broken = {rule for rule, verdict in judge(case).items() if verdict.verdict is Ruling.VIOLATED}
    # What is not whole is not new either: COMPLETE notices any damage of the destination.
    assert broken - {"COMPLETE"} == {plant.rule} - {"COMPLETE"}
    assert plant.rule in broken


@pytest.mark.parametrize("kind", ["", *BESIDES])
def test_every_other_kind_leaves_the_medium_alone(kind: str, medium: Path) -> None:
    assert planted(kind, medium) == {}


def log_of_copy() -> list[LogEntry]:
    """A write per range, then a flush."""
    writes = [
        LogEntry(index, part.start * SECTOR, part.sectors * SECTOR, Flag(0), 0, 0)
        for index, part in enumerate((FIRST, SECOND, THIRD))
    ]
    return [*writes, LogEntry(3, 0, 0, Flag.FLUSH, 0, 0)]


def test_drop_flushed_write_loses_the_last_write_and_nothing_else() -> None:
    log = log_of_copy()
    assert find("drop-flushed-write").survivors(log) == [*log[:2], log[3]]
    assert find("drop-flushed-write").survivors([log[3]]) == [log[3]]
    assert find("drop-flushed-write").survivors([]) == []


def test_tear_cached_block_cuts_the_last_write_inside_its_first_sector() -> None:
    log = log_of_copy()
    kept = find("tear-cached-block").survivors(log)
    assert kept == [*log[:2], replace(log[2], length=256)]
    assert find("tear-cached-block").survivors([log[3]]) == [log[3]]


def survived(entries: list[LogEntry]) -> dict[int, bytes]:
    """The window after a replay of these entries of the log of a copy."""
    found = contents({})
    for entry in entries:
        at = entry.offset - WINDOW.start * SECTOR
        new = contents(copied())[at : at + entry.length]
        found = found[:at] + new + found[at + entry.length :]
    sectors = [found[at : at + SECTOR] for at in range(0, len(found), SECTOR)]
    return dict(zip(WINDOW, sectors, strict=True))


def seen_with(plant: Plant, rule: str) -> Facts:
    """What is observed where a defect shows that the rule forbids, with the plant's hooks in it."""
    match rule:
        case "DURABLE":
            kept = findings(survived(list(plant.survivors(log_of_copy()))))
            return facts(aftermath=Aftermath.POWER_LOST, flushed=True, findings=kept)
        case "NO-FOREIGN":
            kept = findings(survived(list(plant.survivors(log_of_copy()))))
            return facts(aftermath=Aftermath.CACHE_PART, completion=None, findings=kept)
        case "SIGNALLED" if plant.request({}).get("fall_back"):
            seen = offload(parse_trace(_OFFLOADED + _EMULATED), COPY, 1, 3)
            return facts(injected="write 2 failed with errno 5", offload=seen)
        case "SIGNALLED" | "PREFIX":
            return facts(
                completion=plant.completion(FAILED_IN_THE_SECOND, COPY),
                findings=findings(copied(1)),
                injected="write 2 failed with errno 5",
            )
        case "LIMITS":
            told = plant.completion(Completion(SIZE_LIMIT_EXCEEDED, 0, 0.01), COPY)
            size = "9 blocks in a range (mssrl 8)"
            return facts(completion=told, findings=findings({}), size=size, excess=True)
        case "ERROR-CLASS":
            return facts(completion=plant.completion(DONE, COPY))
        case "RECOVERS":
            spent = plant.rules((Rule("flush_to_os", "write", 5),))[0].once
            again = DONE if spent else FAILED_IN_THE_SECOND
            return facts(recovery=Recovery(again, findings(copied())))
        case "NO-HANG":
            messages = complaints([plant.kernel_message()])
            return facts(waited=plant.delay(10.0), deadline=10.0, complaints=messages)
        case "COMPLETE":
            moved = {} if plant.request({}).get("pretend") else copied()
            return facts(findings=findings(moved))
        case "COHERENT":
            read = classify(COPY, TAGGING, plant.cached(contents(copied()), COPY, TAGGING))
            return facts(cached=CachedCopy(DONE, read, findings(copied())))
        case _:
            trace = _EMULATED if plant.request({}).get("emulate") else _OFFLOADED
            return facts(offload=offload(parse_trace(trace), COPY, 1, 3))


_OFFLOADED = "1@1.0:pci_nvme_copy cid 1 nsid 1 nr 3 format 0x0\n" + "".join(
    f"1@1.0:pci_nvme_copy_source_range slba {source.start:#x} nlb 4\n" for source in COPY.sources
)
_EMULATED = "".join(
    f"1@1.0:pci_nvme_{event} cid 1 nsid 1 nlb 4 count 2048 lba {extent.start:#x}\n"
    for piece in COPY.pieces()
    for event, extent in zip(("read", "write"), piece, strict=True)
)


@pytest.mark.parametrize("kind", BESIDES)
def test_damage_to_anything_else_is_caught_by_the_rule_it_names(kind: str) -> None:
    plant = find(kind)
    assert judge(seen_with(plant, plant.rule))[plant.rule].verdict is plant.ruling


@pytest.mark.parametrize("rule", sorted({KINDS[kind].rule for kind in BESIDES}))
def test_the_same_situation_without_a_plant_violates_nothing(rule: str) -> None:
    verdicts = judge(seen_with(find(""), rule))
    assert {found.verdict for found in verdicts.values()} <= {
        Ruling.HOLDS, Ruling.NOT_APPLICABLE
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_a_plant_changes_the_one_thing_it_is_for(kind: str) -> None:
    plant, rules = find(kind), (Rule("flush_to_os", "write", 5, sector=9),)
    log = log_of_copy()
    ends = {DONE, FAILED_IN_THE_SECOND, Completion(SIZE_LIMIT_EXCEEDED, 0, 0.01)}
    changed = {
        "rules": plant.rules(rules) != rules,
        "request": plant.request({"op": "copy"}) != {"op": "copy"},
        "delay": plant.delay(10.0) != 0,
        "kernel_message": plant.kernel_message() != "",
        "completion": {plant.completion(end, COPY) for end in ends} != ends,
        "survivors": plant.survivors(log) != log,
        "cached": plant.cached(contents(copied()), COPY, TAGGING) != contents(copied()),
        "medium": kind in ON_MEDIUM,
    }
    assert sum(changed.values()) == (1 if kind else 0), changed


def test_overstated_progress_is_one_range_more_of_a_failure() -> None:
    overstate = find("overstate-progress")
    assert overstate.completion(FAILED_IN_THE_SECOND, COPY).ranges_done == 2
    assert overstate.completion(DONE, COPY) == DONE


def test_a_fault_that_stays_keeps_all_but_its_end() -> None:
    rule = Rule("flush_to_os", "write", 5, sector=9)
    assert find("fault-stays").rules((rule,)) == (replace(rule, once=False),)
