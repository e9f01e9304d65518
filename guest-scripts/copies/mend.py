# SPDX-License-Identifier: GPL-2.0-or-later
"""What a fault has left is made good: file systems are taken down, checked, and brought up again.

Request:  {"op": "mend.mend", "layer": NAME, "type": "xfs", "node": FILE, "device": DEVICE,
           "ground": NODE, "rebooted": false}
Answer:   {"problem": TEXT, "mended": true}

Unless the guest was booted since, nothing is done to a file system that can be written.  "problem"
is what is wrong with it even after it was mounted again, and empty if nothing is.
{"op": "mend.leave"} takes away what copies have opened and connected.
"""

import importlib.util
import os
import sys

import sectors
import system
from layer import remove_links

CHECKS = {
    "xfs": ["xfs_repair", "-n"],
    "ext4": ["e2fsck", "-f", "-n"],
    "btrfs": ["btrfs", "check", "--readonly"],
}
DEADLINE = 120.0


def mend(request):
    """Bring a file system back to a state in which it can be used, and check it."""
    sectors.close()
    _hear_out(request["ground"])
    if not request["rebooted"] and _writable(request["node"]):
        return {"problem": "", "mended": False}
    stack = _stack()
    try:
        if not request["rebooted"]:
            # Mounting plays back its log, without which no check could come out clean.
            _take_down(stack, request["layer"])
            stack.up()
        _take_down(stack, request["layer"])
        if request["type"] in CHECKS:
            system.run([*CHECKS[request["type"]], request["device"]], DEADLINE)
        stack.up()
    except system.Failure as problem:
        return {"problem": str(problem), "mended": True}
    if not stack.wrong and not _writable(request["node"]):
        stack.wrong.append("it cannot be written")
    return {"problem": "; ".join(stack.wrong), "mended": True}


def leave(request):
    """Leave the guest as it was found: nothing open, nothing connected."""
    sectors.close()
    if "passthru" in sys.modules:
        sys.modules["passthru"].disconnect()
    return {}


def _hear_out(node):
    """Sync the ground, whatever that says: an error that it has told somebody else, but not yet
    those who write to it, would come out at their next sync."""
    try:
        fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError:
        pass


def _take_down(stack, name):
    """Take a layer away with all above it; what it stands on stays.  Raises Failure."""
    for layer in reversed(stack.layers):
        system.settle()  # a device that was just closed may still be open in udev
        layer.down()
        remove_links(layer.name)
        if layer.name == name:
            return


def _stack():
    """The stack of this guest, which keeps what goes wrong with a layer as text in `wrong`.

    Made in this process: each start of Python would cost half a second on an emulated CPU.
    """
    place = f"{os.environ.get('LAB_LAYERS', '/run/lab/layers')}/__main__.py"
    spec = importlib.util.spec_from_file_location("layers", place)
    layers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layers)
    wrong = []

    def tell(**step):
        if step.get("status") in ("not supported", "still up", "skipped"):
            wrong.append(f"{step['name']} {step['status']}: {step['said']}")

    stack = layers.make_stack(tell)
    stack.wrong, stack.probing = wrong, False
    return stack


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
