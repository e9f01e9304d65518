# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of any path, and writes past the page cache, all at once.

Request:  {"op": "crowd.copy", "node": DEVICE or FILE, "copies": [REQUEST, ...],
           "writes": [{"offset": BYTES, "data": DATA}, ...]}
Answer:   {"errno" or "status" and so on: as that of the first copy that failed, or of the first,
           "seconds": T, "moved": MOVED, "failed": [which, ...], "met": N}

Each of them has a thread, and none begins before all are ready.  "failed" are those that failed,
the copies first, from 0 on; "said" tells of the first.  "met" is how many pairs of them ran at the
same time; MOVED is what was asked of the device meanwhile (meter.py), if that can be told.
"""

import base64
import importlib
import threading
import time
import zlib
from itertools import combinations

import ending
import meter
from direct import Direct


def copy(request):
    """Carry all of them out, and wait for the last."""
    planted = {"emulate": True} if request.get("emulate") else {}
    works = [_copying(each | planted) for each in request["copies"]]
    works += [_writing(request["node"], each) for each in request["writes"]]
    with meter.shared(request["node"]) as seen:
        runs = _all_at_once(works)
    failed = [at for at, run in enumerate(runs) if ending.failed(run.answer)]
    told = runs[failed[0] if failed else 0].answer
    told |= {"seconds": max(run.end for run in runs) - min(run.start for run in runs)}
    if failed:
        # Of what else was done nobody is told.
        told |= {"done": 0, "dw0": 0, "said": f"{_named(request, failed[0])}: {_said(told)}"}
    met = sum(
        one.start < other.end and other.start < one.end for one, other in combinations(runs, 2)
    )
    return told | {"moved": seen.moved(), "failed": failed, "met": met}


class _Run:
    """One of them in a thread: its answer, and when it began and ended."""

    def __init__(self, work, ready):
        self.answer, self.start, self.end = None, 0.0, 0.0
        self._work, self._ready = work, ready
        self._problem = None
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        self._ready.wait()
        self.start = time.monotonic()
        try:
            self.answer = ending.of(self._work)
        except (
            Exception
        ) as problem:  # whatever a request provokes is for the others' caller to tell
            self._problem = problem
        self.end = time.monotonic()

    def join(self):
        """Wait for its end.  Raises what kept it from being tried."""
        self.thread.join()
        if self._problem:
            raise self._problem
        return self


def _all_at_once(works):
    ready = threading.Barrier(len(works))
    runs = [_Run(work, ready) for work in works]
    for run in runs:
        run.thread.start()
    return [run.join() for run in runs]


def _copying(request):
    module, _, name = request["op"].rpartition(".")
    function = getattr(importlib.import_module(module), name)
    return lambda: function(request)


def _writing(node, request):
    data = zlib.decompress(base64.b64decode(request["data"]))

    def write():
        with Direct(node) as target:
            target.write(request["offset"], data)
        return {"errno": 0, "done": 1}

    return write


def _named(request, which):
    copies = len(request["copies"])
    return f"copy {which + 1}" if which < copies else f"write {which - copies + 1}"


def _said(answer):
    return answer.get("said") or f"status {answer.get('status', 0):#x}"
