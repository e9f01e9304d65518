# SPDX-License-Identifier: GPL-2.0-or-later
"""What all layers share: a name, what they stand on, and what they offer to those above."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from lab.problem import KeyPath
from lab.profile.base import Conflict, ProfileModel
from lab.profile.fields import Text

Kind = Literal["block", "directory", "export"]
"""A block device; a mounted file system; something that another guest connects to."""

MAX_MEMBERS = 24
"""Most devices that a layer stands on alike."""

LayerName = Annotated[
    # It names a device-mapper device, a mount point, a configfs directory.
    str, Text(r"[a-z][a-z0-9_-]{0,30}", "1 to 31 lowercase letters, digits, '_' and '-'")
]

_REFERENCE = Text(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}(:[a-z0-9]{1,10})?",
    "a disk's serial (SERIAL, or SERIAL:NSID) or the name of a layer above in the file "
    "(NAME, or NAME:PART)",
)

Reference = Annotated[str, _REFERENCE]


def _listed(value: object) -> object:
    """A list for one reference; JSON's lists become those of YAML files, which are strict here."""
    if isinstance(value, str):
        return (_REFERENCE.check(value),)
    return tuple(value) if isinstance(value, list) else value


class _OneOrMore:
    """A list, of which the only item may stand without brackets."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        several = handler(source)
        one = handler.generate_schema(Reference)
        return core_schema.no_info_before_validator_function(
            _listed,
            several,
            json_schema_input_schema=core_schema.union_schema([one, several]),
        )


References = Annotated[
    tuple[Reference, ...], Field(min_length=1, max_length=MAX_MEMBERS), _OneOrMore()
]
"""One block device, or a list of those that a layer stands on alike."""


@dataclass(frozen=True)
class Node:
    """Something a layer can stand on.

    `size` is in bytes, None where only the guest knows it.  `conventional`: it is zoned, and some
    of its zones can be overwritten.  `within` is the block device that it is a partition of;
    `remote` a file system that comes from a server.
    """

    ref: str
    kind: Kind
    size: int | None = None
    block_size: int = 512
    zoned: bool = False
    read_only: bool = False
    within: str = ""
    remote: bool = False
    conventional: bool = False


@dataclass(frozen=True)
class Use:
    """A layer's use of a node: the key that names it, and what the node must be.

    `zoned` True or False demands it, None takes either.  `extent` (offset and bytes) is the part
    of a block device that is used, None all of it; `least` is how many bytes it must have.
    `local` refuses what comes from a server.
    """

    key: KeyPath
    ref: str
    kinds: tuple[Kind, ...] = ("block",)
    zoned: bool | None = False
    writes: bool = True
    extent: tuple[int, int] | None = None
    least: int = 0
    local: bool = False


class BaseLayer(ProfileModel):
    """One layer.  Subclasses have a `type` and say what they use and offer."""

    guest_class: ClassVar[str]
    """MODULE.CLASS that makes it in the guest, the module beside those of guest-scripts/layers."""
    guest_scripts: ClassVar[tuple[Path, ...]] = ()
    """Modules for the guest that are not among the lab's own."""
    kernel_modules: ClassVar[tuple[str, ...]] = ()
    """Modules of the lab's own (images/kernel/modules) that its kernel must load for it; the guest
    has them as /run/lab/modules/NAME.ko."""

    name: LayerName = Field(
        description="By which layers above, suites and faults refer to it; the guest has it as "
        "/dev/lab/NAME or /mnt/NAME"
    )
    required: bool = Field(
        True,
        description="false: where the kernel lacks what this layer needs, it and what stands on "
        "it are reported as not supported, and the rest goes on",
    )

    def uses(self) -> Iterator[Use]:
        """What it stands on."""
        return iter(())

    @property
    def redundant(self) -> str:
        """What makes an error of one of its devices good from another, in words; '' if nothing."""
        return ""

    @property
    def data_on(self) -> str:
        """The reference of what holds its data, of all that it stands on; '' if it stands on
        nothing."""
        use = next(iter(self.uses()), None)
        return use.ref if use else ""

    def misfits(self, below: Sequence[Node]) -> Iterator[Conflict]:
        """What is wrong between the nodes of `uses`, in that order, each of which suits it."""
        return iter(())

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        """What it offers, given the nodes of `uses`, in that order."""
        raise NotImplementedError


def members(over: Sequence[str], zoned: bool | None = False) -> Iterator[Use]:
    """The uses of the devices of `over`, each of them whole."""
    for index, ref in enumerate(over):
        yield Use(("over", index) if len(over) > 1 else ("over",), ref, zoned=zoned)


class Over(BaseLayer):
    """A layer over one block device, which it passes on at its full size."""

    over: Reference = Field(description="The block device that it stands on")

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield replace(below[0], ref=self.name, within="", read_only=False)
