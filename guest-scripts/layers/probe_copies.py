# SPDX-License-Identifier: GPL-2.0-or-later
"""copy_file_range on block devices, tried: are the right bytes moved, no others, and by whom?"""

import os

import system
from area import NotTried, area
from capability import Lacks, Lies
from direct import Direct
from meter import Meter, wrote


def within(at):
    """A copy from one place of an area to its other."""
    return _tried(at, lambda: _copy(at.disk.fd, at, at.source), at.copied)


def between(at, other):
    """A copy from a pattern on another device, which is then as it was; from what stands there, if
    that is in use."""
    try:
        there = area(other)
    except NotTried:
        with Direct(other, write=False) as source:
            return _from_used(at, source, other)
    with there:
        if there.size != at.size:
            raise NotTried("the other has blocks of another size")
        there.prepare()
        try:
            return _between(at, there, other)
        finally:
            there.restore()


def _between(at, there, other):
    """From the pattern of another area.  Nothing else of the other may have changed, above all not
    where on this one the copy goes to."""

    def moved():
        held = [(there, there.source, there.pattern), (at, at.source, at.pattern)]
        held.append((at, at.target, there.pattern))
        return all(each.disk.read(to, at.size) == what.blocks(0, 1) for each, to, what in held)

    places = {there.target, at.target} - {there.source}
    with _Unchanged(there.disk, other, places, at.size):
        return _tried(at, lambda: _copy(there.disk.fd, at, there.source), moved)


def _from_used(at, source, other):
    """From what stands at the beginning of a device that is in use."""
    wanted = source.read(0, at.size)
    if wanted == at.disk.read(at.target, at.size):
        raise NotTried("the other is in use, and has what stands here already")
    with _Unchanged(source, other, {0, at.target}, at.size):
        return _tried(
            at, lambda: _copy(source.fd, at, 0), lambda: at.disk.read(at.target, at.size) == wanted
        )


class _Unchanged:
    """What lies at some places of a device that is only read is the same afterwards.

    What has changed is written back, and told: Lies.
    """

    def __init__(self, disk, device, places, size):
        self._disk, self._device, self._size = disk, device, size
        self._places = [at for at in sorted(places) if at + size <= system.size_of(device)]

    def __enter__(self):
        self._before = {at: self._disk.read(at, self._size) for at in self._places}

    def __exit__(self, *exception):
        changed = [at for at, was in self._before.items() if self._disk.read(at, self._size) != was]
        if not changed:
            return
        said = f"the disk that was copied from has changed at byte {changed[0]}"
        try:
            with Direct(self._device) as disk:
                for at in changed:
                    disk.write(at, self._before[at])
        except OSError as problem:  # as in a zone
            raise Lies(f"{said}, and cannot be restored: {problem.strerror}") from None
        raise Lies(f"{said}, which is restored")


def _copy(source, at, offset):
    return os.copy_file_range(source, at.disk.fd, at.size, offset, at.target)


def _tried(at, copy, moved):
    """What to say of a copy, which `moved` tells about.  Raises Lacks, Lies, OSError.

    One that worked is made once more, and watched: the kernel may have read and written.
    """
    said = _reported(copy(), moved, at)
    at.prepare()
    meter = Meter(at.device)
    copied = copy()
    seen = meter.moved()
    _reported(copied, moved, at)
    if "unknown" in seen or seen["lost"]:
        return f"{said}; offloaded or not: {seen.get('unknown', 'not all was seen')}"
    if writes := wrote(seen["bios"], at.target, at.size):
        raise Lacks(f"{said}, but the kernel fell back: {writes} writes")
    return f"{said}, offloaded"


def _reported(done, moved, at):
    """What to say of a copy of which so many bytes were reported.  Raises Lacks, Lies."""
    if done != at.size:
        raise Lacks(f"{done} of {at.size} bytes")
    if not moved():
        raise Lies(f"{done} of {at.size} bytes reported, and the content is not the source's")
    return f"{done} bytes, compared"
