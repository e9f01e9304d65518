# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker as a process of its own, whose runs are those of short_run.py.

worker_process.py NAME GUESTS LEASE [VERSION]
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import lab
from lab.farm import job
from lab.host import dirs
from lab.host.settings import WorkerSettings


def main(name: str, guests: str, lease: str, version: str = lab.__version__) -> None:
    """Work until SIGTERM."""
    lab.__version__ = version
    from lab.cli.terminal import print_error, timed_lines
    from lab.errors import LabError
    from lab.farm.hosts.needs import Offer
    from lab.farm.hosts.roster import Presence
    from lab.farm.hosts.worker import Worker

    disk = shutil.disk_usage

    def usage(path: Any) -> Any:
        found = disk(path)
        return found._replace(free=0) if (dirs.state().parent / "full").exists() else found

    setattr(shutil, "disk_usage", usage)  # noqa: B010
    job.LAB = (sys.executable, str(Path(__file__).with_name("short_run.py")))
    limits = WorkerSettings(load=1000, lease=float(lease), disk=64 << 20)
    who = Presence(name, int(guests), limits.lease, Offer(version=version, memory=8 << 30))
    try:
        Worker(who, limits, timed_lines(), drain=False).work()
    except LabError as error:
        print_error(error)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main(*sys.argv[1:])
