# SPDX-License-Identifier: GPL-2.0-or-later
"""Features that a QEMU may lack: an error, or left out and told, as the profile says."""

from collections.abc import Callable
from typing import Any

import pytest

from lab.errors import ProfileError
from lab.profile.models import NvmeController, Profile
from lab.vm.support import supported

ZRWA = {"size": 2**16, "flush_granularity": 2**14, "resources": 1}
ALL: dict[str, Any] = {
    "type": "nvme",
    "serial": "S",
    "fdp": {"handles": 2},
    "atomic": {"awun": 8},
    "namespaces": ({"size": 2**20, "metadata": 16, "pi": 1, "guard": 64},),
}
ZONED = {
    "type": "nvme",
    "serial": "Z",
    "namespaces": ({"size": 2**20}, {"size": 2**20, "zoned": {"zone_size": 2**20, "zrwa": ZRWA}}),
}


def profile(*devices: dict[str, Any]) -> Profile:
    return Profile.model_validate({"name": "p", "description": "d", "devices": devices})


def has(*known: str) -> Callable[[str], frozenset[str]]:
    """A QEMU with these properties, whatever the device."""
    return lambda _: frozenset(known)


def test_a_profile_without_such_features_asks_nothing() -> None:
    def asked(device: str) -> frozenset[str]:
        raise AssertionError(device)

    plain = profile({"type": "nvme", "serial": "S", "namespaces": ({"size": 2**20},)})
    assert supported(plain, "qemu", asked) == (plain, ())


def test_what_is_missing_and_required_is_an_error_that_names_it() -> None:
    with pytest.raises(ProfileError) as caught:
        supported(profile(ALL), "/opt/qemu", has("atomic.awun", "atomic.awupf", "atomic.dn", "fdp"))
    said = str(caught.value)
    assert said.startswith("not supported: fdp of device S: /opt/qemu has no -device nvme-subsys,")
    assert "nvme-subsys,fdp.runs" in said
    assert "nvme-subsys,fdp," not in said


def test_what_is_missing_and_not_required_is_left_out_and_told() -> None:
    devices = ({**ALL, "required": False}, {**ZONED, "required": False})
    left, missing = supported(
        profile(*devices), "qemu", has("atomic.awun", "atomic.awupf", "atomic.dn")
    )
    assert [(lack.device, lack.feature) for lack in missing] == [
        ("S", "fdp"),
        ("S", "guard: 64"),
        ("Z", "zoned.zrwa"),
    ]
    first, second = left.devices
    assert isinstance(first, NvmeController)
    assert isinstance(second, NvmeController)
    assert (first.fdp, first.namespaces[0].guard) == (None, 16)
    assert first.atomic is not None
    assert second.namespaces[0].zoned is None
    assert second.namespaces[1].zoned is not None
    assert second.namespaces[1].zoned.zrwa is None
