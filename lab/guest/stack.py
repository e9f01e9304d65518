# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's stack: layers made on its disks, and what its kernel offers on each of them.

The work is done by guest-scripts/layers, which reads the description that is made here from the
profile.  pid 1 starts it, and its second serial port takes the JSON lines in which it answers: that
takes no SSH connection, whose handshake is slow under emulation, and goes on beside the rest of the
boot.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lab.artifacts.cache import Progress
from lab.errors import GuestError
from lab.guest import readback
from lab.guest.readback import Setting
from lab.guest.steps import steps
from lab.host.dirs import not_writable
from lab.profile.asked import asked
from lab.profile.disk import disks
from lab.profile.models import Profile
from lab.vm.link import Link
from lab.vm.machine import Machine
from lab.vm.support import MissingFeature

FILE = "stack.json"
"""In the guest's directory: what was found, as `collect` left it."""


class Capability(BaseModel):
    """Something tried on a disk or layer: `supported` is None where it could not be tried; it is
    `wrong` where success was reported without reason."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    capability: str
    supported: bool | None
    said: str = ""
    wrong: bool = False


class Property(BaseModel):
    """Something that the profile asks for by that key, and what the guest's kernel made of it;
    `where` that was read."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    key: str
    asked: Any
    made: Any
    where: str


class StackPart(BaseModel):
    """A disk or a layer as the guest has it; `name` is its reference in the profile."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    event: Literal["disk", "layer"]
    name: str
    type: str = "disk"
    status: Literal["up", "not supported", "skipped"]
    devices: dict[str, str] = {}
    """Device nodes by part; '' is the layer itself."""
    mount: str | None = None
    size: int | None = None
    """Bytes."""
    properties: tuple[Property, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    keep: dict[str, Any] = {}
    tried: str = ""
    said: str = ""
    errno: str = ""
    cure: str = ""
    """What to do about it, where the guest knows."""
    kernel: tuple[str, ...] = ()
    """The kernel's messages while it failed."""

    def why(self) -> str:
        """Why it is not up, in a line."""
        return ": ".join(filter(None, (self.tried, self.said)))


_PARTS = TypeAdapter(tuple[StackPart, ...], config=ConfigDict(defer_build=True))


def description(profile: Profile, link: Link | None, *, probe: bool) -> bytes:
    """What guest-scripts/layers reads: disks, layers, addresses, and whether to try what each
    offers."""
    document: dict[str, Any] = {
        "disks": [
            {
                "ref": disk.ref,
                "alias": disk.alias,
                "kind": disk.kind,
                "serial": disk.serial,
                "nsid": disk.nsid,
                "asked": asked(profile.devices[disk.device], disk.nsid),
            }
            for disk in disks(profile)
        ],
        "layers": [
            {**layer.model_dump(mode="json", by_alias=True), "class": layer.guest_class}
            for layer in profile.layers
        ],
        "probe": probe,
        "settings": readback.asked(profile),
    }
    if link:
        document |= {"address": link.address, "peer": link.peer}
    return json.dumps(document).encode()


def kept(directory: Path) -> bytes:
    """What layers must be told again after a reboot, by name."""
    return json.dumps({part.name: part.keep for part in found(directory) if part.keep}).encode()


def found(directory: Path) -> tuple[StackPart, ...]:
    """The stack as it was found when the guest in that directory came up; () if it never was."""
    try:
        return _PARTS.validate_json((directory / FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return ()


def forget(directory: Path) -> None:
    """What was found is no more: the guest in that directory gets fresh media."""
    (directory / FILE).unlink(missing_ok=True)


@dataclass(frozen=True)
class Expected:
    """What a guest has to tell of: disks and layers by their references, and a number of settings
    at most."""

    parts: frozenset[str]
    settings: int = 0


def expected(profile: Profile) -> Expected:
    """What a guest of a profile has to tell of."""
    refs = [disk.ref for disk in disks(profile)] + [layer.name for layer in profile.layers]
    return Expected(frozenset(refs), sum(map(len, readback.asked(profile).values())))


def collect(machine: Machine, progress: Progress, wanted: Expected) -> tuple[StackPart, ...]:
    """What the guest tells of its layers as it makes them, written down in its directory too.

    Raises GuestError when it stops telling, tells of something else or of something twice, or its
    kernel oopses; HostError if QEMU dies.
    """
    before = {part.name: part for part in found(machine.directory)}
    parts: list[StackPart] = []
    looked_at: list[Setting] = []
    for step in steps(machine, len(wanted.parts) + wanted.settings):
        if step["event"] == "starting":
            progress(f"layer {step.get('name')!s:.200}")
            continue
        try:
            if step["event"] == "setting":
                looked_at.append(Setting.model_validate(step))
            else:
                parts.append(_remembering(StackPart.model_validate(step), before))
                _require_new(parts, wanted)
        except ValidationError as error:
            raise GuestError(
                f"layers up in the guest says what it should not: {step!r:.200}"
            ) from error
        if len(looked_at) > wanted.settings:
            raise GuestError(
                f"layers up in the guest tells of more than {wanted.settings} settings"
            )
    try:
        (machine.directory / FILE).write_bytes(_PARTS.dump_json(tuple(parts)))
        readback.write(machine.directory, looked_at)
    except OSError as error:
        raise not_writable(machine.directory, error) from error
    return tuple(parts)


def _require_new(parts: Sequence[StackPart], wanted: Expected) -> None:
    """Raise GuestError when the last part is none of the profile, or was told of before."""
    name = parts[-1].name
    if name not in wanted.parts:
        raise GuestError(f"layers up in the guest tells of {name:.200}, which the profile has not")
    if any(part.name == name for part in parts[:-1]):
        raise GuestError(f"layers up in the guest tells of {name} twice")


def _remembering(part: StackPart, before: Mapping[str, StackPart]) -> StackPart:
    """What a boot before this one found, where this one did not look again."""
    if (old := before.get(part.name)) is None:
        return part
    return part.model_copy(
        update={
            "keep": {**old.keep, **part.keep},
            "properties": part.properties or old.properties,
            "capabilities": part.capabilities or old.capabilities,
        }
    )


def require(profile: Profile, parts: Iterable[StackPart]) -> None:
    """Raise GuestError for the first part that the profile requires and that is not up."""
    optional = {layer.name for layer in profile.layers if not layer.required}
    for part in parts:
        if part.status == "not supported" and part.name not in optional:
            kernel = "".join(f"\nkernel: {line}" for line in part.kernel)
            raise GuestError(
                f"{part.type} {part.name}: not supported: {part.why()}",
                detail=kernel.lstrip("\n"),
                hint="; or: ".join(_cures(part)),
            )


def _cures(part: StackPart) -> Iterator[str]:
    if part.cure:
        yield part.cure
    if part.event == "layer":
        yield "`required: false` on the layer lets the profile go on without it"


def table(
    parts: Iterable[StackPart], missing: Iterable[MissingFeature] = ()
) -> list[dict[str, Any]]:
    """All capabilities, as a run's JSON and `lab up --json` tell: those of layers that are not up
    and what QEMU lacks too."""
    rows: list[dict[str, Any]] = [
        {"of": lack.device, "capability": lack.feature, "supported": False, "said": lack.said}
        for lack in missing
    ]
    for part in parts:
        row: dict[str, Any] = {"of": part.name, "capability": part.type}
        if part.status == "up":
            rows.append(row | {"supported": True, "said": ""})
        else:
            supported = None if part.status == "skipped" else False
            row |= {"supported": supported, "said": part.why(), "errno": part.errno}
            rows.append(row | {"kernel": list(part.kernel)})
        rows += [{"of": part.name, **found.model_dump()} for found in part.capabilities]
    return rows
