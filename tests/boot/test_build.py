"""Builds that are interrupted leave nothing half-made, and work the next time."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import Lab, wait_for


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Lab]:
    """A lab that has built nothing yet, with a TMPDIR of its own."""
    for name in ("cache", "state", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    tmp_path.chmod(0o755)
    lab = Lab(
        tmp_path / "state",
        {
            **os.environ,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "TMPDIR": str(tmp_path / "tmp"),
        },
    )
    yield lab
    assert builders(tmp_path) == []


def builders(tmp_path: Path) -> list[str]:
    """Processes of a build in this test's TMPDIR."""
    mark = f"TMPDIR={tmp_path}/tmp".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
            if any(word.startswith(mark) for word in words):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def half_made(tmp_path: Path) -> list[str]:
    """What a build has begun and not finished: partial artifacts and scratch trees."""
    partial = (tmp_path / "cache").glob("lab/artifacts/*/.partial-*")
    return [str(path) for path in (*partial, *(tmp_path / "tmp").iterdir())]


def test_interrupted_image_build_leaves_nothing(fresh: Lab, tmp_path: Path) -> None:
    build = fresh.start("image", "build", "trixie")
    # Deep in it: packages are being unpacked.
    wait_for(lambda: list((tmp_path / "tmp").glob("*/*/var/cache/apt/archives/*.deb")), "packages")
    build.send_signal(signal.SIGINT)
    _, stderr = build.communicate(timeout=60)
    assert build.returncode == 130, stderr
    assert half_made(tmp_path) == []
    assert not [row for row in fresh("image", "list").stdout.splitlines() if "MB" in row]


def test_killed_kernel_build_is_swept_and_succeeds_the_next_time(
    fresh: Lab, tmp_path: Path
) -> None:
    build = fresh.start("kernel", "build", "debian")
    wait_for(lambda: half_made(tmp_path), "a build in progress")
    build.kill()
    build.communicate()
    fresh("kernel", "build", "debian")
    assert half_made(tmp_path) == []
    (kernel,) = (tmp_path / "cache").glob("lab/artifacts/kernel/debian-*")
    assert (kernel / "vmlinux").read_bytes()[:4] == b"\x7fELF"


def test_build_without_mmdebstrap_says_what_to_install(fresh: Lab, tmp_path: Path) -> None:
    done = fresh("image", "build", "trixie", status=3, env={"PATH": "/nowhere"})
    assert "mmdebstrap: not found" in done.stderr
    assert "apt-get install mmdebstrap" in done.stderr
    assert half_made(tmp_path) == []
