# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done to the media below dm-verity, and what each mode must make of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from errno import EIO

from lab.suites.verity.checker import failing
from lab.suites.verity.medium import Medium
from lab.suites.verity.target import Target


class DamageOutcome(StrEnum):
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
class DamageMode:
    """A case: how the device is opened, what is damaged, and what comes of it."""

    name: str
    then: DamageOutcome = DamageOutcome.FAILS
    damage: Damage | None = None
    options: tuple[str, ...] = ()
    fec: bool = False


_IGNORE = ("--ignore-corruption",)
MODES = (
    DamageMode("reads"),
    DamageMode("data-flipped", DamageOutcome.FAILS, Damage()),
    DamageMode("hash-flipped", DamageOutcome.FAILS, Damage(tree=True)),
    DamageMode("data-read-error", DamageOutcome.FAILS, Damage(unreadable=True)),
    DamageMode("hash-read-error", DamageOutcome.FAILS, Damage(tree=True, unreadable=True)),
    DamageMode("ignore-data-flipped", DamageOutcome.AS_IT_IS, Damage(), _IGNORE),
    DamageMode("ignore-hash-flipped", DamageOutcome.AS_IT_IS, Damage(tree=True), _IGNORE),
    DamageMode("fec-reads", fec=True),
    DamageMode("fec-data-flipped", DamageOutcome.REPAIRED, Damage(), fec=True),
    DamageMode("fec-hash-flipped", DamageOutcome.REPAIRED, Damage(tree=True), fec=True),
    DamageMode("fec-data-read-error", DamageOutcome.REPAIRED, Damage(unreadable=True), fec=True),
    DamageMode(
        "fec-hash-read-error",
        DamageOutcome.REPAIRED_OR_FAILS,
        Damage(tree=True, unreadable=True),
        fec=True,
    ),
    DamageMode("fec-all-it-can", DamageOutcome.REPAIRED, Damage(blocks=0), fec=True),
    DamageMode("fec-too-much", DamageOutcome.FAILS, Damage(blocks=-1), fec=True),
)


ENDINGS = {
    "restart": "Restarting system with command 'dm-verity device corrupted'",
    "panic": "Kernel panic - not syncing: dm-verity device corrupted",
}
"""Modes that end the guest, and the kernel's last words (kernel/reboot.c, kernel_restart;
drivers/md/dm-verity-target.c, verity_handle_err)."""


def wanted(
    then: DamageOutcome, whole: Sequence[int], target: Target, damage: Damage, bad: Sequence[int],
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
        DamageOutcome.FAILS: [failed],
        DamageOutcome.AS_IT_IS: [as_it_is],
        DamageOutcome.REPAIRED: [repaired],
        DamageOutcome.REPAIRED_OR_FAILS: [repaired, failed],
    }
    return found[then]
