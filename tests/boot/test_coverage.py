# SPDX-License-Identifier: GPL-2.0-or-later
"""What cases execute of a kernel, with a series of which some lines are never reached.

It compiles a kernel, which takes a quarter of an hour and more, so it is run when
LAB_KERNEL_SOURCE names sources, such as /usr/src/linux-source-6.12.tar.xz of Debian's package.
"""

import json
import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.boot.conftest import Lab

needs_sources = pytest.mark.skipif(
    "LAB_KERNEL_SOURCE" not in os.environ, reason="LAB_KERNEL_SOURCE is not set"
)

FILE = "drivers/nvme/host/ioctl.c"
CALL = "\tret = nvme_execute_rq(req, false);"
ADDED = """\
\tif (ret > 0)
\t\tWRITE_ONCE(lab_ends[0], ret);
\telse if (!ret)
\t\tWRITE_ONCE(lab_ends[1], 1);
\telse
\t\tWRITE_ONCE(lab_ends[2], ret);
"""
"""A command's end: one that failed, one that did not, one that could not be carried out."""

MAIL = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Tester <tester@example.org>
Date: Mon, 30 Nov 2026 12:00:00 +0000
Subject: [PATCH] nvme: Count how passthrough commands end

---
"""


def series(content: str) -> str:
    """A mail that adds these lines behind the call, and the array that they write to."""
    before = content.splitlines(keepends=True)
    start = next(at for at, line in enumerate(before) if "nvme_submit_user_cmd(" in line)
    call = before.index(f"{CALL}\n", start)
    while before[start - 1].strip():
        start -= 1
    after = [
        *before[:start], "static int lab_ends[3];\n\n", *before[start : call + 1],
        *ADDED.splitlines(keepends=True), *before[call + 1 :],
    ]  # fmt: skip
    return MAIL + _diff("".join(before), "".join(after))


def _diff(before: str, after: str) -> str:
    from difflib import unified_diff

    lines = unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{FILE}", f"b/{FILE}"
    )
    return f"diff --git a/{FILE} b/{FILE}\n{''.join(lines)}"


@pytest.fixture(scope="module")
def counted(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a kernel with the series."""
    source = os.environ["LAB_KERNEL_SOURCE"]
    argv = ["tar", "-xOf", source, "--wildcards", f"*/{FILE}", "--occurrence=1"]
    content = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    mailbox = tmp_path_factory.mktemp("series") / "ends.mbox"
    mailbox.write_text(series(content))
    lean = str(ROOT / "tests/fixtures/kernel/lean.config")
    lab(
        *("kernel", "add", "ends", "--source", source, "--series", str(mailbox)),
        *("--config", lean),
        deadline=600,
    )
    lab("kernel", "build", "ends+gcov:block,drivers/nvme/host", deadline=7200)
    yield "ends"


@pytest.fixture(scope="module")
def covered(lab: Lab, counted: str) -> dict[str, Any]:
    """A run that fails a write, and kills its guest at one; its JSON."""
    done = lab(
        *("run", "nvme-copy", "copy-faults", "--json", "--kernel", counted),
        *("--coverage", "drivers/nvme/host,block", "--"),
        *("--points", "write:1", "--actions", "eio,kill"),
        deadline=900,
    )
    return dict(json.loads(done.stdout))


@needs_sources
def test_lines_of_a_series_by_what_executed_them(lab: Lab, covered: dict[str, Any]) -> None:
    done = lab("results", "coverage", covered["run"], "--json")
    (report,) = json.loads(done.stdout)
    whens = {line["text"].strip(): line["when"] for line in report["series"]}
    assert whens["if (ret > 0)"] == "fault"
    assert whens["WRITE_ONCE(lab_ends[0], ret);"] == "fault"
    assert whens["WRITE_ONCE(lab_ends[1], 1);"] == "plain"
    assert whens["WRITE_ONCE(lab_ends[2], ret);"] == "never"
    assert {line["function"] for line in report["series"]} == {"nvme_submit_user_cmd"}
    assert not report["lost"]
    assert covered["executed"]["series"]["never"] == 1


@needs_sources
def test_a_case_that_kills_its_guest_has_told_before(lab: Lab, covered: dict[str, Any]) -> None:
    (killed,) = (case for case in covered["cases"] if case["action"] == "kill")
    place = lab.state / "lab/runs" / covered["run"] / "coverage"
    records = [json.loads(line) for line in (place / "counts.jsonl").read_text().splitlines()]
    own = [one for one in records if one["case"] == str(killed["number"])]
    assert [one["circumstance"] for one in own if one["file"]] == ["fault", "plain"]
    assert not any(one["lost"] for one in records)


@needs_sources
def test_files_that_copies_execute(lab: Lab, covered: dict[str, Any], tmp_path: Path) -> None:
    xml = tmp_path / "coverage.xml"
    done = lab(
        *("results", "coverage", covered["run"], "--cobertura", str(xml)),
        *("--html", str(tmp_path / "pages")),
        deadline=600,
    )
    assert f"{'never':23}{FILE}:" in done.stdout
    hits = {
        one.get("filename"): sum(int(line.get("hits", 0)) > 0 for line in one.iter("line"))
        for one in ElementTree.parse(xml).iter("class")
    }
    assert hits[FILE] > 50
    assert hits["block/blk-mq.c"] > 200
    assert hits["drivers/nvme/host/pci.c"] > 50
    # block/ioctl.c has a page that begins like this too.
    found = list((tmp_path / "pages").glob("index.ioctl.c*.html"))
    assert ["lab_ends" in page.read_text() for page in found].count(True) == 1


@needs_sources
def test_pages_and_mail_have_the_table(lab: Lab, covered: dict[str, Any], tmp_path: Path) -> None:
    lab("results", "html", str(tmp_path), "--run", covered["run"])
    page = (tmp_path / f"{covered['run']}.html").read_text()
    assert "The series, line by line" in page
    assert re.search(rf'<td class="bad">never</td><td class="case">{FILE}:\d+', page)
    said = lab("results", "export", covered["run"], "--to", "mail").stdout
    assert "Executed by nothing:" in said
    assert "nvme_submit_user_cmd()" in said


def test_a_kernel_that_cannot_count_is_told_at_once(lab: Lab) -> None:
    done = lab("run", "nvme-copy", "copy-faults", "--coverage", "block", status=2)
    assert "needs a kernel that was compiled with gcov" in done.stderr
    assert "lab kernel add NAME --source" in done.stderr
