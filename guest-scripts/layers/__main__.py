# SPDX-License-Identifier: GPL-2.0-or-later
"""Stack the profile's layers on the disks of this guest, and try what they can do.

    layers up           make every layer, or find it made; try what each disk and layer offers
    layers down         take them away, the last first
    layers status       what is up
    layers verify       write, read back and copy on everything that nothing stands on: what is
                        there is overwritten

Each prints one JSON line per step with --json, and plain text without; `up -v` adds what was
found.  The stack is described in /run/lab/stack.json, as the host made it of the profile; disks
are found by serial.
"""

import importlib
import json
import sys

from stack import Stack

STACK = "/run/lab/stack.json"
KEPT = "/run/lab/kept.json"


def main():
    """Parse the command line; see the top of this file."""
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    words = [word for word in sys.argv[1:] if word not in options]
    if len(words) != 1 or words[0] not in ("up", "down", "status", "verify"):
        sys.exit(__doc__)
    if not set(options) <= {"--json", "-v"}:
        sys.exit(__doc__)
    tell = json_line if "--json" in options else plain_lines("-v" in options)
    stack = make_stack(tell)
    sys.exit(0 if getattr(stack, words[0])() else 1)


def make_stack(tell):
    """The stack that the host described, with what it kept over a reboot."""
    with open(STACK) as file:
        described = json.load(file)
    with open(KEPT) as file:
        kept = json.load(file)
    layers = [
        layer_class(spec["class"])(spec, kept.get(spec["name"]), described)
        for spec in described["layers"]
    ]
    return Stack(described["disks"], layers, tell, described["probe"], described["settings"])


def layer_class(place):
    """The class that the host says makes a layer, MODULE.CLASS; no other module is loaded."""
    module, _, name = place.rpartition(".")
    return getattr(importlib.import_module(module), name)


def json_line(**step):
    """Tell a step to the host."""
    print(json.dumps(step), flush=True)


def plain_lines(verbose):
    """The function that tells a step to a person."""
    import plain

    def tell(**step):
        for line in plain.lines(step, verbose):
            print(line, flush=True)

    return tell


if __name__ == "__main__":
    main()
