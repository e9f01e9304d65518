"""The executor: carries out copies for the host, each by the offload path it is asked for.

    copies serve             one JSON request per line on stdin, one JSON answer per line on stdout,
                             so that one Python start (half a second on an emulated CPU) serves any
                             number of copies
    copies nvme-copy ...     one NVMe Copy by hand, see nvme.py

Requests:  {"op": "copy", "path": PATH, ...}     as the path's module says
           those of nvme.py, kernel.py, sectors.py and mend.py
Answers:   what the operation gives; of a copy its end: "status" and "dw0" of an NVMe command, or
           "errno" (0: success) and "done" (ranges), and always "seconds"
           {"error": "..."} when the request could not be carried out at all.

A request may have a "number", which its answer has too.
"""

import importlib
import json
import os
import sys
import time

# Its ioctls, its way past the page cache and its Extended Copy.
sys.path.append(os.environ.get("LAB_LAYERS", "/run/lab/layers"))

PATHS = {
    "nvme-copy": "nvme",
    "nvme-cross-ns": "nvme",
    "nvmet-passthrough": "nvme",
    "zns-copy": "nvme",
    "loop-reflink": "loops",
    "fs-cfr": "files",
    "fs-clone": "files",
    "bdev-cfr": "bdev",
    "bdev-ioctl": "bdev",
    "scsi-xcopy": "scsi",
    "dm-kcopyd": "mirror",
}
"""Module of each offload path, loaded when it is first asked for."""

OPERATIONS = {
    "flush": "nvme.flush",
    "write-block": "nvme.write_block",
    "errnos": "errnos.errnos",
    "force-unit-access": "fua.force_unit_access",
    "kmsg": "kernel.kmsg",
    "write": "sectors.write",
    "read": "sectors.read",
    "write-cached": "sectors.write_cached",
    "read-cached": "sectors.read_cached",
    "zone": "sectors.zone",
    "reset-zone": "sectors.reset_zone",
    "mend": "mend.mend",
    "leave": "mend.leave",
}
"""Module and function of every operation but the copy."""


def carry_out(request):
    """The answer to a request.  Raises whatever goes wrong."""
    if request["op"] == "copy":
        return copy(request)
    module, _, name = OPERATIONS[request["op"]].partition(".")
    return getattr(importlib.import_module(module), name)(request)


def copy(request):
    """Carry out a copy; `own_process`: in one that can be killed (see child.py); `pretend`: do
    nothing and report success, a defect that is planted."""
    module = importlib.import_module(PATHS[request["path"]])
    if request.get("pretend"):
        return {"errno": 0, "done": len(request["ranges"]), "seconds": 0.0, "moved": [0, 0]}
    if request.get("own_process"):
        import child

        return child.run(lambda: attempt(module, request))
    return attempt(module, request)


def attempt(module, request):
    """An error of the kernel is how a copy ended, not why it could not be tried."""
    start = time.monotonic()
    try:
        return module.copy(request)
    except OSError as problem:
        if not problem.errno:
            raise
        return {
            "errno": problem.errno,
            "done": getattr(problem, "done", 0),
            "said": problem.strerror or str(problem),
            "seconds": time.monotonic() - start,
        }


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
