# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of copy-faults, and the copies laid out for them."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.model import SECTOR, Extent, Layout
from lab.copy.paths.base import GUARD
from lab.copy.sizes import MAX_BLOCKS
from lab.errors import UsageError
from lab.faults.model import Point, Stage, points_of
from lab.suites.arguments import Help
from lab.suites.copy_faults.acts.registry import action_called, swept
from lab.suites.copy_faults.options import GeneratedCases, parse
from tests.unit.builders import nvme_path


def test_without_arguments_everything_is_tried_at_every_point() -> None:
    asked = parse([])
    assert (asked.ranges, asked.blocks, asked.hang_deadline) == (4, 64, 10.0)
    assert asked.selection.actions == swept()
    assert asked.selection.points == ()
    assert {point for point, _ in asked.cells(nvme_path(), points_of(4))} == set(points_of(4))
    assert asked.plant.kind == ""


def test_every_argument_arrives() -> None:
    asked = parse(
        ["--ranges", "2", "--blocks=8", "--actions", "torn,kill", "--points", "write:2,flushed",
         "--plant", "flip-bit", "--hang-deadline", "2.5"]
    )  # fmt: skip
    assert (asked.ranges, asked.blocks, asked.hang_deadline) == (2, 8, 2.5)
    assert asked.selection.actions == (action_called("torn"), action_called("kill"))
    assert asked.selection.points == (Point(Stage.WRITE, 2), Point(Stage.FLUSHED))
    assert asked.plant.kind == "flip-bit"


def test_what_is_named_twice_is_done_once() -> None:
    asked = parse(["--actions", "kill,eio,kill", "--points", "read:1,read:1"])
    assert asked.selection.actions == (action_called("kill"), action_called("eio"))
    assert asked.selection.points == (Point(Stage.READ, 1),)


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["--rangs", "2"], "unrecognized arguments: --rangs", "copy-faults -- --help"),
        (["--range", "2"], "unrecognized arguments: --range", "copy-faults -- --help"),
        (["--ranges"], "expected one argument", "copy-faults -- --help"),
        (["--blocks", "many"], "invalid int value: 'many'", "copy-faults -- --help"),
        (["--ranges", "2", "extra"], "unrecognized arguments: extra", "copy-faults -- --help"),
        (["--actions", "explode"], "action 'explode'", "one of resume, eio"),
        (["--points", "write:0"], "point 'write:0'", "K from 1"),
        (["--plant", "bit-rot"], "no defect 'bit-rot'", "--plant help"),
        (["--ranges", "0"], "must be positive", ""),
        (["--blocks", "-1"], "must be positive", ""),
        (["--cases", "0"], "--cases must be within 1", ""),
        (["--cases", "9", "--ranges", "0"], "must be positive", ""),
        (["--cases", "9", "--sweep"], "not allowed with argument", "copy-faults -- --help"),
        (["--seed", "1"], "are for --cases", ""),
        (["--sweep", "--no-minimise"], "are for --cases", ""),
    ],
)
def test_wrong_arguments_are_refused_with_a_cure(args: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(args)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "0", "-1"])
def test_a_deadline_that_no_clock_can_keep_is_refused(seconds: str) -> None:
    with pytest.raises(UsageError):
        parse(["--hang-deadline", seconds])


def test_a_suite_without_a_possible_cell_is_refused() -> None:
    asked = parse(["--actions", "enospc", "--points", "read:1,completed"])
    with pytest.raises(UsageError, match="none of these actions") as caught:
        asked.cells(nvme_path(), points_of(4))
    assert "kill and power-cut" in caught.value.hint


def test_a_point_that_the_copy_has_not_is_refused_with_those_that_it_has() -> None:
    asked = parse(["--points", "write:2,write:5"])
    with pytest.raises(UsageError, match="write:5: a copy of 4 ranges by nvme-copy") as caught:
        asked.cells(nvme_path(), points_of(4))
    assert "written:4, completed, flushed" in caught.value.hint


@pytest.mark.parametrize(
    ("args", "said"),
    [(["--plant", "help"], "flip-bit"), (["--help"], "--hang-deadline S"), (["-h"], "--actions A")],
)
def test_help_is_told_apart_from_a_run(args: list[str], said: str) -> None:
    with pytest.raises(Help) as told:
        parse(args)
    assert said in str(told.value)
    assert max(map(len, str(told.value).splitlines())) <= 80


def test_a_sweep_can_be_asked_for_by_name() -> None:
    sweep, default = parse(["--sweep"]), parse([])
    assert sweep.document() == default.document()
    assert sweep.generated is None


def test_generated_cases_have_limits_of_their_own() -> None:
    asked = parse(["--cases", "200", "--seed", "7"])
    assert asked.generated == GeneratedCases(200, 7, minimise=True)
    assert (asked.ranges, asked.blocks) == (8, MAX_BLOCKS)
    asked = parse(["--cases", "9", "--seed=-1", "--no-minimise", "--ranges", "2", "--blocks", "3"])
    assert asked.generated == GeneratedCases(9, -1, minimise=False)
    assert (asked.ranges, asked.blocks) == (2, 3)


def test_a_seed_of_zero_is_a_seed() -> None:
    asked = parse(["--cases", "1", "--seed", "0"])
    assert asked.generated is not None
    assert asked.generated.seed == 0


def test_without_a_seed_one_is_drawn_and_stands_in_the_document() -> None:
    seeds = {parse(["--cases", "1"]).document()["seed"] for _ in range(8)}
    assert len(seeds) > 1
    assert all(isinstance(seed, int) for seed in seeds)


LAYOUTS = st.builds(
    lambda ranges, blocks, block_size: nvme_path(block_size=block_size).layout(ranges, blocks),
    st.integers(1, 40),
    st.integers(1, 300),
    st.sampled_from([512, 4096]),
)


def parts(plan: Layout) -> list[Extent]:
    """Sources and destination in the order of their addresses."""
    return sorted([*plan.copy.sources, plan.copy.target], key=lambda part: part.start)


@given(LAYOUTS)
def test_all_parts_are_disjoint_and_inside_the_window_with_a_guard_around_each(
    plan: Layout,
) -> None:
    ends = [plan.window.start, *(part.end for part in parts(plan))]
    starts = [*(part.start for part in parts(plan)), plan.window.end]
    assert [start - end for end, start in zip(ends, starts, strict=True)] == [GUARD] * len(ends)


@given(LAYOUTS)
def test_all_parts_are_whole_blocks_of_the_device(plan: Layout) -> None:
    for part in [*parts(plan), plan.window]:
        assert part.start % plan.copy.unit == part.sectors % plan.copy.unit == 0


@given(st.integers(1, 40), st.integers(1, 300), st.sampled_from([512, 4096]))
def test_a_layout_has_the_ranges_that_were_asked_for(
    ranges: int, blocks: int, block_size: int
) -> None:
    copy = nvme_path(block_size=block_size).layout(ranges, blocks).copy
    assert copy.unit == block_size // SECTOR
    assert [source.sectors for source in copy.sources] == [blocks * copy.unit] * ranges


@given(st.integers(1, 40), st.integers(1, 300))
def test_a_namespace_is_too_small_when_the_window_does_not_fit(ranges: int, blocks: int) -> None:
    plan = nvme_path().layout(ranges, blocks)
    needed = plan.window.end * SECTOR
    assert nvme_path(needed).layout(ranges, blocks) == plan
    with pytest.raises(UsageError, match=f"needs {needed >> 10} KiB") as caught:
        nvme_path(needed - SECTOR).layout(ranges, blocks)
    assert "smaller ranges" in caught.value.hint


def test_arguments_are_read_without_waiting_for_what_takes_to_run() -> None:
    code = (
        "import sys; from lab.suites.copy_faults.options import parse; parse([]); "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "lab.suites.copy_faults.acts.registry" in loaded
    assert not {"paramiko", "rich", "lab.suites.copy_faults.bench"} & set(loaded)
