# SPDX-License-Identifier: GPL-2.0-or-later
"""What copies came to, path by fault and path by rule."""

from lab.results.findings import findings, judged
from lab.results.tables import tables
from tests.unit.test_mail import case, run


def rows(text: str) -> dict[str, list[str]]:
    """The cells of the tables, by their first: of each table one row."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.setdefault(first, []).extend(cells)
    return found


FOUND = run(
    case(1, "rehearsal", COMPLETE="violated"),
    case(2, "eio", COMPLETE="violated", LIMITS="n/a"),
    case(3, "eio", OFFLOADED="fell back", LIMITS="n/a"),
)


def test_a_path_has_what_its_copies_came_to_by_fault_and_by_rule() -> None:
    text = tables([FOUND, run(case(1, "torn"), profile="zns")])
    assert text.startswith(
        "`series`: 4 judged copies on 2 paths: 2 violated, 1 fell back, 1 holds."
    )
    found = rows(text)
    head, here = found["path"], found["bdev-cfr on nvme-copy (S:1)"]
    cells = dict(zip(head, here, strict=True))
    assert cells["eio"] == "1 violated, 1 fell back"
    assert cells["torn"] == "·"
    assert cells["COMPLETE"] == "**2 of 3** (rehearsal 1, eio 1)"
    assert cells["LIMITS"] == "1 hold"
    assert cells["SOURCE"] == "3 hold"


def test_kernels_are_told_apart() -> None:
    mended = run(case(1, "eio"), kernel_name="repaired")
    text = tables([FOUND, mended])
    assert text.index("`series`: 3 judged") < text.index("`repaired`: 1 judged")
    assert "**2 of 3**" in text
    (complete,) = findings(judged([FOUND, mended]))
    assert complete.where == "bdev-cfr on nvme-copy (S:1), series"
    assert complete.judged == 3


def test_a_kernel_on_which_nothing_was_judged_is_told() -> None:
    assert tables([run(not_supported="EINVAL")]) == (
        "`series`: 0 judged copies on 0 paths: none.\n"
    )
