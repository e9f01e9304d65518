# SPDX-License-Identifier: GPL-2.0-or-later
"""Names for what lies in a kernel's memory."""

import drgn

unreadable = (drgn.FaultError, drgn.ObjectAbsentError, LookupError, AttributeError, ValueError,
              TypeError)  # fmt: skip
"""What drgn raises for memory that is not there, or a kernel that has no such thing."""


def function(program: drgn.Program, address: int) -> str:
    """The function at an address, '' for 0."""
    if not address:
        return ""
    try:
        return str(program.symbol(address).name)
    except LookupError:
        return f"{address:#x}"


def text(value: drgn.Object) -> str:
    """The text in an array, or behind a pointer, of char."""
    return str(value.string_().decode(errors="replace").strip())


def enumerator(value: drgn.Object, prefix: str) -> str:
    """The name of an enumerator without its prefix, in small letters; its number if it has none."""
    number = value.value_()
    for name, of in value.type_.enumerators or ():
        if of == number:
            return str(name).removeprefix(prefix).lower().replace("_", " ")
    return str(number)
