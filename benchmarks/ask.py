# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of nvme-copy comes up and its executor answers once: run in the Python of either lab.

Arguments: the guest's name, and the request.  Prints the seconds from before the lab was imported,
and from after that.  The guest stays.
"""

import json
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
    with guests.attach(name).connect() as session:
        Executor(session).request(60.0, op=request, after=0)
        end = time.monotonic()
    print(json.dumps({"all": end - start, "imported": end - imported}))


if __name__ == "__main__":
    main(*sys.argv[1:])
