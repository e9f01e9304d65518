# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of the device mapper that fail, wait or lie, made from those of a device that does not."""

from lab.errors import GuestError

_TARGETS = {
    "dm-error": "error",
    "dm-delay": "delay {place} 100",
    "dm-drop-writes": "flakey {place} 0 3600 1 drop_writes",
    # The 100th byte of each write becomes 170, which is in no tag.
    "dm-corrupt": "flakey {place} 0 3600 5 corrupt_bio_byte 100 w 170 0",
}
"""What a target that says where its blocks are becomes (Documentation/admin-guide/device-mapper/
delay.rst, dm-flakey.rst), by the action's name; `place` is the device below and the offset there.
A delay is in milliseconds."""

LIES = {
    "dm-drop-writes": "dropped every write",
    "dm-corrupt": "changed a byte of every write",
}
"""What the device does then and tells nobody, by the action's name."""

ACTIONS = tuple(_TARGETS)
"""The names of what can be done to a device by its table."""


def struck(table: str, action: str) -> str:
    """The table of a device that an action strikes, one target on a line as in `dmsetup table`.

    Raises GuestError when a target does not say where its blocks are, as linear and flakey do.
    """
    return "\n".join(_struck(line, action) for line in table.splitlines())


def _struck(line: str, action: str) -> str:
    match line.split():
        case [start, length, "linear" | "flakey", device, offset, *_]:
            place = f"{device} {offset}"
            return f"{start} {length} {_TARGETS[action].format(place=place)}"
    raise GuestError(f"{action}: no idea where the blocks of this target are: {line}")
