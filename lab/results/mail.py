# SPDX-License-Identifier: GPL-2.0-or-later
"""What copies came to, as a mail to those who wrote what was tried: findings first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import TextWrapper

from lab.results import executed
from lab.results.coverage import CoverageReport
from lab.results.executed import COLUMNS
from lab.results.findings import BrokenRule, Document, JudgedCopy, findings, judged, kept
from lab.results.rules import WORDS

QUOTED = 400
"""Characters of evidence in a finding; the run has all of it."""


def mail(documents: Sequence[Document], covered: Sequence[CoverageReport] = ()) -> str:
    """The mail of some runs that judge copies (their documents with `kernel_name`, by which the
    kernel was asked for), plain and no wider than COLUMNS but for what cannot
    be broken: what is broken, what holds, what was not exercised, what of the kernel was not
    executed, on what, and how to do it again.
    """
    return "\n".join(_lines(documents, covered)) + "\n"


def _lines(documents: Sequence[Document], covered: Sequence[CoverageReport]) -> Iterator[str]:
    copies = judged(documents)
    found = findings(copies)
    places = {copy.where for copy in copies}
    broken = sum(copy.case["verdict"] == "violated" for copy in copies)
    yield from _wrapped(
        f"{broken} of {len(copies)} judged copies, on {len(places)} paths, broke the contract: "
        f"{len({each.rule for each in found})} of its rules.",
    )
    for number, (rule, places_of) in enumerate(groupby(found, key=lambda each: each.rule), 1):
        yield from _rule(number, rule, list(places_of))
    yield from ("", "What holds", "")
    yield from _holds(copies)
    if lines := list(_not_exercised(documents, copies)):
        yield from ("", "What was not exercised", "", *lines)
    for report in covered:
        yield from ("", f"What was executed of {report.kernel}", "", *executed.letter(report))
    yield from ("", "On what", "")
    for words in dict.fromkeys(map(_platform, documents)):
        yield from _item(words)
    yield from ("", "Again", "")
    for words in dict.fromkeys(map(_again, documents)):
        yield f"  {words}"


def _rule(number: int, rule: str, found: Sequence[BrokenRule]) -> Iterator[str]:
    """A rule that is broken: on which paths, and the smallest copy of all, as it was seen."""
    yield ""
    yield from _wrapped(f"{number}. {rule}: {WORDS[rule]}")
    for each in found:
        faults = ", ".join(f"{fault} {count}" for fault, count in each.faults.items())
        words = f"{each.where}, in {len(each.copies)} of {each.judged} copies ({faults})"
        yield from _wrapped(words, "   - ", "     ")
        yield f"     lab replay {each.smallest.name} --times 20"
    first = min(found, key=lambda each: each.smallest.size)
    copy = first.smallest.smallest["copy"]
    sources = ", ".join(f"{start}+{sectors}" for start, sectors in copy["sources"])
    done = first.smallest.smallest["name"]
    where = f"{first.where}, {first.smallest.name}" if found[1:] else first.smallest.name
    yield from _part(f"Smallest: {sources} to {copy['destination']} (sectors), {done} ({where}).")
    evidence = first.evidence
    yield from _part(f"Seen: {evidence[:QUOTED]}{'…' if len(evidence) > QUOTED else ''}")


def _holds(copies: Sequence[JudgedCopy]) -> Iterator[str]:
    """For each path the rules that no copy broke."""
    for where, rules in kept(copies).items():
        whole = [f"{rule} ({all_})" for rule, (held, all_) in rules.items() if held == all_]
        yield from _item(f"{where}: {', '.join(whole) or 'no rule'}")


def _not_exercised(documents: Sequence[Document], copies: Sequence[JudgedCopy]) -> Iterator[str]:
    for document in documents:
        what = f"{document['path']} on {document['profile']} ({document['on']})"
        if said := document.get("not_supported"):
            yield from _item(f"{what}: not supported: {' '.join(said.split())}")
        if said := document.get("error"):
            yield from _item(f"{what}: the lab failed: {' '.join(said.split())[:QUOTED]}")
        for action, said in (document.get("lacking") or {}).items():
            yield from _item(f"{what}: {action}: {' '.join(said.split())}")
    for verdict in ("fell back", "not exercised"):
        for where, count in Counter(
            copy.where for copy in copies if copy.case["verdict"] == verdict
        ).items():
            yield from _item(f"{where}: {count} {verdict}")


def _platform(document: Document) -> str:
    return f"kernel {document['kernel']} ({document['kernel_name']}), QEMU {document['qemu']}"


def _again(document: Document) -> str:
    return (
        f"lab run {document['profile']} {document['suite']} --kernel {document['kernel_name']} "
        f"-- --path {document['path']} --layer {document['on']}"
    )


def _part(words: str) -> list[str]:
    return _wrapped(words, "   ", "   ")


def _item(words: str) -> list[str]:
    return _wrapped(words, "- ", "  ")


def _wrapped(words: str, first: str = "", others: str = "") -> list[str]:
    """Words in lines; names of profiles and paths, which have hyphens, stay whole."""
    return TextWrapper(
        COLUMNS, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    ).wrap(words)
