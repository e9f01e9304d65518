# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of device.  A new one is a model with a `type` of its own, added here."""

from typing import Annotated

from lab.profile.fields import ByType
from lab.profile.hostdev import HostBlock, HostNvme
from lab.profile.nvme import NvmeController
from lab.profile.virtio import VirtioBlk, VirtioScsi

Device = Annotated[NvmeController | VirtioBlk | VirtioScsi | HostBlock | HostNvme, ByType()]
