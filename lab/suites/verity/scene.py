# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a case of the suite happens: the guest, its checker, and the media below."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EIO

from lab.errors import GuestError, LabError
from lab.foreign import end_of
from lab.guest.guest import Guest
from lab.guest.lastwords import DEATH, hear_out
from lab.suites.verity.checker import Checker, CheckerTimeout, CheckFailure, differences
from lab.suites.verity.medium import Medium
from lab.vm.argv import CONSOLE_LOG
from lab.vm.disks import EmulatedDisk
from lab.vm.graph import Rule

ALWAYS = "none"
"""The event of blkdebug that arms a rule from the start (QEMU qapi/block-core.json,
BlkdebugEvent)."""


class CaseDeclined(Exception):
    """The guest does not offer what the case is about: it is not run."""


@dataclass
class VerityScene:
    """The guest as it is now; `plant` is the wrong expectation that cases must catch, if any."""

    guest: Guest
    checker: Checker
    plant: str = ""
    lost: bool = False
    """The guest has ended, as it was to."""

    def medium(self, disk: EmulatedDisk, size: int) -> Medium:
        """A disk's medium in blocks of `size` bytes."""
        return Medium(self.guest.directory / disk.drive.medium, size)

    @contextmanager
    def flipped(self, medium: Medium, blocks: Sequence[int] = ()) -> Iterator[None]:
        """Blocks of a medium with a bit flipped.  At the end the medium must be as it was but for
        these: whoever checks or repairs what is read must not write.  Raises CheckFailure."""
        wanted = medium.sums()
        with medium.flipped(blocks):
            for block in blocks:
                wanted[block] = medium.sum(block)
        with medium.flipped(self._planted(blocks, medium)):
            yield
            if wrong := differences(medium.sums(), wanted):
                raise CheckFailure(f"on the medium {medium.path.name}: {wrong}")

    def spoil(self, medium: Medium, block: int) -> None:
        """Flip a bit of a block, which stays so until the guest writes it again."""
        for one in self._planted([block], medium):
            medium.flip(one)

    def _planted(self, blocks: Sequence[int], medium: Medium) -> list[int]:
        """The blocks to be flipped: those, if nothing else is planted."""
        if self.plant == "no-flip":
            return []
        if self.plant == "stray-flip":
            return [*blocks, blocks[-1] + 1 if blocks else medium.blocks // 2]
        return list(blocks)

    @contextmanager
    def unreadable(
        self, disk: EmulatedDisk, medium: Medium, blocks: Sequence[int]
    ) -> Iterator[int]:
        """Blocks of a disk whose reads QEMU fails; the errno that this comes to in the guest.

        Raises CheckFailure when it comes to none.
        """
        per_block = medium.size // 512
        rules = [Rule(ALWAYS, "read", EIO, block * per_block, once=False) for block in blocks]
        machine = self.guest.machine
        machine.exchange_fault_layer(disk.drive, rules)
        try:
            (below,) = self.checker.read(disk.node, medium.size, 1, first=blocks[0]).sums[0]
            if below >= 0:
                raise CheckFailure(f"{disk.node}: a read that QEMU fails succeeds in the guest")
            yield -below
        finally:
            if machine.alive():
                machine.exchange_fault_layer(disk.drive)

    def require(self, *argv: str) -> None:
        """Raise CaseDeclined unless a program ends well that shows what the guest has."""
        said = self.checker.run(*argv)
        if said.status:
            raise CaseDeclined(f"not supported: {' '.join(argv)}: {said.user}")

    def await_end(self, node: str, size: int, blocks: int, words: str) -> str:
        """Read blocks until that ends the guest; its last words, which must hold `words`.  Raises
        CheckFailure when it goes on, or ends without them."""
        machine = self.guest.machine
        with suppress(GuestError, CheckerTimeout):
            self.checker.read(node, size, blocks)
        hear_out(machine, DEATH)
        if machine.alive():
            raise CheckFailure("the guest goes on")
        self.lost = True
        console = end_of(self.guest.directory / CONSOLE_LOG, 8 << 20)
        for line in console.splitlines():
            if words in line:
                return f"console: {line[line.index(words) :].strip()}"
        raise CheckFailure(f"the guest ended, and its console does not say: {words}")

    @contextmanager
    def closing(self, *argv: str) -> Iterator[None]:
        """Take a device away at the end, by a command in the guest; if something went wrong
        before, whatever that says does not matter any more.  A user who breaks off waits for
        nothing: the guest goes with the run."""
        try:
            yield
        except Exception:
            if not self.lost:
                with suppress(LabError, CheckerTimeout):
                    self.checker.run(*argv)
            raise
        if not self.lost:
            self.checker.must(*argv)


@dataclass(frozen=True)
class VerityCase:
    """A case: `work` carries it out and tells what there is to say of it, in lines.  It raises
    CheckFailure or CaseDeclined."""

    name: str
    work: Callable[[VerityScene], list[str]]
    section: str = ""

    @property
    def title(self) -> str:
        """How people call it."""
        return f"{self.section}:{self.name}" if self.section else self.name


def identical(seen: dict[str, dict[str, tuple[int, ...]]]) -> list[str]:
    """That what was read in each case is the same each way.  Raises CheckFailure where it is not,
    CaseDeclined where no case was carried out more than one way."""
    compared = 0
    for case, by_way in seen.items():
        (way, first), *others = by_way.items()
        for other, sums in others:
            compared += 1
            if wrong := differences(sums, first):
                raise CheckFailure(f"{case}: {other} otherwise than {way}: {wrong}")
    if not compared:
        raise CaseDeclined("no case was carried out both ways")
    return [f"{compared} cases read the same both ways"]
