# SPDX-License-Identifier: GPL-2.0-or-later
"""The executor: carries out copies for the host, each by the offload path it is asked for.

    copies serve             one JSON request per line on stdin, one JSON answer per line on stdout,
                             so that one Python start (half a second on an emulated CPU) serves any
                             number of copies
    copies nvme-copy ...     one NVMe Copy by hand, see nvme.py

Requests:  {"op": "MODULE.FUNCTION", ...}        as the module says, which is loaded when somebody
                                                 asks for it; "MODULE.copy" is a copy
Answers:   what the operation gives; of a copy its end: "status" and "dw0" of an NVMe command, or
           "errno" (0: success) and "done" (ranges), and always "seconds"
           {"error": "..."} when the request could not be carried out at all.

A request may have a "number", which its answer has too.
"""

import importlib
import json
import os
import sys

# Its ioctls, its way past the page cache and its Extended Copy.
sys.path.append(os.environ.get("LAB_LAYERS", "/run/lab/layers"))

import allocations
import ending
import quiet


def carry_out(request):
    """The answer to a request.  Raises whatever goes wrong."""
    module, _, name = request["op"].rpartition(".")
    function = getattr(importlib.import_module(module), name)
    return copy(function, request) if name == "copy" else function(request)


def copy(function, request):
    """Carry out a copy; `own_process`: in one that can be killed (see child.py).

    Planted: `pretend` does nothing and reports success; `fall_back` makes a copy that failed again,
    by reading and writing, and reports how that ended.
    """
    if request.get("pretend"):
        moved = {"bios": [], "lost": 0}
        return {"errno": 0, "done": len(request.get("ranges", ())), "seconds": 0.0, "moved": moved}
    if request.get("own_process"):
        import child

        return child.run(lambda: attempt(function, request))
    ended = attempt(function, request)
    if request.get("fall_back") and ending.failed(ended):
        again = attempt(function, {**request, "emulate": True, "failing": None})
        return {key: ended[key] for key in ("struck",) if key in ended} | again
    return ended


def attempt(function, request):
    """How it ended, while udev leaves the disks alone; `failing`: an allocation fails meanwhile
    (allocations.py)."""

    def work():
        with quiet.undisturbed():
            return function(request)

    if not request.get("failing"):
        return ending.of(work)
    with allocations.failing(*request["failing"]) as told:
        ended = ending.of(work)
    return ended | told


def serve():
    """Answer requests until stdin ends."""
    for line in sys.stdin:
        number = None
        try:
            request = json.loads(line)
            number = request.pop("number", None)
            reply = carry_out(request)
        except Exception as error:  # whatever a request provokes is its answer; we live on
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({**reply, "number": number}), flush=True)


def main():
    """Parse the command line; see the top of this file."""
    if sys.argv[1:] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["nvme-copy"]:
        import nvme

        nvme.by_hand(sys.argv[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
