# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of copies with pytest: `pytest examples/test_copy.py`, where the lab is installed.

All of them share one guest of the profile nvme-copy; a profile of your own goes by its path.
"""

import json

import pytest

pytestmark = pytest.mark.lab("nvme-copy", scope="session")

SECTOR = 512


def test_a_copy_moves_the_data(lab_guest):
    """By hand: what was written is what the copy leaves, as the medium on the host shows."""
    medium = lab_guest.directory / "LABNVME0-1.raw"
    write = "yes new | dd of=/dev/lab/LABNVME0 bs=512 count=8 oflag=direct status=none"
    lab_guest.run(["sh", "-c", write])
    copy = ["nvme-copy", "--serial", "LABNVME0", "--to", "4096", "0+8"]
    assert json.loads(lab_guest.run(copy).stdout)["status"] == 0
    with medium.open("rb") as file:
        source = file.read(8 * SECTOR)
        file.seek(4096 * SECTOR)
        assert file.read(8 * SECTOR) == source


def test_a_copy_keeps_the_contract(lab_copy):
    """Every rule, on every sector of it and around it."""
    outcome = lab_copy(ranges=3, blocks=32)
    assert outcome.holds, str(outcome)


@pytest.mark.parametrize("point", ["read:1", "write:2"])
def test_a_copy_that_fails_keeps_the_contract(lab_guest, lab_fault, point):
    """Held, looked at, and failed."""
    with lab_fault(point, "eio", ranges=2):
        assert lab_guest.run(["pgrep", "-f", "copies serve"]).stdout


def test_an_error_reaches_whoever_writes(lab_guest):
    """Any workload: here dd, whose second write fails."""
    write = ["dd", "if=/dev/zero", "of=/dev/lab/LABNVME0", "bs=4k", "count=4", "oflag=direct"]
    with lab_guest.hold("write:2") as held:
        held.fail("eio")
        writing = lab_guest.connection.run(" ".join(write), asynchronous=True, warn=True, hide=True)
        held.wait()
    assert "error writing" in writing.join().stderr
