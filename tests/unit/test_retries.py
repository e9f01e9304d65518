# SPDX-License-Identifier: GPL-2.0-or-later
"""How often drivers try again: to nothing, and back, by the guest's script on its own sysfs."""

import subprocess
from pathlib import Path

import pytest

from lab.errors import GuestError
from lab.guest import retries

NVME = "module/nvme_core/parameters/max_retries"
FIRST, SECOND = "class/scsi_disk/0:0:0:0/max_retries", "class/scsi_disk/0:0:1:0/max_retries"


class Here:
    """A session whose guest is this host."""

    def run(self, argv: list[str], *, deadline: float) -> None:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=deadline, check=False)
        if done.returncode:
            raise GuestError("it failed", detail=done.stderr)


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sysfs with an NVMe driver and two SCSI disks, which the script finds."""
    for name, value in ((NVME, "5"), (FIRST, "5"), (SECOND, "-1")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setattr(retries, "_SYSFS", str(tmp_path))
    monkeypatch.setattr(retries, "_PLACE", str(tmp_path / "before"))
    return tmp_path


def found(sysfs: Path) -> list[str]:
    """How often each tries again."""
    return [(sysfs / name).read_text().strip() for name in (NVME, FIRST, SECOND)]


def test_nothing_is_tried_again_until_it_is_restored(sysfs: Path) -> None:
    retries.let_errors_through(Here())  # type: ignore[arg-type]
    assert found(sysfs) == ["0", "0", "0"]
    # Once more, by another command: what it was before is not forgotten.
    retries.let_errors_through(Here())  # type: ignore[arg-type]
    for _ in range(2):
        retries.restore(Here())  # type: ignore[arg-type]
        assert found(sysfs) == ["5", "5", "-1"]


def test_a_disk_that_went_away_is_no_error(sysfs: Path) -> None:
    retries.let_errors_through(Here())  # type: ignore[arg-type]
    (sysfs / FIRST).unlink()
    retries.let_errors_through(Here())  # type: ignore[arg-type]
    retries.restore(Here())  # type: ignore[arg-type]
    assert (sysfs / SECOND).read_text().strip() == "-1"


def test_a_guest_without_either_has_nothing_to_set(sysfs: Path) -> None:
    for name in (NVME, FIRST, SECOND):
        (sysfs / name).unlink()
    retries.let_errors_through(Here())  # type: ignore[arg-type]
    retries.restore(Here())  # type: ignore[arg-type]


def test_what_does_not_take_the_value_is_told(sysfs: Path) -> None:
    (sysfs / NVME).unlink()
    (sysfs / NVME).symlink_to("/proc/sys/kernel/ostype")
    with pytest.raises(GuestError) as caught:
        retries.let_errors_through(Here())  # type: ignore[arg-type]
    assert "max_retries" in caught.value.detail
