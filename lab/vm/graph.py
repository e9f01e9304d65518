"""The block graph under every namespace, and the fault layer in it that can be exchanged.

    nvme-ns ── raw ── blkdebug ── blklogwrites ┬─ file   the medium
               top     fault       log         └─ file   the write log

blkdebug can stop and fail what passes through it; its rules are fixed when it is created, so
each case gets a blkdebug of its own, swapped in while the device is idle.  `raw` above it
turns flushes and reads into blkdebug events of their own.  blklogwrites lies below, so that it
logs what reached the medium and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.profile.models import NvmeNamespace, Profile


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
    """A namespace as QEMU sees it.

    `id` names both the qdev and, as a prefix, the block nodes (which allow 31 characters only);
    the files are named by serial and namespace id, as everything a person meets.
    """

    id: str
    serial: str
    nsid: int
    size: int
    block_size: int

    @property
    def medium(self) -> str:
        """File name of the medium, in the guest's directory."""
        return f"{self.serial}-{self.nsid}.raw"

    @property
    def write_log(self) -> str:
        """File name of the write log, in the guest's directory."""
        return f"{self.serial}-{self.nsid}.log"

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
        return [blkdebug, top]

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
                "log-sector-size": self.block_size,
                # QEMU may be killed at any moment: the entry count must never lag behind.
                "log-super-update-interval": 1,
            },
        ]
        return below + self.fault_layer(0)


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


def drives(profile: Profile) -> list[Drive]:
    """Every namespace of the profile, in its order."""
    return [
        _drive(index, controller.serial, namespace)
        for index, controller in enumerate(profile.devices)
        for namespace in controller.namespaces
    ]


def _drive(index: int, serial: str, namespace: NvmeNamespace) -> Drive:
    return Drive(
        id=f"d{index}n{namespace.nsid}",
        serial=serial,
        nsid=namespace.nsid,
        size=namespace.size,
        block_size=namespace.block_size,
    )
