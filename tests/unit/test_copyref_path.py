# SPDX-License-Identifier: GPL-2.0-or-later
"""The offload path copyref: what its copies may be, and what the guest makes of what the driver
says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.copy.model import Completion
from lab.copy.paths import find
from lab.copy.sizes import exceeded
from lab.errors import ProfileError
from lab.profile.load import load
from tests.unit import test_guest_copies

copyrefs = test_guest_copies.load("copyrefs")


def test_its_copies_have_the_limits_of_the_disk() -> None:
    path = find(load("copyref-xfs", []), "copyref")
    assert (path.unit, path.ref, path.durable) == (8, "model", True)
    shapes = dict(path.sizes())
    assert set(shapes) == {
        f"{how} {which}" for how in ("at", "above") for which in ("mssrl", "mcl", "msrc")
    }
    assert shapes["above mssrl"].copy.target.sectors == 257 * 8
    assert path.refuses_wrongly(Completion(22, 0, 0.1, "EINVAL")) == ""
    assert "ENOSPC" in path.refuses_wrongly(Completion(28, 0, 0.1, "ENOSPC"))


def test_blocks_smaller_than_what_the_file_system_shares_make_no_copies_of_less() -> None:
    changes = ["layers[model].block_size=512", "layers[model].copy={mssrl: 100, mcl: 200, msrc: 2}"]
    path = find(load("copyref-xfs", changes), "copyref")
    assert (path.unit, path.limits.mssrl, path.limits.mcl) == (8, 12, 25)
    shapes = dict(path.sizes())
    assert shapes["at mssrl"].copy.target.sectors == 100
    assert shapes["above mssrl"].copy.target.sectors == 101
    assert {plan.copy.unit for plan in shapes.values()} == {1}


@pytest.mark.parametrize(("mssrl", "mcl"), [(4, 4), (100, 4), (4, 100)])
def test_limits_below_what_the_file_system_shares_are_tried_in_blocks_of_the_disk(
    mssrl: int, mcl: int
) -> None:
    """And the copies of all other cases are as small, or each would be refused."""
    limits = f"{{mssrl: {mssrl}, mcl: {mcl}, msrc: 1}}"
    changes = ["layers[model].block_size=512", f"layers[model].copy={limits}"]
    path = find(load("copyref-xfs", changes), "copyref")
    assert (path.unit, path.limits.mssrl, path.limits.mcl) == (1, mssrl, mcl)
    assert not path.limits.none
    most = min(mssrl, mcl)
    which = "mssrl" if mssrl <= mcl else "mcl"
    shapes = {name: plan.copy for name, plan in path.sizes()}
    assert shapes[f"at {which}"].target.sectors == most
    assert not exceeded(shapes[f"at {which}"], path.bounds)
    assert shapes[f"above {which}"].target.sectors == most + 1
    assert exceeded(shapes[f"above {which}"], path.bounds)


def test_all_of_a_copy_may_be_less_than_its_longest_range_but_not_on_a_namespace() -> None:
    limits = "{mssrl: 64, mcl: 16, msrc: 4}"
    path = find(load("copyref-xfs", [f"layers[model].copy={limits}"]), "copyref")
    shapes = dict(path.sizes())
    assert "at mssrl" not in shapes
    assert shapes["at mcl"].copy.target.sectors == 16 * 8
    assert shapes["above mcl"].copy.target.sectors == 17 * 8
    assert shapes["above mssrl"].copy.target.sectors == 65 * 8
    with pytest.raises(ProfileError, match="16 is less than mssrl"):
        load("nvme-copy", [f"devices[0].namespaces[0].copy={limits}"])


@pytest.mark.parametrize("limits", ["none", "{mssrl: 8, mcl: 0, msrc: 1}"])
def test_without_copies_there_is_no_path(limits: str) -> None:
    with pytest.raises(ProfileError, match="no offload path copyref"):
        find(load("copyref-xfs", [f"layers[model].copy={limits}"]), "copyref")


def test_ranges_are_done_when_all_of_them_is() -> None:
    ranges = [[0, 8192], [65536, 4096], [131072, 4096]]
    assert [copyrefs.whole(ranges, done) for done in (0, 4096, 8192, 12287, 12288, 16384)] == [
        0, 0, 1, 1, 2, 3,
    ]  # fmt: skip


IOCTL = """\
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>

/* As the driver: copies, and fails.  Of struct copyref_copy, `done` is what comes last. */
int ioctl(int fd, unsigned long command, ...)
{
	uint64_t *given;
	va_list more;

	va_start(more, command);
	given = va_arg(more, uint64_t *);
	va_end(more);
	errno = fd == 7 && command == 0xC020C401 ? EIO : EBADF;
	if (errno == EIO)
		given[3] = 8192;
	return -1;
}
"""

FAILING = """\
import fcntl, sys
sys.path += {path!r}
real = fcntl.ioctl

def newer(fd, command, buffer):
    # CPython leaves the buffer of a call that failed as it was.
    return real(fd, command, bytearray(buffer))

fcntl.ioctl = newer
import copyrefs
try:
    copyrefs.by_ioctl(7, [[0, 8192], [8192, 4096]], 65536)
except OSError as problem:
    print(problem.errno, problem.done)
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")
def test_what_is_done_before_an_error_is_told_whatever_python_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "ioctl.c").write_text(IOCTL)
    library = tmp_path / "ioctl.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "ioctl.c"], check=True, timeout=60
    )
    program = FAILING.format(path=[str(test_guest_copies.COPIES), str(test_guest_copies.LAYERS)])
    done = subprocess.run(
        [sys.executable, "-BIS", "-c", program],
        env={"LD_PRELOAD": str(library)}, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["5", "1"]
