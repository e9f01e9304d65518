# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/findings.md: each command that it gives still shows what it says, with LAB_FINDINGS=1.

A finding that the lab can show again has two hidden lines below its heading,

    <!-- run: lab run … -->
    <!-- shows: REGEX -->

and what is run must stand in the text too.
"""

import os
import re
import shlex
from dataclasses import dataclass

import pytest

from tests import ROOT
from tests.boot.conftest import Lab

_SECTION = re.compile(r"^## (.*)$", re.MULTILINE)
_NOTE = re.compile(r"^<!-- (run|shows): (.*) -->$", re.MULTILINE)
_SEEN = re.compile(r"^Seen on 20\d\d-\d\d-\d\d with ", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """A section of the page."""

    title: str
    text: str

    @property
    def notes(self) -> dict[str, str]:
        """Its hidden lines, by their first word."""
        return dict(_NOTE.findall(self.text))


def sections() -> list[Finding]:
    parts = _SECTION.split((ROOT / "docs/findings.md").read_text())[1:]
    return [Finding(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]


FINDINGS = sections()
AGAIN = [found for found in FINDINGS if "run" in found.notes]


def test_every_finding_says_when_and_with_what_it_was_seen() -> None:
    assert FINDINGS
    for found in FINDINGS:
        assert _SEEN.search(found.text), f"{found.title}: no line 'Seen on DATE with VERSIONS'"


def test_what_is_run_is_what_the_page_tells_the_reader_to_run() -> None:
    assert AGAIN
    for found in AGAIN:
        visible = _NOTE.sub("", found.text)
        assert found.notes["run"] in visible, found.title
        assert "shows" in found.notes, found.title


@pytest.mark.skipif("LAB_FINDINGS" not in os.environ, reason="minutes each: LAB_FINDINGS=1")
@pytest.mark.parametrize("found", AGAIN, ids=[found.title for found in AGAIN])
def test_a_finding_is_seen_again(lab: Lab, found: Finding) -> None:
    _, *words = shlex.split(found.notes["run"])
    done = lab(*words, status=None, deadline=1800)
    assert done.returncode in (0, 1), done.stderr
    seen = " ".join((done.stdout + done.stderr).split())
    assert re.search(found.notes["shows"], seen), f"not shown any more:\n{done.stdout}"
