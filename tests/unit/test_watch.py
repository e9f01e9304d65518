# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab watch`: what is known of a run while it goes on, and the window that shows it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import DataTable, RichLog, Static

from lab.cli.watching.app import WatchApp
from lab.cli.watching.subject import NightSubject, RunSubject, subject
from lab.errors import UsageError
from lab.farm.plan import Plan
from lab.host import dirs
from lab.results.live import RunFollower, RunState
from lab.results.run import TOKEN, Run
from lab.results.store.database import session
from lab.results.store.schema import JobRow, NightRow
from tests.unit.test_nightly import bench, carry_out, plan

__all__ = ["bench", "plan"]


def begin(run: Run, point: str) -> None:
    run.emit("lab", "case", point=point, action="eio")


def judge(run: Run, point: str, verdict: str) -> None:
    run.emit("oracle", "verdict", point=point, action="eio", verdict=verdict)


def test_a_run_is_followed_case_by_case() -> None:
    with Run("p", "copy-faults") as run:
        follower = RunFollower(run.id)
        follower.poll()
        assert (follower.suite, follower.profile) == ("copy-faults", "p")
        begin(run, "write:1")
        assert [event.event for event in follower.poll()] == ["case"]
        assert follower.at == "write:1 eio"
        judge(run, "write:1", "holds")
        begin(run, "write:2")
        judge(run, "write:2", "violated")
        follower.poll()
        assert follower.counts == {"pass": 1, "fail": 1}
        assert follower.failed == [("write:2 eio", "violated")]
        assert (follower.at, follower.state) == ("", RunState.RUNNING)
        run.finish({"cases": []})
        follower.poll()
        assert follower.state is RunState.ENDED


def test_a_suite_from_elsewhere_is_followed_too() -> None:
    with Run("p", "fstests") as run:
        run.emit("suite", "began", case="generic/001", section="xfs")
        follower = RunFollower(run.id)
        follower.poll()
        assert follower.at == "xfs:generic/001"
        run.emit("suite", "case", name="generic/001", section="xfs", status="hung", reason="no end")
        follower.poll()
    assert follower.counts == {"hung": 1}
    assert follower.failed == [("xfs:generic/001", "no end")]


def test_a_run_that_is_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt), Run("p", "fsx") as run:
        raise KeyboardInterrupt
    follower = RunFollower(run.id)
    follower.poll()
    assert follower.state is RunState.INTERRUPTED


def test_a_line_that_is_not_whole_yet_is_read_when_it_is() -> None:
    with Run("p", "fsx") as run:
        follower = RunFollower(run.id)
        follower.poll()
        timeline = run.directory / "timeline.jsonl"
        with timeline.open("a") as file:
            file.write('{"t": 1e9, "source": "lab", ')
        assert follower.poll() == []
        with timeline.open("a") as file:
            file.write('"event": "progress", "text": "boot"}\n')
        assert [event.text for event in follower.poll()] == ["boot"]


def test_what_is_watched_by_itself() -> None:
    with pytest.raises(UsageError, match="no run or night"):
        subject(None)
    with Run("p", "fsx") as first:
        pass
    with Run("p", "fsx") as second:
        pass
    assert subject(None) == RunSubject(second.id)
    assert subject(first.id) == RunSubject(first.id)
    with pytest.raises(UsageError, match="no run or night 1999") as caught:
        subject("1999")
    assert second.id in caught.value.hint


@pytest.mark.usefixtures("bench")
def test_a_night_that_goes_on(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    night = carry_out(plan).id
    with session() as store:
        row = store.get_one(NightRow, night)
        row.ended = None
        last: JobRow = row.jobs[-1]
        last.run_id, last.state, position = None, "pending", last.position
        store.commit()
    assert subject(None) == NightSubject(night)
    monkeypatch.setenv(TOKEN, f"{night}/{position}")
    with Run("p", "copy-faults") as run:
        rows = NightSubject(night).rows()
    assert (rows[-1].run, rows[-1].state) == (run.id, "running")
    assert {each.state for each in rows[:-1]} == {"done"}


def shown(app: WatchApp) -> tuple[str, str, str]:
    """The table, the lines below it, and the events, as text."""
    table = app.query_one(DataTable)
    rows = [" ".join(map(str, table.get_row_at(at))) for at in range(table.row_count)]
    events = "\n".join(line.text for line in app.query_one(RichLog).lines)
    return "\n".join(rows), str(app.query_one(Static).render()), events


def files() -> dict[Path, tuple[int, int]]:
    """All files of the lab, with their times and sizes."""
    found = (path for path in dirs.state().rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def test_the_window_follows_a_run_and_leaves_it_alone() -> None:
    async def watch(run: Run) -> None:
        app = WatchApp(RunSubject(run.id))
        async with app.run_test(size=(80, 24)) as pilot:
            begin(run, "write:2")
            app.look()
            await pilot.pause()
            table, state, events = shown(app)
            assert "copy-faults on p running" in table
            assert "at write:2 eio" in state
            assert "case" in events
            judge(run, "write:2", "violated")
            app.look()
            await pilot.pause()
            table, state, _ = shown(app)
            assert table.endswith("1 fail")
            assert "write:2 eio: violated" in state
            before = files()
            await pilot.press("q")
        assert files() == before

    with Run("p", "copy-faults") as run:
        asyncio.run(watch(run))


def test_a_run_that_was_chosen_stays_until_the_live_one_is_asked_for() -> None:
    class Two:
        """Two runs, of which the second goes on."""

        title = "two"

        def __init__(self, *runs: str) -> None:
            self.runs = runs

        def rows(self) -> list[Any]:
            return [row for run in self.runs for row in RunSubject(run).rows()]

    async def watch(first: str, second: Run) -> None:
        app = WatchApp(Two(first, second.id))
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            assert second.id in shown(app)[1]
            await pilot.press("up", "enter")
            begin(second, "write:1")
            app.look()
            await pilot.pause()
            assert first in shown(app)[1]
            await pilot.press("f")
            await pilot.pause()
            assert "at write:1 eio" in shown(app)[1]

    with Run("p", "copy-faults") as first:
        first.finish({"cases": []})
    with Run("p", "copy-faults") as second:
        asyncio.run(watch(first.id, second))
