# SPDX-License-Identifier: GPL-2.0-or-later
"""What copies came to as tables in Markdown: path by fault, and path by rule; pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from lab.results.findings import Document, JudgedCopy, cells, findings, judged, kept
from lab.results.rules import WORDS

NOTHING = "·"
"""A combination that was not tried, or a rule that said nothing."""


def tables(documents: Sequence[Document]) -> str:
    """For each kernel of these runs (their documents with `kernel_name`) how many copies came to
    what, path by fault, and in how many of those to which it applied a rule was broken, path by
    rule, with the faults that did it."""
    kernels = dict.fromkeys(document["kernel_name"] for document in documents)
    lines: list[str] = []
    for kernel in kernels:
        mine = [document for document in documents if document["kernel_name"] == kernel]
        lines += [*([""] if lines else []), *_of_kernel(kernel, mine)]
    return "\n".join(lines) + "\n"


def _of_kernel(kernel: str, documents: Sequence[Document]) -> Iterator[str]:
    copies = judged(documents)
    tally = Counter(copy.case["verdict"] for copy in copies)
    places = list(dict.fromkeys(copy.where for copy in copies))
    counted = ", ".join(f"{count} {verdict}" for verdict, count in tally.most_common())
    yield f"`{kernel}`: {len(copies)} judged copies on {len(places)} paths: {counted or 'none'}."
    if copies:
        yield from ("", *_by_fault(places, copies), "", *_by_rule(places, copies))


def _by_fault(places: Sequence[str], copies: Sequence[JudgedCopy]) -> Iterator[str]:
    found = cells(copies)
    faults = list(dict.fromkeys(copy.fault for copy in copies))
    yield from _head("path", faults)
    for place in places:
        yield _row(place, (_verdicts(found.get((place, fault), {})) for fault in faults))


def _verdicts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counted.items()) or NOTHING


def _by_rule(places: Sequence[str], copies: Sequence[JudgedCopy]) -> Iterator[str]:
    broken = {(each.where, each.rule): each for each in findings(copies)}
    applied = kept(copies)
    rules = [rule for rule in WORDS if any(rule in applied[place] for place in places)]
    yield from _head("path", rules)
    for place in places:
        row = []
        for rule in rules:
            _, all_ = applied[place].get(rule, (0, 0))
            found = broken.get((place, rule))
            if not all_:
                row.append(NOTHING)
            elif not found:
                row.append(f"{all_} hold")
            else:
                faults = ", ".join(f"{fault} {count}" for fault, count in found.faults.items())
                row.append(f"**{len(found.copies)} of {all_}** ({faults})")
        yield _row(place, row)


def _head(first: str, columns: Sequence[str]) -> Iterator[str]:
    yield _row(first, columns)
    yield "|---" * (1 + len(columns)) + "|"


def _row(first: str, columns: Sequence[str] | Iterator[str]) -> str:
    return f"| {' | '.join([first, *columns])} |"
