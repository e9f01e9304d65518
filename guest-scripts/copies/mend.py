"""What a fault has left is made good: file systems are taken down, checked, and brought up again.

Request:  {"op": "mend", "layer": NAME, "type": "xfs", "node": FILE, "device": DEVICE,
           "rebooted": false}
Answer:   {"problem": TEXT, "mended": true}

Unless the guest was booted since, nothing is done to a file system that can be written.  "problem"
is what is wrong with it even after it was mounted again, and empty if nothing is.
"""

import os

import sectors
import system

CHECKS = {
    "xfs": ["xfs_repair", "-n"],
    "ext4": ["e2fsck", "-f", "-n"],
    "btrfs": ["btrfs", "check", "--readonly"],
}
DEADLINE = 120.0


def mend(request):
    """Bring a file system back to a state in which it can be used, and check it."""
    if not request["rebooted"] and _writable(request["node"]):
        return {"problem": "", "mended": False}
    sectors.close(request)
    try:
        if not request["rebooted"]:
            # Mounting plays back its log, without which no check could come out clean.
            _layers("down")
            _layers("up")
        _layers("down")
        if request["type"] in CHECKS:
            system.run([*CHECKS[request["type"]], request["device"]], DEADLINE)
        _layers("up")
    except system.Failure as problem:
        return {"problem": str(problem), "mended": True}
    return {"problem": "" if _writable(request["node"]) else "it cannot be written", "mended": True}


def _layers(word):
    system.run(["/run/lab/bin/layers", word, "--json"], DEADLINE)


def _writable(node):
    """Whether a file can be made beside a file, written and synced."""
    probe = f"{node}.probe"
    try:
        with open(probe, "wb") as file:
            file.write(b"lab")
            file.flush()
            os.fsync(file.fileno())
        os.unlink(probe)
    except OSError:
        return False
    return True
