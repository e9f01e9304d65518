# SPDX-License-Identifier: GPL-2.0-or-later
"""A comparison as Markdown, to be mailed to a list."""

from collections.abc import Iterator, Sequence

from lab.results.baseline import Comparison
from lab.results.compare import BAD, ChangeKind, ItemDifference, counts
from lab.results.inline import cell, plain
from lab.results.store.schema import RunRow

SHOWN = 20
"""Changes of a kind that are listed; a mail is no archive."""

_LISTED = (
    ChangeKind.REGRESSED,
    ChangeKind.NEW_FAILING,
    ChangeKind.FIXED,
    ChangeKind.FLAKY,
    ChangeKind.STILL_FAILING,
)


def summary(comparison: Comparison, tester: str) -> str:
    """What changed, on what it ran, how to do it again, and a tag for the patch if all is well.

    `tester` is the name and address for that tag.
    """
    return "\n".join(_lines(comparison, tester)) + "\n"


def _lines(comparison: Comparison, tester: str) -> Iterator[str]:
    yield f"# {_headline(comparison)}"
    yield ""
    if comparison.warnings:
        yield from (f"- **Careful**: {plain(warning)}" for warning in comparison.warnings)
        yield ""
    yield f"Kernel {_kernels(comparison.runs)} against {_kernels(comparison.base)}."
    yield f"QEMU {_qemus(comparison.runs)} against {_qemus(comparison.base)}."
    yield ""
    yield from _runs(comparison.runs)
    for title, differences in (("Cases", comparison.cases), ("Rules", comparison.rules)):
        if differences:
            yield from ("", f"## {title}", "")
            yield ", ".join(f"{count} {change}" for change, count in counts(differences).items())
            yield from _changes(differences)
    yield from ("", "## Again", "")
    for run in {(run.suite, run.profile): run for run in comparison.runs}.values():
        qemu = "" if run.qemu_name == "host" else f" --qemu {run.qemu_name}"
        yield f"    lab run {run.profile} {run.suite} --kernel {run.kernel}{qemu}"
    if comparison.exit_status == 0 and not comparison.warnings:
        yield from ("", f"    Tested-by: {tester}")


def _headline(comparison: Comparison) -> str:
    if broken := [run for run in comparison.runs if run.error]:
        return f"The lab failed in {len(broken)} of {len(comparison.runs)} runs"
    bad = counts([one for one in (*comparison.cases, *comparison.rules) if one.change in BAD])
    words = [f"{count} {change}" for change, count in bad.items()]
    found = f"Cases and rules: {', '.join(words)}" if words else "No regressions"
    planted = any(run.plant for run in (*comparison.base, *comparison.runs))
    return f"{found}, with a planted defect" if planted else found


def _runs(runs: Sequence[RunRow]) -> Iterator[str]:
    yield "| suite | profile | kernel | QEMU | seconds | run |"
    yield "|---|---|---|---|---|---|"
    for run in runs:
        what = map(cell, (run.suite, run.profile, run.release, version(run)))
        yield f"| {' | '.join(what)} | {run.seconds:.0f} | {run.id} |"
        if run.error:
            first = run.error.partition("\n")[0]
            yield f"| | | the lab failed: {cell(first)} | | | |"


def _changes(differences: Sequence[ItemDifference]) -> Iterator[str]:
    for change in _LISTED:
        found = [one for one in differences if one.change is change]
        if not found:
            continue
        yield from ("", f"### {change.value.capitalize()}", "")
        for one in found[:SHOWN]:
            where = f"{one.item.suite} on {one.item.profile}: **{plain(one.item.title)}**"
            reason = f": {plain(one.reason)}" if one.reason else ""
            hosts = f" ({one.hosts})" if one.hosts else ""
            yield f"- {where} passed {one.tally}, before {one.baseline}{hosts}{reason}"
        if len(found) > SHOWN:
            yield f"- and {len(found) - SHOWN} more"


def _kernels(runs: Sequence[RunRow]) -> str:
    return ", ".join(dict.fromkeys(plain(run.release or run.kernel) for run in runs))


def _qemus(runs: Sequence[RunRow]) -> str:
    return ", ".join(dict.fromkeys(plain(version(run)) for run in runs))


def version(run: RunRow) -> str:
    """The version of a run's QEMU, without that of its package."""
    return run.qemu.partition(" (")[0]
