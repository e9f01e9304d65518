# SPDX-License-Identifier: GPL-2.0-or-later
"""Loop devices over a file on a layer below."""

import glob
import os

import disk_properties
import properties
import system
from layer import Layer, Made, device_below

MIB = 2**20


class Loop(Layer):
    """A loop device over the file NAME.img on the file system below."""

    @property
    def file(self):
        """The backing file."""
        return f"{device_below(self.spec['over'])}/{self.name}.img"

    def up(self):
        system.modprobe("loop")
        device = self._attached() or self._attach()
        devices = {"": device}
        if self.spec["partitions"]:
            self._partition(device)
        for number in range(1, len(self.spec["partitions"]) + 1):
            node = f"{device}p{number}"
            devices[str(number)] = system.wait_for(lambda path=node: _node(path), node)
        return Made(devices)

    def asked(self, made):
        device = made.devices[""]
        sizes = {key: self.spec[key] for key in ("size", "block_size")}
        yield from disk_properties.read_back(device, sizes)
        direct = properties.number(device, "loop/dio") == 1
        where = properties.sysfs(device, "loop/dio")
        yield properties.Asked("direct_io", self.spec["direct_io"], direct, where, self._cure())
        for number, size in enumerate(self.spec["partitions"], start=1):
            part = made.devices[str(number)]
            where = properties.sysfs(part, "size")
            key = f"partitions[{number - 1}].size"
            yield properties.Asked(key, size, system.size_of(part), where)

    def _cure(self):
        """What to do where direct I/O was asked for and is not done."""
        needed = _blocks_below(self.file)
        if needed > self.spec["block_size"]:
            return (
                f"{self.spec['over']} lies on blocks of {needed} bytes, which direct I/O has to "
                f"fit: block_size: {needed} on the loop, or direct_io: false"
            )
        whole = _blocks_of_its_own(self.file)
        if whole > self.spec["block_size"]:
            return (
                f"a file of {self.spec['over']} that shares blocks may ask direct I/O for whole "
                f"ones: block_size: {whole} on the loop, or direct_io: false"
            )
        return f"{self.spec['over']} may have no direct I/O: direct_io: false"

    def _attached(self):
        listed = system.run(["losetup", "--noheadings", "--output", "NAME", "-j", self.file])
        return listed.split()[0] if listed.strip() else None

    def _attach(self):
        if not os.path.exists(self.file):
            with open(self.file, "wb") as file:
                file.truncate(self.spec["size"])
        options = [
            f"--direct-io={'on' if self.spec['direct_io'] else 'off'}",
            f"--sector-size={self.spec['block_size']}",
        ]
        if self.spec["partitions"]:
            options.append("--partscan")
        return system.run(["losetup", "--find", "--show", *options, self.file]).strip()

    def _partition(self, device):
        if system.signature(device, "PTTYPE"):
            return
        lines = ["label: gpt", "first-lba: " + str(MIB // self.spec["block_size"])]
        for size in self.spec["partitions"]:
            lines.append(f"size={size // MIB}MiB")
        system.run(["sfdisk", "--quiet", device], text="\n".join(lines) + "\n")
        # When the disk is closed udev reads the table anew, and the partitions come a second time.
        system.settle()

    def down(self):
        for backing in glob.glob(f"{system.BLOCK}/loop*/loop/backing_file"):
            if os.path.basename(system.read(backing)) == f"{self.name}.img":
                device = "/dev/" + backing.split("/")[-3]
                system.run(["losetup", "--detach", device])


def _blocks_below(file):
    """Bytes of a logical block of the device that a file lies on; 0 where that has none (btrfs,
    NFS)."""
    number = os.stat(file).st_dev
    base = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    for path in (f"{base}/queue", f"{base}/../queue"):
        if os.path.isdir(path):
            return int(system.read(f"{path}/logical_block_size"))
    return 0


def _blocks_of_its_own(file):
    """Bytes of a block of the file system of a file.  From Linux 7.2 on XFS asks for whole ones, of
    direct I/O, where a file shares some (fs/xfs/xfs_iops.c, xfs_report_dioalign), which it may have
    come to do since a loop device was made of it for the first time."""
    return os.statvfs(file).f_bsize


def _node(path):
    return path if os.path.exists(path) else None
