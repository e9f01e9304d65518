# SPDX-License-Identifier: GPL-2.0-or-later
"""The walls around the QEMU of a real guest, on a host that has some."""

from pathlib import Path

import pytest

from lab.errors import HostError
from lab.guest.registry import Record
from lab.vm import walls
from lab.vm.machine import Machine
from tests.boot.conftest import Lab

pytestmark = pytest.mark.skipif(bool(walls.why_not()), reason=walls.why_not())


@pytest.mark.parametrize("writable", [False, True])
def test_qemu_opens_no_file_of_others(lab: Lab, guest: str, tmp_path: Path, writable: bool) -> None:
    directory = lab.state / "lab/guests" / guest
    record = Record.model_validate_json((directory / "guest.json").read_bytes())
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4096))
    machine = Machine(directory, record.qemu)
    node = {"driver": "file", "node-name": "secret", "read-only": not writable}
    try:
        with pytest.raises(HostError, match="Permission denied"):
            machine.execute("blockdev-add", {**node, "filename": str(secret)})
        (directory / "own").write_bytes(bytes(4096))
        machine.execute("blockdev-add", {**node, "filename": "own"})
        machine.execute("blockdev-del", {"node-name": "secret"})
    finally:
        machine.close()
        (directory / "own").unlink(missing_ok=True)
