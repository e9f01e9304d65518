# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of nvme-copy comes up and its executor answers once: run in the Python of either lab.

Arguments: the guest's name, and the request.  Prints the seconds from before the lab was imported,
and from after that, and how many blocks of the guest's code QEMU has translated.  The guest stays.
"""

import json
import re
import sys
import time

start = time.monotonic()

from lab.guest.executor import Executor  # noqa: E402
from lab.profile.load import load  # noqa: E402

try:
    from lab.guest import guests
except ImportError:
    # Before the registry of guests was apart from what a guest is.
    from lab.guest import guest as guests  # type: ignore[no-redef]

imported = time.monotonic()


def main(name: str, request: str) -> None:
    """Come up, and ask."""
    guests.up(name, load("nvme-copy"), lambda _phase: None)
    guest = guests.attach(name)
    with guest.connect() as session:
        Executor(session).request(60.0, op=request, after=0)
        end = time.monotonic()
    said = guest.machine.execute("human-monitor-command", {"command-line": "info jit"})
    blocks = re.search(r"TB count\s+(\d+)", said)
    print(json.dumps({"all": end - start, "imported": end - imported,
                      "blocks": int(blocks[1]) if blocks else 0}))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
