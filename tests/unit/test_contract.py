# SPDX-License-Identifier: GPL-2.0-or-later
"""The contract: each rule's rulings, and where one turns into the other."""

from dataclasses import replace

import pytest

from lab.copy.contract import (
    RULES,
    Aftermath,
    CachedCopy,
    Facts,
    Offload,
    Recovery,
    Ruling,
    judge,
    overall,
)
from lab.copy.model import SECTOR, Completion, Copy, Extent
from lab.copy.oracle import Findings
from lab.guest.kmsg import complaints, fatal
from tests.unit.builders import DONE, FAILED, copied, facts, findings, sector_of

HOLDS, VIOLATED, NOT_APPLICABLE = Ruling.HOLDS, Ruling.VIOLATED, Ruling.NOT_APPLICABLE

NOTHING_COPIED = findings({})
COPIED = findings(copied())
ALL_BUT_ONE = findings({at: data for at, data in copied().items() if at != 59})
INJECTED = "write 2 failed with errno 5"
FAILED_AS_IT_SHOULD = facts(
    completion=Completion(0x280, 1, 0.01), injected=INJECTED, findings=findings(copied(1))
)


def ruling(rule: str, case: Facts) -> Ruling:
    """What `rule` comes to."""
    return judge(case)[rule].verdict


def evidence(rule: str, case: Facts) -> str:
    """What the ruling rests on."""
    return judge(case)[rule].evidence


def violated(case: Facts) -> set[str]:
    """The rules that are violated."""
    return {rule for rule in RULES if ruling(rule, case) is VIOLATED}


def test_the_rules_are_those_of_the_design() -> None:
    assert list(RULES) == [
        "COMPLETE", "PREFIX", "NO-FOREIGN", "SOURCE", "NEIGHBOUR", "SIGNALLED", "ERROR-CLASS",
        "DURABLE", "RECOVERS", "NO-HANG", "OFFLOADED", "COHERENT", "LIMITS",
    ]  # fmt: skip


def test_a_perfect_copy_without_fault_violates_nothing() -> None:
    verdicts = judge(facts())
    assert {rule for rule, found in verdicts.items() if found.verdict is HOLDS} == {
        "COMPLETE", "NO-FOREIGN", "SOURCE", "NEIGHBOUR", "RECOVERS", "NO-HANG", "OFFLOADED",
    }  # fmt: skip
    assert violated(facts()) == set()
    assert overall(facts(), verdicts) == "holds"


def test_a_failure_that_is_told_and_leaves_whole_data_violates_nothing() -> None:
    assert violated(FAILED_AS_IT_SHOULD) == set()
    assert overall(FAILED_AS_IT_SHOULD, judge(FAILED_AS_IT_SHOULD)) == "holds"


def test_every_verdict_has_evidence() -> None:
    cases = [facts(), FAILED_AS_IT_SHOULD, facts(completion=None, waited=None)]
    assert all(verdict.evidence for case in cases for verdict in judge(case).values())


POWER_LOST, KILLED, LIVE = Aftermath.POWER_LOST, Aftermath.KILLED, Aftermath.LIVE
CACHE_KEPT, CACHE_PART, UNPLUGGED = (
    Aftermath.CACHE_KEPT, Aftermath.CACHE_PART, Aftermath.UNPLUGGED
)  # fmt: skip


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (facts(), HOLDS),
        (facts(findings=ALL_BUT_ONE), VIOLATED),
        (facts(findings=NOTHING_COPIED, aftermath=KILLED), VIOLATED),
        (facts(findings=NOTHING_COPIED, aftermath=POWER_LOST), NOT_APPLICABLE),
        (facts(findings=NOTHING_COPIED, aftermath=CACHE_PART), NOT_APPLICABLE),
        (facts(findings=NOTHING_COPIED, aftermath=CACHE_KEPT), VIOLATED),
        (facts(findings=NOTHING_COPIED, aftermath=UNPLUGGED), VIOLATED),
        (facts(findings=NOTHING_COPIED, completion=FAILED), NOT_APPLICABLE),
        (facts(findings=NOTHING_COPIED, completion=None), NOT_APPLICABLE),
    ],
)
def test_complete_needs_all_new_after_success(case: Facts, expected: Ruling) -> None:
    assert ruling("COMPLETE", case) is expected


@pytest.mark.parametrize(
    ("told", "copied_ranges", "expected"),
    [
        (0, 0, HOLDS),
        (0, 2, HOLDS),  # more than told is no lie
        (1, 1, HOLDS),
        (2, 2, HOLDS),
        (1, 0, VIOLATED),
        (2, 1, VIOLATED),
        # All three ranges done is no failure, and there is no fourth.
        (3, 3, VIOLATED),
        (4, 3, VIOLATED),
    ],
)
def test_prefix_believes_no_range_that_is_not_new(
    told: int, copied_ranges: int, expected: Ruling
) -> None:
    case = facts(completion=Completion(0x280, told, 0.01), findings=findings(copied(copied_ranges)))
    assert ruling("PREFIX", case) is expected


def test_prefix_only_looks_at_what_was_reported_done() -> None:
    beyond = findings({**copied(1), 56: bytes(SECTOR)})
    case = facts(completion=Completion(0x280, 1, 0.01), findings=beyond)
    assert ruling("PREFIX", case) is HOLDS


def test_prefix_quotes_the_sectors_that_are_not_done() -> None:
    case = facts(completion=Completion(0x280, 2, 0.01), findings=findings(copied(1)))
    assert "2 ranges reported done" in evidence("PREFIX", case)
    assert "sector 52: old data" in evidence("PREFIX", case)
    assert "sector 56" not in evidence("PREFIX", case)


@pytest.mark.parametrize("completion", [None, DONE])
def test_prefix_is_about_failures(completion: Completion | None) -> None:
    assert ruling("PREFIX", facts(completion=completion)) is NOT_APPLICABLE


def test_prefix_asks_nothing_of_unflushed_data_after_power_loss() -> None:
    case = facts(
        completion=Completion(0x280, 1, 0.01), findings=NOTHING_COPIED, aftermath=POWER_LOST
    )
    assert ruling("PREFIX", case) is NOT_APPLICABLE


HALF_NEW = sector_of(20)[:256] + sector_of(48)[256:]


@pytest.mark.parametrize(
    ("sector", "words"),
    [
        (HALF_NEW, "1 torn: sector 48: data of sector 20 and data of sector 48"),
        (bytes(SECTOR), "1 foreign: sector 48: zeroes"),
        (sector_of(21), "1 foreign: sector 48: data of sector 21"),
    ],
)
def test_no_foreign_names_what_is_neither_old_nor_new(sector: bytes, words: str) -> None:
    case = facts(findings=findings({48: sector}))
    assert ruling("NO-FOREIGN", case) is VIOLATED
    assert evidence("NO-FOREIGN", case) == words


@pytest.mark.parametrize("ranges", [0, 1, 2, 3])
def test_no_foreign_holds_for_any_mixture_of_whole_sectors(ranges: int) -> None:
    assert ruling("NO-FOREIGN", facts(findings=findings(copied(ranges)))) is HOLDS


def test_no_foreign_does_not_call_the_new_half_of_a_torn_block_old() -> None:
    blocks = Copy((Extent(24, 8),), destination=56, unit=8)
    torn = findings({at: sector_of(at - 32) for at in range(56, 60)}, blocks)
    case = facts(findings=torn)
    assert ruling("NO-FOREIGN", case) is VIOLATED
    assert "sector 56: old data" not in evidence("NO-FOREIGN", case)


def test_evidence_quotes_three_sectors_and_counts_the_others() -> None:
    case = facts(findings=findings({at: bytes(SECTOR) for at in range(48, 53)}))
    assert evidence("NO-FOREIGN", case) == (
        "5 foreign: sector 48: zeroes; sector 49: zeroes; sector 50: zeroes; and 2 more"
    )


def test_source_and_neighbour_tell_which_of_them_changed() -> None:
    source = facts(findings=findings({**copied(), 20: bytes(SECTOR)}))
    neighbour = facts(findings=findings({**copied(), 60: bytes(SECTOR)}))
    assert violated(source) == {"SOURCE"}
    assert violated(neighbour) == {"NEIGHBOUR"}
    assert evidence("SOURCE", source) == "sector 20: zeroes"
    assert evidence("NEIGHBOUR", neighbour) == "sector 60: zeroes"


def test_neighbour_is_violated_by_a_stray_write_that_changed_no_tag() -> None:
    case = facts(stray_writes=("512 bytes written at sector 9999",))
    assert violated(case) == {"NEIGHBOUR"}
    assert "sector 9999" in evidence("NEIGHBOUR", case)


@pytest.mark.parametrize(
    ("completion", "injected", "expected"),
    [
        (DONE, INJECTED, VIOLATED),
        (FAILED, INJECTED, HOLDS),
        (None, INJECTED, NOT_APPLICABLE),
        (DONE, "", NOT_APPLICABLE),
        (FAILED, "", NOT_APPLICABLE),
    ],
)
def test_signalled_lets_no_error_of_the_medium_pass_as_success(
    completion: Completion | None, injected: str, expected: Ruling
) -> None:
    assert ruling("SIGNALLED", facts(completion=completion, injected=injected)) is expected


def test_an_error_that_another_disk_made_good_need_not_reach_the_caller() -> None:
    masked = facts(completion=DONE, injected=INJECTED, redundant="md, raid1")
    assert evidence("SIGNALLED", masked).endswith("made good by md, raid1: all is there")
    assert ruling("SIGNALLED", masked) is HOLDS
    assert ruling("SIGNALLED", replace(masked, findings=ALL_BUT_ONE)) is VIOLATED


@pytest.mark.parametrize(
    ("completion", "injected", "expected"),
    [
        (FAILED, "", VIOLATED),
        (FAILED, INJECTED, NOT_APPLICABLE),
        (DONE, "", NOT_APPLICABLE),
        (None, "", NOT_APPLICABLE),
    ],
)
def test_error_class_allows_no_error_where_nothing_went_wrong(
    completion: Completion | None, injected: str, expected: Ruling
) -> None:
    assert ruling("ERROR-CLASS", facts(completion=completion, injected=injected)) is expected


def test_a_disturbance_excuses_an_error_and_nothing_else() -> None:
    reset = {"completion": FAILED, "disturbed": "the controller was reset"}
    assert violated(facts(**reset)) == set()
    lost = facts(**reset, findings=findings({50: bytes(SECTOR)}))
    assert violated(lost) == {"NO-FOREIGN"}
    wrong = facts(disturbed="the controller was reset", findings=ALL_BUT_ONE)
    assert violated(wrong) == {"COMPLETE"}


FLIPPED = bytes([0xFF]) * SECTOR


def test_what_the_lab_corrupted_is_caught_and_quoted() -> None:
    case = facts(corrupted=(50,), findings=findings({**copied(), 50: FLIPPED}))
    assert {rule for rule in RULES if ruling(rule, case) is Ruling.CAUGHT} == {
        "COMPLETE", "NO-FOREIGN",
    }  # fmt: skip
    assert "sector 50: no valid tag" in evidence("NO-FOREIGN", case)
    assert overall(case, judge(case)) == "holds"


def test_corruption_that_nothing_shows_is_a_violation() -> None:
    case = facts(corrupted=(50,))
    assert violated(case) == {"COMPLETE", "NO-FOREIGN"}
    assert "sector 50 was damaged" in evidence("NO-FOREIGN", case)


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        ({50: FLIPPED, 51: FLIPPED}, {"COMPLETE", "NO-FOREIGN"}),
        ({50: FLIPPED, 51: sector_of(51)}, {"COMPLETE"}),
        ({50: FLIPPED, 60: FLIPPED}, {"NEIGHBOUR"}),
        ({50: FLIPPED, 20: FLIPPED}, {"SOURCE"}),
        # Overwritten again by old data: what was corrupted is whole, and not what it must be.
        ({50: sector_of(50)}, {"NO-FOREIGN"}),
    ],
)
def test_corruption_hides_nothing_else_that_is_wrong(
    changed: dict[int, bytes], broken: set[str]
) -> None:
    case = facts(corrupted=(50,), findings=findings({**copied(), **changed}))
    assert violated(case) == broken


LOST = (52, 53, 54, 55)
OLD_AGAIN = {at: sector_of(at) for at in LOST}


def test_a_write_that_the_lab_undid_is_caught_and_leaves_no_foreign_data() -> None:
    case = facts(lost=LOST, findings=findings({**copied(), **OLD_AGAIN}))
    assert {rule for rule in RULES if ruling(rule, case) is Ruling.CAUGHT} == {"COMPLETE"}
    assert ruling("NO-FOREIGN", case) is HOLDS
    assert "sector 52: old data" in evidence("COMPLETE", case)
    assert overall(case, judge(case)) == "holds"


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        # Nothing shows it, or only a part of it.
        ({}, {"COMPLETE"}),
        ({52: sector_of(52)}, {"COMPLETE"}),
        # More is missing than the lab took.
        ({**OLD_AGAIN, 48: sector_of(48)}, {"COMPLETE"}),
        ({**OLD_AGAIN, 53: FLIPPED}, {"NO-FOREIGN"}),
        ({**OLD_AGAIN, 60: FLIPPED}, {"NEIGHBOUR"}),
    ],
)
def test_a_lost_write_that_nothing_shows_or_that_hides_more_is_a_violation(
    changed: dict[int, bytes], broken: set[str]
) -> None:
    case = facts(lost=LOST, findings=findings({**copied(), **changed}))
    assert violated(case) == broken


def test_a_lost_write_of_a_copy_that_failed_is_nothing_to_complete() -> None:
    case = facts(lost=LOST, completion=FAILED, injected=INJECTED, findings=findings(copied(1)))
    assert violated(case) == set()


LIED = "flakey dropped every write after write:1"


@pytest.mark.parametrize(
    ("observed", "caught"),
    [
        ({"findings": NOTHING_COPIED}, {"COMPLETE"}),
        ({"findings": NOTHING_COPIED, "flushed": True}, {"COMPLETE", "DURABLE"}),
        ({"findings": findings({**copied(), 50: FLIPPED})}, {"COMPLETE", "NO-FOREIGN"}),
        ({"findings": findings({**copied(), 20: FLIPPED})}, {"SOURCE"}),
        ({"findings": findings({**copied(), 60: FLIPPED})}, {"NEIGHBOUR"}),
        ({"recovery": Recovery(DONE, findings(copied()), "does not mount")}, {"RECOVERS"}),
    ],
)
def test_what_a_layer_dropped_and_acknowledged_is_caught_where_it_shows(
    observed: dict[str, object], caught: set[str]
) -> None:
    honest = facts(aftermath=KILLED, **observed)
    assert violated(honest) == caught
    case = replace(honest, lied=LIED)
    assert violated(case) == set()
    assert {rule for rule in RULES if ruling(rule, case) is Ruling.CAUGHT} == caught
    for rule in caught:
        assert evidence(rule, case) == f"{LIED}, and it shows: {evidence(rule, honest)}"
    assert overall(case, judge(case)) == "holds"


@pytest.mark.parametrize(
    ("observed", "broken"),
    [
        ({"waited": 10.01}, {"NO-HANG"}),
        ({"complaints": ("BUG: soft lockup",)}, {"NO-HANG"}),
        ({"completion": DONE, "injected": INJECTED}, {"SIGNALLED"}),
        ({"completion": Completion(5, 3, 0.01), "disturbed": LIED}, {"PREFIX"}),
        ({"offload": Offload(against="it was read and written")}, {"OFFLOADED"}),
    ],
    ids="-".join,
)
def test_a_layer_that_lies_excuses_nothing_else(
    observed: dict[str, object], broken: set[str]
) -> None:
    assert violated(facts(lied=LIED, **observed)) == broken


def test_a_copy_whose_caller_was_killed_has_ended_and_promised_nothing() -> None:
    for ranges in range(4):
        case = facts(completion=None, waited=0.2, findings=findings(copied(ranges)))
        assert violated(case) == set()
        assert ruling("NO-HANG", case) is HOLDS
        assert overall(case, judge(case)) == "holds"
    late = facts(completion=None, waited=10.01, findings=NOTHING_COPIED)
    assert violated(late) == {"NO-HANG"}
    foreign = facts(completion=None, waited=0.2, findings=findings({50: FLIPPED}))
    assert violated(foreign) == {"NO-FOREIGN"}


@pytest.mark.parametrize("aftermath", [POWER_LOST, CACHE_PART, CACHE_KEPT, KILLED])
def test_durable_needs_all_new_after_success_and_flush(aftermath: Aftermath) -> None:
    kept = facts(aftermath=aftermath, flushed=True)
    lost = replace(kept, findings=ALL_BUT_ONE)
    assert ruling("DURABLE", kept) is HOLDS
    assert ruling("DURABLE", lost) is VIOLATED
    assert "sector 59: old data" in evidence("DURABLE", lost)


@pytest.mark.parametrize("there", [findings(copied()), ALL_BUT_ONE, findings({50: FLIPPED})])
def test_a_log_that_cannot_tell_neither_proves_nor_violates_anything(there: Findings) -> None:
    case = facts(
        aftermath=POWER_LOST, flushed=True, findings=there, blind="the write log cannot tell",
        recovery=Recovery(FAILED, there, "mount: bad superblock"),
    )  # fmt: skip
    assert ruling("DURABLE", case) is NOT_APPLICABLE
    assert evidence("DURABLE", case) == "the write log cannot tell"
    assert violated(case) == set()
    assert "cannot tell; seen: mount: bad superblock" in evidence("RECOVERS", case)
    assert "RECOVERS" in violated(replace(case, blind=""))


@pytest.mark.parametrize(
    "observed",
    [
        {"aftermath": LIVE},
        {"aftermath": UNPLUGGED},
        {"flushed": False},
        {"completion": None},
        {"completion": FAILED},
    ],
    ids=str,
)
def test_durable_asks_nothing_without_end_flush_or_success(observed: dict[str, object]) -> None:
    lost = {"aftermath": POWER_LOST, "flushed": True, "findings": NOTHING_COPIED}
    assert ruling("DURABLE", facts(**{**lost, **observed})) is NOT_APPLICABLE


def test_a_power_cut_without_flush_may_lose_a_successful_copy() -> None:
    case = facts(aftermath=POWER_LOST, findings=NOTHING_COPIED)
    assert violated(case) == set()


def test_a_power_cut_without_flush_may_not_leave_foreign_data() -> None:
    case = facts(aftermath=POWER_LOST, findings=findings({50: bytes(SECTOR)}))
    assert violated(case) == {"NO-FOREIGN"}


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        (Recovery(DONE, findings(copied())), HOLDS),
        (Recovery(DONE, ALL_BUT_ONE), VIOLATED),
        (Recovery(FAILED, findings(copied())), VIOLATED),
        (Recovery(None, NOTHING_COPIED), VIOLATED),
        (Recovery(DONE, findings(copied()), problem="does not mount"), VIOLATED),
    ],
)
def test_recovers_needs_the_same_copy_to_succeed_and_be_complete(
    again: Recovery, expected: Ruling
) -> None:
    assert ruling("RECOVERS", facts(recovery=again)) is expected


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        ({"waited": 9.99}, HOLDS),
        ({"waited": 10.0}, HOLDS),
        ({"waited": 10.01}, VIOLATED),
        ({"waited": None, "completion": None}, VIOLATED),
        ({"waited": None, "completion": None, "aftermath": KILLED}, NOT_APPLICABLE),
        ({"waited": None, "completion": None, "aftermath": POWER_LOST}, NOT_APPLICABLE),
        ({"waited": None, "completion": None, "aftermath": UNPLUGGED}, VIOLATED),
        ({"complaints": ("BUG: soft lockup",)}, VIOLATED),
        (
            {
                "complaints": ("BUG: soft lockup",),
                "waited": None,
                "completion": None,
                "aftermath": KILLED,
            },
            VIOLATED,
        ),
    ],
    ids=str,
)
def test_no_hang_bounds_the_time_and_tolerates_no_complaint_of_the_kernel(
    observed: dict[str, object], expected: Ruling
) -> None:
    assert ruling("NO-HANG", facts(**observed)) is expected


def test_a_device_that_crashes_violates_no_hang_with_its_last_words() -> None:
    case = facts(
        crash="QEMU was killed by signal 6: Assertion failed",
        aftermath=Aftermath.KILLED,
        completion=None,
        waited=None,
        findings=NOTHING_COPIED,
    )
    assert violated(case) == {"NO-HANG"}
    assert evidence("NO-HANG", case) == "QEMU was killed by signal 6: Assertion failed"


def test_a_copy_that_never_completes_violates_nothing_but_no_hang() -> None:
    case = facts(completion=None, waited=None, findings=NOTHING_COPIED)
    assert violated(case) == {"NO-HANG"}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Offload("1 Copy command"), HOLDS),
        (Offload(against="no Copy command"), VIOLATED),
        (Offload("1 Copy command", against="and a read"), VIOLATED),
        (Offload(), NOT_APPLICABLE),
    ],
)
def test_offloaded_needs_a_proof_and_nothing_against_it(seen: Offload, expected: Ruling) -> None:
    assert ruling("OFFLOADED", facts(offload=seen)) is expected


FELL_BACK = Offload.fell_back("no Copy command; read 20+4; write 50+4")


def test_what_cannot_be_told_of_an_offload_is_no_verdict_and_says_why() -> None:
    case = facts(offload=Offload(untold="others wrote there"))
    assert ruling("OFFLOADED", case) is NOT_APPLICABLE
    assert evidence("OFFLOADED", case) == "others wrote there"
    assert overall(case, judge(case)) == "holds"


UNTOLD = Offload(untold="the copy failed")
AGAIN = {
    again: Recovery(DONE, findings(copied()), offload=offload)
    for again, offload in {
        "offloaded": Offload("nothing moved through the disk"), "fell back": FELL_BACK,
        "not offloaded": Offload(against="the device saw no Copy command"),
    }.items()
}  # fmt: skip
ENDED = {"completion": None, "waited": None, "aftermath": KILLED}


@pytest.mark.parametrize("observed", [{"completion": FAILED, "injected": INJECTED}, ENDED])
@pytest.mark.parametrize(
    ("again", "verdict"),
    [("offloaded", "holds"), ("fell back", "not exercised"), ("not offloaded", "not exercised")],
)
def test_of_a_copy_that_could_not_tell_the_same_copy_again_does(
    observed: dict[str, object], again: str, verdict: str
) -> None:
    """What only ever falls back is no offload, wherever it was interrupted."""
    whole = findings(copied(0))
    case = facts(**{"findings": whole, "offload": UNTOLD, "recovery": AGAIN[again], **observed})
    found = judge(case)
    assert found["OFFLOADED"].verdict is NOT_APPLICABLE
    assert found["OFFLOADED"].evidence.startswith("the copy failed; the same copy again: ")
    assert overall(case, found) == verdict
    proven = facts(recovery=AGAIN[again])
    assert overall(proven, judge(proven)) == "holds"


def test_what_is_wrong_with_a_rival_is_wrong_with_the_case() -> None:
    whole = findings(copied())
    assert violated(facts(others=(whole, whole))) == set()
    assert violated(facts(others=(whole, ALL_BUT_ONE))) == {"COMPLETE"}
    foreign = findings(copied() | {59: bytes(SECTOR)})
    case = facts(others=(whole, foreign))
    assert violated(case) == {"COMPLETE", "NO-FOREIGN"}
    assert "sector 59: zeroes" in evidence("NO-FOREIGN", case)
    assert "as some order of the copies and writes leaves it" in evidence("COMPLETE", case)
    failed = facts(others=(ALL_BUT_ONE,), completion=FAILED, disturbed="it was")
    assert ruling("COMPLETE", failed) is NOT_APPLICABLE


def test_a_caller_that_was_served_by_reads_and_writes_after_an_error_fell_back() -> None:
    case = facts(injected=INJECTED, offload=FELL_BACK)
    assert ruling("SIGNALLED", case) is ruling("OFFLOADED", case) is Ruling.FELL_BACK
    assert evidence("SIGNALLED", case).startswith(f"{INJECTED}; no Copy command; read 20+4;")
    assert violated(case) == set()
    assert overall(case, judge(case)) == "fell back"


@pytest.mark.parametrize(
    ("observed", "rule", "expected"),
    [
        # Served, and not all is there: that is what SIGNALLED is about.
        ({"injected": INJECTED, "findings": ALL_BUT_ONE}, "SIGNALLED", VIOLATED),
        # Reads alone serve nobody.
        (
            {"injected": INJECTED, "offload": Offload(against="no Copy command; read 20+4")},
            "SIGNALLED", VIOLATED,
        ),
        # Reads and writes were tried, and failed too: nobody was served.
        ({"injected": INJECTED, "completion": FAILED}, "SIGNALLED", HOLDS),
        ({"injected": INJECTED, "completion": FAILED}, "OFFLOADED", VIOLATED),
        ({"completion": None, "waited": None, "aftermath": KILLED}, "OFFLOADED", VIOLATED),
    ],
)  # fmt: skip
def test_a_fallback_is_proven_and_has_served_its_caller(
    observed: dict[str, object], rule: str, expected: Ruling
) -> None:
    assert ruling(rule, facts(**{"offload": FELL_BACK, **observed})) is expected


NOT_OFFLOADED = Offload(against="the device saw no Copy command")


@pytest.mark.parametrize(
    ("observed", "verdict"),
    [
        ({}, "holds"),
        ({"reached": False}, "not exercised"),
        ({"offload": NOT_OFFLOADED}, "not exercised"),
        ({"offload": FELL_BACK}, "fell back"),
        ({"offload": FELL_BACK, "reached": False}, "fell back"),
        ({"offload": FELL_BACK, "findings": ALL_BUT_ONE}, "violated"),
        ({"findings": ALL_BUT_ONE}, "violated"),
        ({"offload": NOT_OFFLOADED, "findings": ALL_BUT_ONE}, "violated"),
        ({"reached": False, "findings": ALL_BUT_ONE}, "violated"),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else value,
)
def test_what_was_not_exercised_never_holds_and_hides_no_violation(
    observed: dict[str, object], verdict: str
) -> None:
    case = facts(**observed)
    assert overall(case, judge(case)) == verdict


@pytest.mark.parametrize(
    "message",
    [
        "INFO: task nvme-copy:812 blocked for more than 120 seconds.",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [nvme-copy:812]",
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "BUG: KASAN: slab-use-after-free in blk_mq_end_request+0x1c/0x40",
        "UBSAN: array-index-out-of-bounds in drivers/nvme/host/core.c:99:7",
        "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        "WARNING: possible circular locking dependency detected",
        "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
        "WARNING: inconsistent lock state",
        "WARNING: python3/812 still has locks held!",
        "WARNING: suspicious RCU usage",
        "[ BUG: Invalid wait context ]",
        "BUG: sleeping function called from invalid context at block/blk-mq.c:99",
        "Oops: 0000 [#1] PREEMPT SMP NOPTI",
        "Kernel panic - not syncing: Fatal exception",
        "kernel BUG at block/blk-mq.c:1234!",
        "general protection fault, probably for non-canonical address 0x1: 0000 [#1]",
        "Unable to handle kernel paging request at virtual address 0000000000000008",
        "WARNING: drivers/nvme/host/core.c:99 at nvme_setup_cmd+0x1/0x2, CPU#1: nvme-copy/812",
        "WARNING: CPU: 1 PID: 812 at drivers/nvme/host/core.c:99 nvme_setup_cmd+0x1/0x2",
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "nvme nvme0: I/O tag 771 (3303) opcode 0x19 (Copy) QID 1 timeout, aborting req_op:DRV_OUT",
    ],
)
def test_the_kernel_complains_when_it_is_in_trouble(message: str) -> None:
    assert complaints(["harmless", message]) == (message,)


@pytest.mark.parametrize(
    ("message", "is_fatal"),
    [
        ("INFO: task touch:812 blocked for more than 120 seconds.", True),
        ("BUG: KASAN: slab-use-after-free in blk_mq_end_request+0x1c/0x40", True),
        ("Oops: 0000 [#1] PREEMPT SMP NOPTI", True),
        ("WARNING: CPU: 1 PID: 812 at fs/xfs/xfs_message.c:99 asswarn+0x1/0x2", False),
        ("WARNING: possible circular locking dependency detected", False),
        ("UBSAN: shift-out-of-bounds in block/blk-lib.c:99:7", False),
        ("nvme nvme0: I/O tag 771 (3303) opcode 0x19 (Copy) QID 1 timeout, aborting", False),
        ("XFS (nvme0n1): Unmounting Filesystem", False),
    ],
)
def test_only_some_trouble_means_that_nothing_after_it_proves_anything(
    message: str, is_fatal: bool
) -> None:
    assert fatal(message) == is_fatal


@pytest.mark.parametrize(
    "message",
    [
        "critical medium error, dev nvme0n1, sector 2112 op 0x1:(WRITE)",
        "systemd[1]: note: BUG: is only a word here",
        "nvme nvme0: 2/0/0 default/read/poll queues",
        "EXT4-fs (nvme0n1): mounted filesystem r/w with ordered data mode",
    ],
)
def test_ordinary_messages_are_no_complaint(message: str) -> None:
    assert complaints([message]) == ()


@pytest.mark.parametrize(
    ("cached", "expected"),
    [
        (None, NOT_APPLICABLE),
        (CachedCopy(DONE, findings(copied()), findings(copied())), HOLDS),
        (CachedCopy(DONE, NOTHING_COPIED, findings(copied())), VIOLATED),  # the cache is stale
        (CachedCopy(DONE, findings(copied()), ALL_BUT_ONE), VIOLATED),  # written back over the copy
        (CachedCopy(DONE, findings({**copied(), 62: sector_of(20)}), findings(copied())), VIOLATED),
        (CachedCopy(DONE, COPIED, COPIED, COPIED), HOLDS),
        (CachedCopy(DONE, COPIED, COPIED, NOTHING_COPIED), VIOLATED),  # what is mapped is stale
        (CachedCopy(DONE, COPIED, COPIED, meanwhile="dd: Input/output error"), VIOLATED),
        (CachedCopy(FAILED), VIOLATED),
        (CachedCopy(None), VIOLATED),
    ],
)
def test_coherent_needs_the_copy_in_the_page_cache_and_below(
    cached: CachedCopy | None, expected: Ruling
) -> None:
    assert ruling("COHERENT", facts(cached=cached)) is expected
    assert evidence("COHERENT", facts(cached=cached))
