# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces on a bridge of their own: hosts as far as the network goes, on one machine."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

NETWORK = "10.98.7"
BRIDGE = "lab-test"
ADDRESS = f"{NETWORK}.1"
"""Of this machine, on the bridge."""


@contextmanager
def namespaces(names: Sequence[str]) -> Iterator[dict[str, list[str]]]:
    """A namespace for each name; what comes before a command there.  Needs root."""
    with ExitStack() as undo:
        _ip("link", "add", BRIDGE, "type", "bridge")
        undo.callback(_ip, "link", "del", BRIDGE)
        _ip("address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        inside = {}
        for number, name in enumerate(names):
            space, port = f"{BRIDGE}-{name}", f"{BRIDGE}-{number}"
            _ip("netns", "add", space)
            undo.callback(_ip, "netns", "del", space)
            _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", port, "master", BRIDGE, "up")
            within = ("-n", space)
            _ip(*within, "address", "add", f"{NETWORK}.{number + 2}/24", "dev", "eth0")
            for card in ("lo", "eth0"):
                _ip(*within, "link", "set", card, "up")
            inside[name] = ["ip", "netns", "exec", space]
        yield inside


def cut(number: int, *, whole: bool) -> None:
    """Cut the cable of a namespace, or mend it."""
    _ip("link", "set", f"{BRIDGE}-{number}", "up" if whole else "down")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=30)
