# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that end with the lab, and with them all that they have started."""

import subprocess
import time
from pathlib import Path

import pytest

from lab.host.command import owned
from lab.host.process import working_in
from tests.unit.builders import python, said, until

DEAF = "trap '' TERM; echo ready; while :; do sleep 30; done"
TIDY = "trap 'rm tree; exit 0' TERM; touch tree; echo ready; sleep 30 & wait"


def shell(script: str, place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, text=True, cwd=place, process_group=0
    )


def nothing_left(place: Path) -> bool:
    return not working_in(place, "30") and not working_in(place, "-c")


@pytest.mark.parametrize(("script", "grace"), [(DEAF, 0.0), (DEAF, 0.2), (TIDY, 20.0)])
def test_a_body_that_fails_ends_the_program_and_its_children(
    tmp_path: Path, script: str, grace: float
) -> None:
    start = time.monotonic()
    with (
        pytest.raises(LookupError),
        owned(lambda: shell(script, tmp_path), grace=grace) as process,
    ):
        assert said(process) == "ready"
        raise LookupError
    until(lambda: nothing_left(tmp_path))
    assert not (tmp_path / "tree").exists()
    assert time.monotonic() - start < 15


def test_one_that_has_ended_is_waited_for_by_nobody(tmp_path: Path) -> None:
    start = time.monotonic()
    with owned(lambda: shell("exit 3", tmp_path), grace=20.0) as process:
        assert process.wait(10) == 3
    assert time.monotonic() - start < 15


KILLED = """
    import subprocess, sys
    from lab.host.command import owned
    script, place, where = sys.argv[1:]
    def start():
        return subprocess.Popen(["sh", "-c", script], cwd=place, text=True,
                                stdout=subprocess.PIPE, process_group=0)
    with owned(start, grace=2) as process:
        process.stdout.readline()
        print("ready", flush=True)
        if where == "body":
            process.wait()
"""


@pytest.mark.parametrize("where", ["body", "end"])
@pytest.mark.parametrize("script", [DEAF, TIDY])
def test_a_lab_that_is_killed_in_the_body_or_at_its_end_leaves_none(
    tmp_path: Path, script: str, where: str
) -> None:
    with python(KILLED, script, tmp_path, where) as lab:
        assert said(lab) == "ready"
        lab.kill()
    until(lambda: nothing_left(tmp_path))
    assert not (tmp_path / "tree").exists()
