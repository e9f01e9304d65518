# SPDX-License-Identifier: GPL-2.0-or-later
"""The block graph under every emulated disk, and the fault layer in it that can be exchanged.

    device ── raw ── blkdebug ── blklogwrites ┬─ file   the medium
              top     fault       log         └─ file   the write log

blkdebug can stop and fail what passes through it; its rules are fixed when it is created, so
each case gets a blkdebug of its own, swapped in while the device is idle.  `raw` above it
turns flushes and reads into blkdebug events of their own.  blklogwrites lies below, so that it
logs what reached the medium and nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.profile.disk import Devices
from lab.profile.models import Device, NvmeController, VirtioBlk, VirtioScsi

_SECTOR = 512


@dataclass(frozen=True)
class Rule:
    """One inject-error rule of blkdebug: armed by `event`, it fails the next matching request.

    `iotype` is `read` or `write`; `sector` (512 bytes) limits it to requests that touch it.
    `once`: the rule is spent by the first failure.
    """

    event: str
    iotype: str
    errno: int
    sector: int | None = None
    once: bool = True


@dataclass(frozen=True)
class Drive:
    """An emulated disk as QEMU sees it: a namespace, or a disk that has none (`nsid` is 0).

    `id` names both the qdev and, as a prefix, the block nodes (which allow 31 characters only);
    the files are named by serial and namespace id, as everything a person meets.  `size` is the
    bytes that the guest sees; `metadata` comes on top of that, in bytes for each block.
    `protected`: the metadata holds protection information.  `prepared` is the medium to start
    from, if any.
    """

    id: str
    serial: str
    nsid: int
    size: int
    block_size: int
    metadata: int = 0
    protected: bool = False
    discard: bool = False
    prepared: str | None = None
    virtio_blk: bool = False

    @property
    def qdev(self) -> str:
        """How the monitor's qemu-io addresses it: virtio-pci devices keep their disk inside."""
        inside = f"/machine/peripheral/{self.id}/virtio-backend"
        return inside if self.virtio_blk else self.id

    @property
    def _stem(self) -> str:
        return f"{self.serial}-{self.nsid}" if self.nsid else self.serial

    @property
    def medium(self) -> str:
        """File name of the medium, in the guest's directory."""
        return f"{self._stem}.raw"

    @property
    def write_log(self) -> str:
        """File name of the write log, in the guest's directory."""
        return f"{self._stem}.log"

    @property
    def medium_size(self) -> int:
        """Bytes of the medium's file: all blocks and then all metadata (QEMU hw/nvme/ns.c,
        nvme_ns_init_format), in whole sectors, as QEMU's block layer counts."""
        total = self.size // self.block_size * (self.block_size + self.metadata)
        return -(-total // _SECTOR) * _SECTOR

    @property
    def log_sector(self) -> int:
        """Bytes of a sector of the write log, and so of the smallest write that reaches the
        medium.  Metadata is written in pieces that are no whole blocks."""
        return _SECTOR if self.metadata else self.block_size

    def fault_layer(
        self, generation: int, rules: Sequence[Rule] = (), fragment: int = 0
    ) -> list[dict[str, object]]:
        """The two nodes above the write log, bottom first, as `blockdev-add` takes them.

        `fragment`: bytes to which requests are cut, so that one can fail in its middle; every
        fragment then raises the events of a request.  0 leaves requests whole.
        """
        blkdebug: dict[str, object] = {
            "driver": "blkdebug",
            "node-name": f"{self.id}-fault{generation}",
            "image": f"{self.id}-log",
        }
        if fragment:
            blkdebug["max-transfer"] = fragment
        if rules:
            blkdebug["inject-error"] = [_inject(rule) for rule in rules]
        top: dict[str, object] = {
            "driver": "raw",
            "node-name": f"{self.id}-top{generation}",
            "file": f"{self.id}-fault{generation}",
        }
        return self._discarding([blkdebug, top])

    def nodes(self) -> list[dict[str, object]]:
        """All nodes of the graph at start, bottom first."""
        below: list[dict[str, object]] = [
            {
                "driver": "file",
                "node-name": f"{self.id}-medium",
                "filename": self.medium,
                # The lab's power cut is replayed from the write log; making the host's disk
                # sync as well would cost time and prove nothing.
                "cache": {"no-flush": True},
            },
            {
                "driver": "file",
                "node-name": f"{self.id}-writes",
                "filename": self.write_log,
                "cache": {"no-flush": True},
            },
            {
                "driver": "blklogwrites",
                "node-name": f"{self.id}-log",
                "file": f"{self.id}-medium",
                "log": f"{self.id}-writes",
                "log-sector-size": self.log_sector,
                # QEMU may be killed at any moment: the entry count must never lag behind.
                "log-super-update-interval": 1,
            },
        ]
        return self._discarding(below) + self.fault_layer(0)

    def _discarding(self, nodes: list[dict[str, object]]) -> list[dict[str, object]]:
        """The nodes, letting discards through if the disk does; QEMU drops them by default."""
        return [{**node, "discard": "unmap"} for node in nodes] if self.discard else nodes


def _inject(rule: Rule) -> dict[str, object]:
    spec: dict[str, object] = {
        "event": rule.event,
        "iotype": rule.iotype,
        "errno": rule.errno,
        "once": rule.once,
    }
    if rule.sector is not None:
        spec["sector"] = rule.sector
    return spec


def drives(profile: Devices) -> list[Drive]:
    """Every emulated disk of a profile or a peer, in its order; devices of the host are none."""
    return [drive for at, device in enumerate(profile.devices) for drive in _drives(at, device)]


def _drives(at: int, device: Device) -> Iterator[Drive]:
    match device:
        case NvmeController():
            for namespace in device.namespaces:
                yield Drive(
                    id=f"d{at}n{namespace.nsid}",
                    serial=device.serial,
                    nsid=namespace.nsid,
                    size=namespace.size,
                    block_size=namespace.block_size,
                    metadata=namespace.metadata,
                    protected=namespace.pi > 0,
                    prepared=namespace.medium,
                )
        case VirtioBlk():
            yield _disk(f"d{at}", device)
        case VirtioScsi():
            # d0 is the controller.
            yield _disk(f"d{at}l0", device)


def _disk(name: str, device: VirtioBlk | VirtioScsi) -> Drive:
    return Drive(
        id=name,
        serial=device.serial,
        nsid=0,
        size=device.size,
        block_size=device.block_size,
        discard=device.discard,
        prepared=device.medium,
        virtio_blk=isinstance(device, VirtioBlk),
    )
