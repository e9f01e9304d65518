# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's directory: its timeline, its evidence, its document."""

import json
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from lab.errors import HostError
from lab.host import dirs
from lab.results.run import DOCUMENT, PROFILE, TIMELINE, Run, heard_by
from lab.results.runs import ids, load


def events(run: Run) -> list[dict[str, Any]]:
    """The timeline, as any consumer reads it while the run goes on."""
    return [json.loads(line) for line in (run.directory / TIMELINE).read_text().splitlines()]


def test_a_run_has_a_directory_of_its_own_below_the_state_directory() -> None:
    with Run("p", "s") as one, Run("p", "s") as other:
        assert one.directory == dirs.state("runs") / one.id
        assert one.id != other.id


def test_a_timeline_begins_with_the_run_and_its_wall_clock_time() -> None:
    with Run("nvme-copy", "copy-faults") as run:
        (first,) = events(run)
    assert (first["source"], first["event"]) == ("lab", "run")
    assert (first["profile"], first["suite"]) == ("nvme-copy", "copy-faults")
    assert first["wall"].endswith("+00:00")


def test_every_event_is_a_line_of_json_in_monotonic_time() -> None:
    before = time.monotonic()
    with Run("p", "s") as run:
        for number in range(5):
            run.emit("kernel", "message", text=f"line\n{number} é \N{SNOWMAN}", level=3)
        found = events(run)
    times = [event["t"] for event in found]
    assert times == sorted(times)
    assert before - 1e-6 <= times[0] <= times[-1] <= time.monotonic() + 1e-6
    assert [event.get("text") for event in found[1:]] == [
        f"line\n{number} é \N{SNOWMAN}" for number in range(5)
    ]


def test_an_event_that_was_timed_elsewhere_keeps_its_time() -> None:
    with Run("p", "s") as run:
        run.emit("trace", "copy", at=12.3456789)
        assert events(run)[1] == {"t": 12.345679, "source": "trace", "event": "copy"}


def test_events_of_several_threads_do_not_mix() -> None:
    def work() -> None:
        for _ in range(20):
            run.emit("qmp", "E", data="x" * 10000)

    with Run("p", "s") as run:
        threads = [Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(events(run)) == 1 + 4 * 20


def test_a_last_event_after_the_end_is_no_error() -> None:
    with Run("p", "s") as run:
        pass
    run.emit("qmp", "SHUTDOWN")
    assert len(events(run)) == 1


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """A file that a guest left."""
    path = tmp_path / "console.log"
    path.write_text("first\n")
    return path


@pytest.mark.parametrize("move", [False, True])
def test_what_is_kept_twice_is_appended(evidence: Path, move: bool) -> None:
    with Run("p", "s") as run:
        run.keep(evidence, "console", move=move)
        evidence.write_text("second\n")
        run.keep(evidence, "console", move=move)
        assert (run.directory / "console").read_text() == "first\nsecond\n"


def test_what_is_kept_stays_with_the_guest_unless_it_is_moved(evidence: Path) -> None:
    with Run("p", "s") as run:
        run.keep(evidence, "copied")
        assert evidence.exists()
        run.keep(evidence, "moved", move=True)
        assert not evidence.exists()
        assert (run.directory / "copied").read_text() == "first\n"
        assert (run.directory / "moved").read_text() == "first\n"


@pytest.mark.parametrize("move", [False, True])
def test_what_the_guest_never_wrote_is_not_kept(tmp_path: Path, move: bool) -> None:
    with Run("p", "s") as run:
        run.keep(tmp_path / "nothing", "nothing", move=move)
        assert not (run.directory / "nothing").exists()


def test_the_document_is_in_the_directory_of_the_run() -> None:
    with Run("p", "s") as run:
        run.finish({"cases": [1], "verdicts": {"holds": 1}})
    assert json.loads((run.directory / DOCUMENT).read_text()) == {
        "cases": [1],
        "verdicts": {"holds": 1},
    }


def test_a_document_that_cannot_be_written_whole_leaves_the_old_one() -> None:
    with Run("p", "s") as run:
        run.finish({"cases": [1]})
        # A full disk under the new document, while the old one is in place.
        (run.directory / f"{DOCUMENT}.new").symlink_to("/dev/full")
        with pytest.raises(HostError, match="No space left on device") as caught:
            run.finish({"cases": [1, 2]})
    assert "free space" in caught.value.hint
    assert json.loads((run.directory / DOCUMENT).read_text()) == {"cases": [1]}


def test_nothing_is_left_beside_a_document() -> None:
    with Run("p", "s") as run:
        run.finish({})
        assert {path.name for path in run.directory.iterdir()} == {DOCUMENT, TIMELINE}


def test_evidence_that_does_not_fit_is_a_host_error(evidence: Path) -> None:
    with Run("p", "s") as run:
        (run.directory / "console").symlink_to("/dev/full")
        with pytest.raises(HostError, match="No space left on device"):
            run.keep(evidence, "console")


def test_a_run_that_has_ended_can_be_loaded() -> None:
    with Run("p", "s") as run:
        run.write(PROFILE, "{}")
        run.finish({"cases": [1]})
    past = load(run.id)
    assert (past.document, past.profile) == ({"cases": [1]}, "{}")


def test_the_runs_there_are_come_latest_first() -> None:
    assert ids() == []
    with Run("p", "s") as run:
        pass
    earlier = dirs.state("runs", "20200101-000000-0000").name
    dirs.state("runs", "not-a-run")
    assert ids() == [run.id, earlier]


def test_ids_sort_as_runs_began_and_are_never_the_same() -> None:
    begun = []
    for _ in range(200):
        with Run("p", "s") as run:
            begun.append(run.id)
    assert begun == sorted(set(begun))


def test_a_run_remembers_what_qemu_said() -> None:
    with Run("p", "s") as run:
        assert not run.qemu_said("DEVICE_DELETED", device="d0")
        run.qmp_event("DEVICE_DELETED", {"device": "d0", "path": "/machine"})
        assert run.qemu_said("DEVICE_DELETED", device="d0")
        assert not run.qemu_said("DEVICE_DELETED", device="d1")


def test_a_listener_hears_every_event_of_the_runs_that_begin_meanwhile() -> None:
    heard: list[tuple[str, str, dict[str, Any]]] = []
    with heard_by(lambda *event: heard.append(event)), Run("p", "s") as run:
        run.emit("lab", "one", n=1)
    run.emit("lab", "after the end")
    with Run("p", "s") as other:
        other.emit("lab", "unheard")
    assert [event for _, event, _ in heard] == ["run", "one"]
    assert heard[1] == ("lab", "one", {"n": 1})
