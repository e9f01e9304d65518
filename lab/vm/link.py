# SPDX-License-Identifier: GPL-2.0-or-later
"""The private link between a profile's guest and its peer: Ethernet frames over Unix sockets.

A pair of datagram sockets needs no root, no bridge and no port, and either end may be restarted
without the other.  The paths are relative to the guest's directory, so that they fit a socket's
address.
"""

from collections.abc import Iterator
from dataclasses import dataclass

SOCKET = "link.sock"


@dataclass(frozen=True)
class Link:
    """One end: the name of the guest at the other, and which of the two this is (1 or 2)."""

    other: str
    end: int

    @property
    def address(self) -> str:
        """The IPv4 address of this end."""
        return _address(self.end)

    @property
    def peer(self) -> str:
        """The IPv4 address of the other end."""
        return _address(3 - self.end)

    def argv(self) -> Iterator[str]:
        """QEMU's options for a network card on the link."""
        yield from (
            "-netdev",
            f"dgram,id=link,local.type=unix,local.path={SOCKET},"
            f"remote.type=unix,remote.path=../{self.other}/{SOCKET}",
        )
        # A locally administered address; the two must differ.
        mac = f"52:54:00:6c:61:{self.end:02x}"
        yield from ("-device", f"virtio-net-pci,netdev=link,romfile=,mac={mac}")


def _address(end: int) -> str:
    return f"10.99.0.{end}"
