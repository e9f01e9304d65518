# SPDX-License-Identifier: GPL-2.0-or-later
"""The private link between a profile's guest and its peer: Ethernet frames over Unix sockets.

A pair of datagram sockets needs no root, no bridge and no port, and either end may be restarted
without the other.  The paths are relative to the guest's directory, so that they fit a socket's
address.
"""

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

    @property
    def netdev(self) -> str:
        """QEMU's network backend of this end."""
        return (
            f"dgram,id=link,local.type=unix,local.path={SOCKET},"
            f"remote.type=unix,remote.path=../{self.other}/{SOCKET}"
        )

    @property
    def device(self) -> str:
        """The network card on it, as QEMU's -device takes it."""
        # A locally administered address; the two must differ.
        return f"virtio-net-pci,netdev=link,romfile=,mac=52:54:00:6c:61:{self.end:02x}"


def _address(end: int) -> str:
    return f"10.99.0.{end}"
