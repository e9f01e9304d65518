# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of dm-verity: a tree made, opened in every mode, and read while the media go bad."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import EIO
from functools import partial

from lab.suites.verity.checker import CheckFailure, ProgramEnd, differences, errors, failing, told
from lab.suites.verity.medium import Medium
from lab.suites.verity.modes import ENDINGS, MODES, Damage, DamageMode, wanted
from lab.suites.verity.scene import CaseDeclined, VerityCase, VerityScene, identical
from lab.suites.verity.target import Target

SEED = "verity"
"""Of the data."""
READERS = 4
"""Readers at once, of a load."""

WAYS = {"workqueue": (), "tasklet": ("--use-tasklets",)}
"""Where blocks are checked, and how veritysetup is told."""
IN_TABLE = {"workqueue": "", "tasklet": "try_verify_in_tasklet"}


@dataclass
class Trees:
    """The cases on a pair of layers; `seen` is what readers got, by case and then by way."""

    plain: Target
    fec: Target

    def __post_init__(self) -> None:
        self.seen: dict[str, dict[str, tuple[int, ...]]] = {}
        self._roots: dict[str, str] = {}

    def cases(self) -> Iterator[VerityCase]:
        """All cases that leave the guest up."""
        yield VerityCase("format", partial(self._format, self.plain))
        yield VerityCase("fec-format", partial(self._format, self.fec))
        for way in WAYS:
            for mode in MODES:
                yield VerityCase(mode.name, partial(self._read, way, mode), way)
            yield VerityCase("check-at-most-once", partial(self._once, way), way)
            yield VerityCase("load", partial(self._load, way), way)
        yield VerityCase("identical", lambda _: identical(self.seen))

    @contextmanager
    def side_by_side(self, scene: VerityScene) -> Iterator[dict[str, str]]:
        """Devices to be measured beside each other, by way; they share their media."""
        with ExitStack() as opened:
            yield {
                way: opened.enter_context(
                    self.opened(scene, self.plain, way, ("--shared",), f"lab-{way}")
                )
                for way in WAYS
            }

    def endings(self) -> Iterator[VerityCase]:
        """The cases that end the guest."""
        for way in WAYS:
            for mode in ENDINGS:
                yield VerityCase(f"{mode}-on-corruption", partial(self._end, way, mode), way)

    def _format(self, target: Target, scene: VerityScene) -> list[str]:
        """veritysetup's root hash is that which the data have, and it finds the tree right."""
        data, root = self.ready(target, scene)
        said = scene.checker.must("veritysetup", "dump", target.hash.node)
        if root != (wanted := target.root(data)):
            raise CheckFailure(f"root hash {root}; the data have {wanted}")
        words = [target.data.node, target.hash.node, root]
        with scene.flipped(data):
            scene.checker.must("veritysetup", "verify", *words, extra=60)
        return [f"root hash {root}", *said.stdout.splitlines()[-8:]]

    def ready(self, target: Target, scene: VerityScene) -> tuple[Medium, str]:
        """The data's medium, and the root hash of their tree; both are made the first time."""
        data = scene.medium(target.data, target.size)
        if target.name not in self._roots:
            scene.require("modprobe", "dm-verity")
            data.fill(SEED)
            # The page cache of the guest has what udev saw.
            scene.checker.must("blockdev", "--flushbufs", target.data.node)
            said = scene.checker.must(*target.formatting(), extra=120)
            roots = [line for line in said.stdout.splitlines() if line.startswith("Root hash:")]
            self._roots[target.name] = roots[0].split()[-1]
        return data, self._roots[target.name]

    @contextmanager
    def opened(
        self,
        scene: VerityScene,
        target: Target,
        way: str,
        options: Sequence[str] = (),
        name: str = "",
    ) -> Iterator[str]:
        """The node of a device, while it is open.  Raises CaseDeclined when the kernel has no such
        way, CheckFailure when it cannot be opened otherwise."""
        _, root = self.ready(target, scene)
        name = name or target.name
        said = scene.checker.run(*target.opening(root, (*WAYS[way], *options), name))
        if said.status:
            raise refusal(said)
        with scene.closing("veritysetup", "close", name):
            table = scene.checker.must("dmsetup", "table", name).stdout
            if IN_TABLE[way] not in table:
                raise CheckFailure(f"{IN_TABLE[way]} is not in the table: {table.strip()}")
            yield f"/dev/mapper/{name}"

    def _read(self, way: str, mode: DamageMode, scene: VerityScene) -> list[str]:
        target = self.fec if mode.fec else self.plain
        data, _ = self.ready(target, scene)
        whole = data.sums()
        with ExitStack() as damaged:
            allowed = [whole]
            if mode.damage:
                bad = target.bad(mode.damage.blocks)
                error = damaged.enter_context(self._damaged(scene, target, mode.damage, bad))
                allowed = wanted(mode.then, whole, target, mode.damage, bad, data, error)
            else:
                damaged.enter_context(scene.flipped(data))
            with self.opened(scene, target, way, mode.options) as node:
                reading = scene.checker.read(node, target.size, len(whole))
                said = told(reading.kernel)
                if mode.damage and mode.damage.tree and mode.damage.unreadable:
                    said += spread(reading.sums[0], whole)
                    reading = scene.checker.read(node, target.size, len(whole))
                mark = scene.checker.must("dmsetup", "status", target.name).stdout.split()[-1]
            self._remember(mode.name, way, reading.sums[0])
            wrong = [differences(reading.sums[0], one) for one in allowed]
            if all(wrong):
                raise CheckFailure(wrong[0])
        return [*said, f"status of the device: {mark}"]

    @contextmanager
    def _damaged(
        self, scene: VerityScene, target: Target, damage: Damage, bad: Sequence[int]
    ) -> Iterator[int]:
        """Damage to the media; the errno of what cannot be read then."""
        disk = target.hash if damage.tree else target.data
        medium = scene.medium(disk, target.size)
        blocks = [target.tree.leaf(block) for block in bad] if damage.tree else bad
        if damage.unreadable:
            with scene.unreadable(disk, medium, blocks) as error:
                yield error
        else:
            with scene.flipped(medium, blocks):
                yield EIO

    def _once(self, way: str, scene: VerityScene) -> list[str]:
        """A block is checked at its first read, and never again."""
        target = self.plain
        data, _ = self.ready(target, scene)
        whole = data.sums()
        early, late = target.bad(2)
        options = ("--check-at-most-once",)
        # The one that is damaged from the start must not count as checked.
        with scene.flipped(data, [early]), self.opened(scene, target, way, options) as node:
            first = scene.checker.read(node, target.size, len(whole))
            data.flip(late)
            try:
                unseen = data.sum(late)
                again = scene.checker.read(node, target.size, len(whole))
            finally:
                data.flip(late)
        expected = failing(whole, {early: EIO})
        if wrong := differences(first.sums[0], expected):
            raise CheckFailure(f"first read: {wrong}")
        expected[late] = unseen
        if wrong := differences(again.sums[0], expected):
            raise CheckFailure(f"second read: {wrong}")
        self._remember("check-at-most-once", way, again.sums[0])
        return [f"block {late} was damaged after its first read, and then read as it is"]

    def _load(self, way: str, scene: VerityScene) -> list[str]:
        """Several readers at once get what one gets, with damage to data and tree."""
        target = self.plain
        data, _ = self.ready(target, scene)
        tree = scene.medium(target.hash, target.size)
        bad = target.bad(3)
        shaken = target.tree.blocks * 5 // 8
        vouched = target.tree.beside(shaken)
        expected = failing(data.sums(), dict.fromkeys([*bad, *vouched], EIO))
        with (
            scene.flipped(data, bad),
            scene.flipped(tree, [target.tree.leaf(shaken)]),
            self.opened(scene, target, way) as node,
        ):
            reading = scene.checker.read(node, target.size, len(expected), READERS)
        for number, sums in enumerate(reading.sums):
            if wrong := differences(sums, expected):
                raise CheckFailure(f"reader {number}: {wrong}")
        self._remember("load", way, reading.sums[0])
        return [f"{READERS} readers, {len(expected)} blocks each: all the same"]

    def _remember(self, case: str, way: str, sums: tuple[int, ...]) -> None:
        self.seen.setdefault(case, {})[way] = sums

    def _end(self, way: str, mode: str, scene: VerityScene) -> list[str]:
        """A damaged block ends the guest, with the kernel's word for it."""
        target = self.plain
        data, _ = self.ready(target, scene)
        options = (f"--{mode}-on-corruption",)
        bad = target.bad(1)
        with scene.flipped(data, bad), self.opened(scene, target, way, options) as node:
            return [scene.await_end(node, target.size, bad[0] + 1, ENDINGS[mode])]


def spread(sums: Sequence[int], whole: Sequence[int]) -> list[str]:
    """What was read first while a block of the tree is unreadable, in words.

    dm-verity reads blocks of the tree ahead, several in one request (dm-verity-target.c,
    verity_prefetch_io): all of them fail with it, each until it is read again.  Raises
    CheckFailure when something was read that is not what it must be.
    """
    read = [value if value < 0 else expected for value, expected in zip(sums, whole, strict=True)]
    if wrong := differences(sums, read):
        raise CheckFailure(wrong)
    return [f"at the first read {errors(sums)}, at the second only what it vouches for"]


def refusal(said: ProgramEnd) -> Exception:
    """Why a device cannot be opened."""
    words = [said.user, *said.only_in_log()]
    text = "; only in the kernel's log: ".join(filter(None, [words[0], " / ".join(words[1:])]))
    lacking = ("not supported", "Unrecognized verity feature")
    if any(sign in word for sign in lacking for word in words):
        return CaseDeclined(f"not supported: {text}")
    return CheckFailure(f"cannot be opened: {text}")
