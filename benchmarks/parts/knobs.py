# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU can be told otherwise than the lab tells it, and what that changes.

Each is a program that calls QEMU with other words: to the lab it is another QEMU, with
checkpoints of its own.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks import builds
from benchmarks.builds import Build
from benchmarks.labs import Labs
from benchmarks.measure import say, settled, taken_down, warm
from benchmarks.page import Section
from benchmarks.parts.first_reply import reply
from benchmarks.spent import Spent
from lab.artifacts import cache
from lab.guest import shelf
from lab.host import dirs, qemu

KNOBS: Mapping[str, Mapping[str, str]] = {
    "as it is": {},
    "-cpu max,la57=off": {"max": "max,la57=off"},
    "tb-size 64": {"accel=tcg": "tb-size=64"},
    "tb-size 512": {"accel=tcg": "tb-size=512"},
    "-cpu Nehalem": {"max": "Nehalem"},
}
"""By name: words of QEMU's command line, and what stands there instead; for `accel=tcg` it is an
option of the accelerator, which needs a word of its own."""

_CASE = ("run", "nvme-copy", "copy-faults", "--json", "--", "--points", "write:2",
         "--actions", "torn")  # fmt: skip


def measure(labs: Labs, rounds: int, names: tuple[str, ...] = tuple(KNOBS)) -> Section:
    """Each in turn, `rounds` times."""
    programs = {name: _program(name, KNOBS[name]) for name in names}
    tried = {name: builds.now(LAB_QEMU=str(path)) for name, path in programs.items()}
    found: dict[str, list[tuple[Spent, Spent]]] = {name: [] for name in names}
    with taken_down(labs.now), _no_checkpoints(programs.values()):
        for build in tried.values():
            warm(build)
        for _ in range(rounds):
            for name, build in tried.items():
                found[name].append((reply(build), _case(build)))
                first, case = found[name][-1]
                say(f"{name}: reply {first.cpu:.2f} CPU s, one case {case.cpu:.2f} CPU s")
    return Section("Knobs", [], _lines(found))


@contextmanager
def _no_checkpoints(programs: Collection[Path]) -> Iterator[None]:
    """Remove the checkpoints of these QEMUs at the end: nobody else begins from them."""
    try:
        yield
    finally:
        for one in shelf.listing():
            emulator = one.manifest.versions.get("emulator", "")
            if any(emulator.startswith(f"{path} ") for path in programs):
                cache.remove(one.artifact)


def _lines(found: Mapping[str, list[tuple[Spent, Spent]]]) -> list[str]:
    lines = [
        "From a checkpoint, to the first reply of the executor, and one run of one case",
        "(`copy-faults -- --points write:2 --actions torn`) to its end: medians.",
        "",
        "| QEMU | first reply | CPU | one case | CPU |",
        "|---|---|---|---|---|",
    ]
    for name, rows in found.items():
        cells = []
        for number in range(2):
            cells.append(f"{median(row[number].clock for row in rows):.2f} s")
            cells.append(f"{median(row[number].cpu for row in rows):.2f} s")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _case(build: Build) -> Spent:
    _, spent = build.document(*_CASE)
    settled()
    return spent


def _program(name: str, changes: Mapping[str, str]) -> Path:
    """A program that is QEMU, but for some words of its command line."""
    lines = [
        "#!/bin/sh",
        "# Written by the lab's benchmark.",
        "for word; do",
        "    shift",
        "    more=",
    ]
    lines.append('    case "$word" in')
    for old, new in changes.items():
        if old == "accel=tcg":
            lines.append('    q35,accel=tcg,*) word="q35,${word#q35,accel=tcg,}"')
            lines.append(f"        more='-accel tcg,{new}' ;;")
        else:
            lines.append(f"    {old}) word={shlex.quote(new)} ;;")
    lines += ["    esac", '    set -- "$@" "$word" $more', "done"]
    lines.append(f'exec {shlex.quote(qemu.binary())} "$@"')
    safe = "".join(each if each.isalnum() else "-" for each in name).strip("-")
    path = dirs.cache("benchmarks") / f"qemu-{safe}"
    text = "\n".join(lines) + "\n"
    # The same program as last time has its checkpoints already.
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        path.chmod(0o755)
    return path
