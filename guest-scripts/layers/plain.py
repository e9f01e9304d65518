# SPDX-License-Identifier: GPL-2.0-or-later
"""A step in plain text, for a person at the terminal."""

MARKS = {True: "yes", False: "no", None: "-"}
UNITS = (("G", 2**30), ("M", 2**20), ("K", 2**10))


def lines(step, verbose=False):
    """The lines of a step; none for one that only begins.  `verbose` adds what was found."""
    if step["event"] == "starting":
        return
    places = [step["mount"]] if step.get("mount") else list(step.get("devices", {}).values())
    size = f"  {size_text(step['size'])}" if step.get("size") else ""
    said = " ".join([*places, *said_lines(step)[:1]])
    yield f"{step['name']:20} {step['status']:14} {said}{size}".rstrip()
    for line in said_lines(step)[1:] + step.get("kernel", []):
        yield f"{'':36}{line}"
    if verbose:
        for found in step.get("capabilities", []):
            first, *more = found["said"].splitlines() or [""]
            yield f"    {found['capability']:31} {MARKS[found['supported']]:3} {first}".rstrip()
            yield from (f"{'':40}{line}" for line in more)


def said_lines(step):
    """What was said, led by what was tried."""
    said = step.get("said", "")
    return (f"{step['tried']}: {said}" if step.get("tried") else said).splitlines()


def size_text(size):
    """Bytes in the largest unit that divides them: 256M."""
    for unit, factor in UNITS:
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}"
