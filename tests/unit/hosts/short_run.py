# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands for `lab run`: a run without a guest, that lasts as long as SHORT_RUN says.

What it writes depends on nothing but what was asked for.
"""

import json
import os
import sys
import time

from lab.errors import LackError
from lab.host import dirs
from lab.results.run import PROFILE, Run


def main(words: list[str]) -> int:
    """Write a run as `lab run PROFILE SUITE --kernel KERNEL` does; its exit status."""
    _, profile, suite, _, kernel, *_ = words
    bad = kernel == "debian-sid"
    verdict = "violated" if bad else "holds"
    rules = {"PREFIX": {"verdict": verdict, "evidence": "sector 1"}}
    case = {"name": "write:1 eio", "number": 1, "verdict": verdict, "rules": rules}
    with Run(profile, suite) as run:
        run.emit("lab", "process", pid=os.getpid())
        if (dirs.state().parent / "full").exists():
            raise LackError("cannot write: No space left on device")
        time.sleep(float(os.environ.get("SHORT_RUN", "0.2")))
        run.write(PROFILE, json.dumps({"kernel": kernel, "machine": {"qemu": "host"}}))
        run.finish({"suite": suite, "profile": profile, "kernel": "6.12", "cases": [case],
                    "seconds": 1.0, "accelerator": "tcg"})  # fmt: skip
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
