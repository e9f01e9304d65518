# SPDX-License-Identifier: GPL-2.0-or-later
"""The block judge: a good device breaks nothing; each planted defect is found and made small."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.crash.logfile import LogWriter, WriteLog
from lab.crash.marks import DURABLE, Levels
from lab.crash.states import StatePlan
from lab.crash.walk import LogWalk, build
from lab.errors import ProfileError, UsageError
from lab.host import dirs
from lab.suites.copy_faults.bundle import make_bundle
from lab.suites.crash_states import replay
from lab.suites.crash_states.blocks import BlockJudge
from lab.suites.crash_states.copies import CopyWorkload
from lab.suites.crash_states.judging import CopyJudging, JudgedEpoch
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.minimise import CopyFailure
from lab.suites.crash_states.plants import PLANTS
from lab.suites.crash_states.recording import LOG, CopyRecording
from tests.unit.builders import quiet
from tests.unit.suites.crash_states.device import RUN, path, recorded

PLAN = StatePlan(samples=100)


def judged(place: Path, recording: CopyRecording, plan: StatePlan = PLAN) -> list[JudgedEpoch]:
    """All epochs of a recording."""
    scratch = place / "scratch"
    scratch.mkdir()
    return list(CopyJudging(recording, place / LOG, plan, scratch, quiet).epochs())


def test_what_is_written_far_from_all_copies_is_seen_again_in_what_was_made_small(
    tmp_path: Path,
) -> None:
    recording = recorded(tmp_path)
    far = max(each.layout.window.end for each in recording.operations) + 128
    with WriteLog(tmp_path / LOG) as log, LogWriter(tmp_path / "more", log.sector) as sink:
        for entry in log:
            if entry.length:
                sink.write(entry.offset, log.data(entry))
            else:
                sink.flush()
        sink.write(far * 512, b"x" * 512)
        sink.flush()
    (tmp_path / "more").replace(tmp_path / LOG)
    (failure,) = (each for one in judged(tmp_path, recording) for each in one.failures)
    assert failure.rules == ("NEIGHBOUR",)
    assert f"sector {far}, far from all copies" in failure.evidence[0]
    assert len(failure.operations) == 1
    with WriteLog(tmp_path / LOG) as log:
        again = CopyFailure(failure.operations, failure.loss).breaches(recording, log)
    assert [str(each) for each in again] == list(failure.evidence)


@pytest.mark.parametrize("profile", ["nvme-copy", "nvme-copy-4k"])
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_wrong_with_a_good_device(tmp_path: Path, seed: int, profile: str) -> None:
    found = judged(tmp_path, recorded(tmp_path, seed=seed, profile=profile, size=2 << 20))
    assert [each.case.status for each in found] == ["pass"] * len(found)
    assert sum(each.row.coverage.distinct for each in found) > 50
    assert sum(each.row.coverage.wrong for each in found) == 0


@pytest.mark.parametrize("plant", PLANTS)
def test_each_planted_defect_is_found_made_small_and_replayed(tmp_path: Path, plant: str) -> None:
    run = "20260101-000000-0000"
    place = dirs.state("runs") / run
    place.mkdir()
    found = judged(place, recorded(place, plant))
    failures = [failure for each in found for failure in each.failures]
    kind = next(each for each in failures if PLANTS[plant].rule in each.rules)
    assert len(kind.operations) == 1
    # Nothing need be lost where the device did it all by itself.
    assert len(kind.loss.lost) + len(kind.loss.torn) <= 1
    assert any(each.case.status == "fail" for each in found)
    assert PLANTS[plant].rule in kind.evidence[0]
    document = {"suite": "crash-states", "failures": [each.document() for each in failures]}
    (place / "run.json").write_text(json.dumps(document))
    (place / "profile.json").write_text("{}")
    assert replay.is_of(f"{run}:{kind.number}")
    done = replay.carry_out_again(f"{run}:{kind.number}", 20, quiet)
    assert done.same == [True] * 20
    assert done.exit_status == 0
    assert done.document()["evidence"]
    bundle = tmp_path / "bundle.tar.gz"
    make_bundle(run, "", bundle)
    assert replay.is_of(f"{bundle}:{kind.number}")
    unpacked = replay.carry_out_again(f"{bundle}:{kind.number}", 2, quiet)
    assert (unpacked.same, unpacked.evidence) == ([True] * 2, done.evidence)
    # The same state of a device without the defect breaks nothing: replay can tell.
    recorded(place)
    whole = replay.carry_out_again(f"{run}:{kind.number}", 1, quiet)
    assert whole.same == [False]
    assert whole.exit_status == 1


@settings(max_examples=20)
@given(st.integers(0, 50), st.sampled_from(["", *PLANTS]), st.data())
def test_both_judges_say_the_same_of_every_state(
    tmp_path_factory: pytest.TempPathFactory, seed: int, plant: str, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("judges")
    recording = recorded(place, plant, seed, 256 << 10)
    base = place / "base"
    recording.base(base)
    levels = Levels(recording.marks, DURABLE)
    promised = [levels.operations(level) for level in range(levels.count + 1)]
    with WriteLog(place / LOG) as log, base.open("rb") as file:
        judge = BlockJudge(recording, promised, file.fileno(), log)
        walk = LogWalk(
            log, base, place / "durable", StatePlan(1, 10), levels, judge.weigh, judge.whole
        )
        chosen = data.draw(st.integers(1, 40))
        for epoch in walk:
            for number, state in enumerate(epoch):
                if number % chosen:
                    continue
                build(log, state, walk.durable, place / "state")
                assert PowerLoss.of(state, log.sector).possible(log)
                with (place / "state").open("rb") as medium:
                    breaches = judge.judge(state.state.cut, medium.fileno())
                assert bool(breaches) == bool(state.weight), breaches


def test_a_workload_is_what_its_seed_says(tmp_path: Path) -> None:
    some = CopyWorkload(1 << 20, 4, 16, 5)
    drawn = some.draw(path(), RUN)
    assert drawn == some.draw(path(), RUN)
    assert drawn != CopyWorkload(1 << 20, 4, 16, 6).draw(path(), RUN)
    windows = [each.layout.window for each in drawn]
    assert all(one.end == other.start for one, other in pairwise(windows))
    assert sum(window.sectors for window in windows) * 512 <= 1 << 20
    assert not drawn[-1].flushed
    recording = recorded(tmp_path)
    assert CopyRecording.load(tmp_path) == recording


def test_what_cannot_be_judged_so_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be judged on the raw medium"):
        CopyWorkload(1 << 20, 4, 16, 5).draw(path("nvme-copy-pi"), RUN)
    with pytest.raises(UsageError, match="room for no copy"):
        CopyWorkload(1 << 10, 4, 16, 5).draw(path(), RUN)
    with pytest.raises(UsageError, match="no recording"):
        CopyRecording.load(tmp_path)
