# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds that are interrupted leave nothing half-made, and work the next time."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import Lab, wait_for


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Lab]:
    """A lab that has built nothing yet, with a TMPDIR of its own.

    It is not below tmp_path: an ordinary user's sub-ids cannot reach that.
    """
    scratch = Path(tempfile.mkdtemp(prefix="lab-test-"))
    scratch.chmod(0o711)
    lab = Lab(
        tmp_path / "state",
        {
            **os.environ,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "TMPDIR": str(scratch),
        },
    )
    yield lab
    assert builders(scratch) == []
    assert half_made(lab) == []
    scratch.rmdir()


def builders(scratch: Path) -> list[str]:
    """Processes of a build in this test's TMPDIR."""
    mark = f"TMPDIR={scratch}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
            if any(word.startswith(mark) for word in words):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def half_made(lab: Lab) -> list[str]:
    """What a build has begun and not finished: partial artifacts and scratch trees."""
    partial = Path(lab.env["XDG_CACHE_HOME"]).glob("lab/artifacts/*/.partial-*")
    return [str(path) for path in (*partial, *Path(lab.env["TMPDIR"]).iterdir())]


def test_interrupted_image_build_leaves_nothing(fresh: Lab) -> None:
    build = fresh.start("image", "build", "trixie")
    wait_for(lambda: list(Path(fresh.env["TMPDIR"]).glob("*/*/var/lib")), "a tree half unpacked")
    build.send_signal(signal.SIGINT)
    _, stderr = build.communicate(timeout=60)
    assert build.returncode == 130, stderr
    assert half_made(fresh) == []
    assert not [row for row in fresh("image", "list").stdout.splitlines() if "MB" in row]


def test_killed_kernel_build_is_swept_and_succeeds_the_next_time(
    fresh: Lab, tmp_path: Path
) -> None:
    build = fresh.start("kernel", "build", "debian")
    wait_for(lambda: half_made(fresh), "a build in progress")
    build.kill()
    build.communicate()
    fresh("kernel", "build", "debian")
    assert half_made(fresh) == []
    (kernel,) = (tmp_path / "cache").glob("lab/artifacts/kernel/debian-*")
    assert (kernel / "vmlinux").read_bytes()[:4] == b"\x7fELF"


def test_build_without_mmdebstrap_says_what_to_install(fresh: Lab) -> None:
    done = fresh("image", "build", "trixie", status=3, env={"PATH": "/nowhere"})
    assert "mmdebstrap: not found" in done.stderr
    assert "apt-get install mmdebstrap" in done.stderr
    assert half_made(fresh) == []
