# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels that another host has built, and brought to the depot, for a night of its.

LAB_KERNELS says under which names, as JSON: `{"offload": "offload-0123456789abcdef"}`.
"""

import json
import os
from typing import Literal

from lab.artifacts.cache import Progress
from lab.artifacts.kernels.source import KernelSource
from lab.errors import HostError, UsageError

VARIABLE = "LAB_KERNELS"


class BroughtKernel(KernelSource):
    """A kernel whose sources are on another host."""

    type: Literal["brought"] = "brought"
    artifact_name: str
    """NAME-KEY, as it is called in the depot."""

    @property
    def summary(self) -> str:
        return f"from the depot, {self.artifact_name}"

    def inputs(self, progress: Progress) -> dict[str, str]:
        raise self._elsewhere()

    def build(self, directory: object, progress: Progress) -> dict[str, str]:
        raise self._elsewhere()

    def _elsewhere(self) -> HostError:
        return HostError(
            f"kernel {self.artifact_name} is not in the depot, and its sources are on another host",
            hint="check LAB_ARTIFACTS",
        )


def brought(reference: str) -> BroughtKernel | None:
    """The kernel that was brought under a name; None for any other.  Raises UsageError."""
    said = os.environ.get(VARIABLE)
    if not said:
        return None
    try:
        name = json.loads(said).get(reference)
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{VARIABLE}: expected JSON with names: {error}") from error
    return BroughtKernel(artifact_name=name) if isinstance(name, str) else None
