# SPDX-License-Identifier: GPL-2.0-or-later
"""Before a guest starts: may it have the devices of the host that its profile names?"""

from lab.profile.disk import Devices
from lab.profile.hostdev import HostBlock, HostNvme
from lab.vm.given.disk import check_block
from lab.vm.given.pci import check_nvme


def check_host_devices(profile: Devices) -> None:
    """Raise HostError unless each is the one that was meant, and free."""
    for device in profile.devices:
        match device:
            case HostBlock():
                check_block(device)
            case HostNvme():
                check_nvme(device)
