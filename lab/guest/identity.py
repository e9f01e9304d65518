# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes a guest another one than all others, beside its name; the same in all its boots."""

import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

FILE = "identity"
"""In a guest's directory, with its media; a line for each field."""


@dataclass(frozen=True)
class Identity:
    """`machine_id` as in machine-id(5); NVMe's host id and name, as in /etc/nvme."""

    machine_id: str
    host_id: str
    host_nqn: str

    def text(self) -> str:
        """A line for each."""
        return f"{self.machine_id}\n{self.host_id}\n{self.host_nqn}\n"


def ensure(directory: Path) -> Identity:
    """That of the guest in a directory, made at its first boot."""
    path = directory / FILE
    if not path.exists():
        # NVMe Base Specification 2.0, 4.5: a name that is made of a UUID.
        host = uuid.uuid4()
        nqn = f"nqn.2014-08.org.nvmexpress:uuid:{host}"
        path.write_text(Identity(secrets.token_hex(16), str(host), nqn).text())
    return Identity(*path.read_text().splitlines())
