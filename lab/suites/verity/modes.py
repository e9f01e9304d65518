# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done to the media below dm-verity, and what each mode must make of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from errno import EIO

from lab.suites.verity.checker import failing
from lab.suites.verity.medium import Medium
from lab.suites.verity.target import Target


class Then(StrEnum):
    """What a mode makes of damage."""

    FAILS = "fails"
    """An error for what the damaged block is, or vouches for: EIO, or that of the disk."""
    AS_IT_IS = "as it is"
    """Read as it is on the medium."""
    REPAIRED = "repaired"
    REPAIRED_OR_FAILS = "repaired or fails"
    """Kernels differ; never anything else."""


@dataclass(frozen=True)
class Damage:
    """What is done to the media: to blocks of data, or to those of the tree that vouch for them.

    `blocks`: how many, 0 for as many as error correction can repair of one codeword, -1 for one
    more than that.  `unreadable`: QEMU fails their reads, instead of a bit being flipped.
    """

    blocks: int = 1
    tree: bool = False
    unreadable: bool = False


@dataclass(frozen=True)
class Mode:
    """A case: how the device is opened, what is damaged, and what comes of it."""

    name: str
    then: Then = Then.FAILS
    damage: Damage | None = None
    options: tuple[str, ...] = ()
    fec: bool = False


_IGNORE = ("--ignore-corruption",)
MODES = (
    Mode("reads"),
    Mode("data-flipped", Then.FAILS, Damage()),
    Mode("hash-flipped", Then.FAILS, Damage(tree=True)),
    Mode("data-read-error", Then.FAILS, Damage(unreadable=True)),
    Mode("hash-read-error", Then.FAILS, Damage(tree=True, unreadable=True)),
    Mode("ignore-data-flipped", Then.AS_IT_IS, Damage(), _IGNORE),
    Mode("ignore-hash-flipped", Then.AS_IT_IS, Damage(tree=True), _IGNORE),
    Mode("fec-reads", fec=True),
    Mode("fec-data-flipped", Then.REPAIRED, Damage(), fec=True),
    Mode("fec-hash-flipped", Then.REPAIRED, Damage(tree=True), fec=True),
    Mode("fec-data-read-error", Then.REPAIRED, Damage(unreadable=True), fec=True),
    Mode(
        "fec-hash-read-error", Then.REPAIRED_OR_FAILS, Damage(tree=True, unreadable=True), fec=True
    ),
    Mode("fec-all-it-can", Then.REPAIRED, Damage(blocks=0), fec=True),
    Mode("fec-too-much", Then.FAILS, Damage(blocks=-1), fec=True),
)


ENDINGS = {
    "restart": "Restarting system with command 'dm-verity device corrupted'",
    "panic": "Kernel panic - not syncing: dm-verity device corrupted",
}
"""Modes that end the guest, and the kernel's last words (kernel/reboot.c, kernel_restart;
drivers/md/dm-verity-target.c, verity_handle_err)."""


def wanted(
    then: Then, whole: Sequence[int], target: Target, damage: Damage, bad: Sequence[int],
    data: Medium, error: int = EIO,
) -> list[list[int]]:  # fmt: skip
    """What reading all blocks must give; several where kernels differ.  The damage is done;
    `error` is what a block gives that cannot be read."""
    repaired = list(whole)
    hit = [at for block in bad for at in target.tree.beside(block)] if damage.tree else bad
    failed = failing(whole, dict.fromkeys(hit, error))
    as_it_is = list(whole)
    if not damage.tree:
        for block in bad:
            as_it_is[block] = data.sum(block)
    found = {
        Then.FAILS: [failed],
        Then.AS_IT_IS: [as_it_is],
        Then.REPAIRED: [repaired],
        Then.REPAIRED_OR_FAILS: [repaired, failed],
    }
    return found[then]
