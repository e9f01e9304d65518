# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person or another machine gives, changed at random: read, or refused with its place.

LAB_FUZZ=N takes N inputs for each parser.
"""

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.artifacts import image
from lab.artifacts.kernels import mails, quilt, series
from lab.artifacts.kernels import names as kernels
from lab.artifacts.qemus import names as qemus
from lab.errors import LabError, ProfileError, UsageError
from lab.farm import page, plan
from lab.host import dirs, settings
from lab.problem import InvalidProfileError
from lab.profile.find import shipped
from lab.profile.load import load_file
from lab.results import bundle
from lab.results.runs import PastRun
from lab.suites.conformance import quirks
from lab.suites.copy_faults.bundle import case_in
from lab.suites.crash_states.fs import given as workloads
from lab.suites.crash_states.recording import OPERATIONS as OPERATIONS_OF_COPIES
from lab.suites.crash_states.recording import CopyRecording
from lab.suites.crash_states.replay import failure_of
from lab.suites.fstests.faults import plan as fault_plan
from lab.suites.fsx import options as fsx
from lab.suites.upstream import known
from lab.suites.upstream.exclusions import Lists
from tests import ROOT
from tests.fuzz import INPUTS, documents, endure, mutants
from tests.unit.suites.copy_faults.test_bundle import made, recorded

DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

PLAN = (ROOT / "examples/night.yaml").read_bytes()
QUIRKS = (
    b"quirks:\n- path: nvme-copy\n  device: QEMU 7.2*\n  rule: ERROR-CLASS\n"
    b"  situation: write eio\n  consequence: tell nobody\n"
)
KNOWN = (
    b'- cases: [generic/127, "generic/43?"]\n  reason: it is tracked\n  when:\n'
    b"    fs: [ext4]\n    works: [xfs_io, -c, help falloc]\n- cases: ['a*']\n  reason: r\n"
)
SETTINGS = (
    b"suites:\n  fstests:\n    tree: ~/xfstests\nnotify:\n  mail:\n    to: [a@example.org]\n"
    b"    sender: lab@example.org\n    smtp: {host: h, port: 25, transport: none}\n"
    b"  webhook: {url: 'https://example.org'}\nworker: {load: 1.5, memory: 1GiB}\n"
)
CAUSES = b"- says: 'QEMU .* killed'\n  because: it is known\n- {says: b+, because: c}\n"
FAULTS = (
    b"- layer: flakey\n  action: dm-error\n  every: 20s\n  for: 2s\n"
    b"- disk: LABNVME0\n  at: write:100\n  error: eio\n"
)
LISTED = (
    b"generic/388 # hangs\n// why\n#if LINUX_VERSION_CODE < KERNEL_VERSION(6,9,0)\n"
    b"generic/645\n#endif\n-g dax\n"
)
OPERATIONS = b'{"request": {"do": "write", "at": 0, "length": 512, "fill": 3}, "answer": {}}\n'

MAIL = b"""\
From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001
From: A <a@example.org>
Date: Mon, 2 Feb 2026 10:00:00 +0000
Subject: [PATCH v2 %d/2] block: Change it
Message-ID: <%d@example.org>
Content-Type: text/plain; charset="utf-8"

Why.
---
 f.c | 2 +-

diff --git a/f.c b/f.c
index 1234567..89abcde 100644
--- a/f.c
+++ b/f.c
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
--
2.47.0

"""
MAILBOX = MAIL % (1, 1) + MAIL % (2, 2)


def placed(error: LabError) -> None:
    """A problem of a YAML file has its line, or says that the file cannot be read."""
    if isinstance(error, InvalidProfileError):
        for problem in error.problems:
            assert problem.line or "cannot be read" in problem.message


def in_file(path: Path, load: Callable[[Path], object]) -> Callable[[bytes], object]:
    """What takes the content of a file instead of its path."""

    def take(content: bytes) -> object:
        path.write_bytes(content)
        return load(path)

    return take


YAML: dict[str, tuple[Callable[[Path], object], list[bytes]]] = {
    "profile": (load_file, [path.read_bytes() for path in shipped()]),
    "plan": (plan.load, [PLAN]),
    "quirks": (quirks.load, [QUIRKS]),
    "known failures": (known.load, [KNOWN]),
    "explanations": (page.known, [CAUSES, (ROOT / "plans/matrix-known.yaml").read_bytes()]),
    "faults": (fault_plan.load, [FAULTS]),
    "workloads": (
        workloads.load,
        [workloads.CORPUS.read_bytes()[:6000].rpartition(b"  - name")[0]],
    ),
    "image": (image.load, [path.read_bytes() for path in (ROOT / "images").glob("*.yaml")]),
}


@pytest.mark.parametrize("kind", YAML)
def test_what_people_write_is_read_or_refused_with_its_place(kind: str, tmp_path: Path) -> None:
    load, right = YAML[kind]
    take = in_file(tmp_path / "given.yaml", load)
    for content in right:
        take(content)
    _, refused = endure(take, mutants(right), errors=(ProfileError, UsageError), speaks=placed)
    # What is never refused was never read.
    assert refused > INPUTS // 10


@pytest.mark.parametrize("kind", YAML)
def test_documents_with_other_values_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    load, right = YAML[kind]
    take = in_file(tmp_path / "given.yaml", load)

    def written(document: Any) -> object:
        # In C, where that is to be had: the other takes ten times what reading takes.
        text = yaml.dump(document, Dumper=DUMPER, allow_unicode=False, sort_keys=False)
        return take(text.encode())

    for seed, content in enumerate(right):
        share = max(INPUTS // 2 // len(right), 1)
        given = documents(yaml.safe_load(content), share, seed)
        endure(written, given, errors=(ProfileError, UsageError), speaks=placed)


def test_settings_are_read_or_refused_with_their_place() -> None:
    path = dirs.config(settings.FILE)
    path.parent.mkdir(parents=True)
    take = in_file(path, lambda _: settings.load())
    take(SETTINGS)
    _, refused = endure(take, mutants([SETTINGS]), errors=(ProfileError,), speaks=placed)
    assert refused > INPUTS // 10


def test_the_home_of_nobody_is_no_place_for_a_tree() -> None:
    path = dirs.config(settings.FILE)
    path.parent.mkdir(parents=True)
    path.write_text("suites:\n  fstests:\n    tree: ~nobody-is-called-that/xfstests\n")
    with pytest.raises(ProfileError, match=r":3: .*tree: .*~nobody-is-called-that/.* is relative"):
        settings.load()
    for resolve in (kernels.canonical, qemus.canonical):
        assert resolve("~nobody-is-called-that/linux") == "~nobody-is-called-that/linux"


def test_a_file_of_terabytes_is_in_no_workload(tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(
        "workloads:\n- name: large\n  steps:\n  - creat: a\n  - write: {path: a, length: 4T}\n"
    )
    with pytest.raises(ProfileError, match=r":5: .*4T: a file of a workload has 16M at most"):
        workloads.load(path)


def read_series(path: Path) -> None:
    """All that is made of a series before git gets it."""
    found = series.read_all([path])
    for mail in series.patches(found):
        mail.for_git()
        assert mail.files is not None
    assert [one.summary for one in found]
    series.digest([path])


def test_mailboxes_are_read_or_refused(tmp_path: Path) -> None:
    take = in_file(tmp_path / "given.mbox", read_series)
    take(MAILBOX)
    endure(take, mutants([MAILBOX, MAILBOX.replace(b"\n", b"\r\n")]), errors=(UsageError,))


@pytest.mark.parametrize(
    "line", [b"From 12:34 2001" + b"9" * 300_000, b"From " + b"12:34 " * 50_000, b"[" * 300_000]
)
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_as_long_as_a_file_takes_no_longer_than_others(
    tmp_path: Path, line: bytes, end: bytes
) -> None:
    take = in_file(tmp_path / "given.mbox", read_series)
    given = (line + end, MAILBOX + line + end, MAILBOX.replace(b"Subject: ", b"Subject: " + line))
    endure(take, iter(given), errors=(UsageError,))


def test_a_charset_that_can_be_no_name_is_that_of_no_mail(tmp_path: Path) -> None:
    mailbox = MAILBOX.replace(b'charset="utf-8', b'charset="u\0f-8')
    assert mailbox != MAILBOX
    (tmp_path / "given.mbox").write_bytes(mailbox)
    read_series(tmp_path / "given.mbox")


def test_packed_mailboxes_are_read_or_refused(tmp_path: Path) -> None:
    packed = [gzip.compress(MAILBOX), bz2.compress(MAILBOX), lzma.compress(MAILBOX)]
    take = in_file(tmp_path / "given.mbox", read_series)
    for content in packed:
        take(content)
    endure(take, mutants(packed), errors=(UsageError,))


def test_lists_of_quilt_are_read_or_refused(tmp_path: Path) -> None:
    for name in ("a.patch", "b.patch"):
        (tmp_path / name).write_bytes(MAIL % (1, 1))
    take = in_file(tmp_path / quilt.LIST, quilt.entries)
    right = b"a.patch\n# b\nb.patch -p2 # c\n"
    take(right)
    endure(take, mutants([right, b"a.patch -pab\n"]), errors=(UsageError,))


def test_lists_of_tests_are_read_or_refused(tmp_path: Path) -> None:
    def load(path: Path) -> object:
        return Lists("fstests", lambda word: "/" in word, (path,)).entries("6.8.0")

    take = in_file(tmp_path / "given.txt", load)
    take(LISTED)
    endure(take, mutants([LISTED]), errors=(UsageError,))


def test_a_list_with_a_condition_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "given.txt"
    path.write_text("generic/001\n#if// why\ngeneric/002\n#endif\n")
    with pytest.raises(UsageError, match=r"given.txt:2: #if has no condition"):
        Lists("fstests", lambda word: "/" in word, (path,)).entries("6.8.0")


def test_logs_of_operations_are_read_or_refused(tmp_path: Path) -> None:
    take = in_file(tmp_path / "operations.jsonl", fsx._log)
    endure(take, mutants([OPERATIONS]), errors=(UsageError,))


def packed(files: dict[str, bytes], path: Path) -> Path:
    """A bundle of these files."""
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def unpacked(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        found = {}
        for member in tar.getmembers():
            if file := tar.extractfile(member):
                found[member.name] = file.read()
        return found


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """What is in a bundle that is right, without the hole."""
    found = unpacked(made(recorded(), tmp_path / "right.tar.gz"))
    return {name: content for name, content in found.items() if len(content) < 1 << 20}


def test_bundles_are_read_or_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    plain = packed(files, tmp_path / "plain.tar").read_bytes()
    take = in_file(tmp_path / "given.tar", lambda path: case_in(path, "", None))
    target = tmp_path / "out"

    def both(content: bytes) -> object:
        (tmp_path / "given.tar").write_bytes(content)
        bundle.unpack(tmp_path / "given.tar", target)
        return take(content)

    right = [plain, (tmp_path / "right.tar.gz").read_bytes()]
    _, refused = endure(both, mutants(right, INPUTS // 2), errors=(LabError,))
    assert refused


@pytest.mark.parametrize("name", ["bundle.json", "run.json", "profile.json", "kernel.json"])
def test_bundles_with_other_values_are_read_or_refused(
    files: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    (whole,) = [path for path in files if path.endswith(f"/{name}")]

    def take(document: Any) -> object:
        changed = {**files, whole: json.dumps(document).encode()}
        path = packed(changed, tmp_path / "given.tar")
        return case_in(path, "2", None)

    endure(
        take, documents(json.loads(files[whole]), INPUTS // 2), errors=(UsageError, ProfileError)
    )


def test_failures_of_crash_states_are_read_or_refused() -> None:
    right = {
        "failures": [
            {
                "number": 1, "case": "xfs:copy-begin/fsync", "rules": ["DURABLE"],
                "operations": [1, 2],
                "loss": {"cut": 3, "lost": [1], "torn": [[2, 512]], "ahead": 0},
            }
        ]
    }  # fmt: skip

    def take(document: Any) -> object:
        return failure_of(PastRun(document, ""), "run", "1")

    take(right)
    given = (one for one in documents(right) if isinstance(one, dict))
    endure(take, given, errors=(UsageError,))


def test_recordings_of_copies_are_read_or_refused(tmp_path: Path) -> None:
    take = in_file(tmp_path / OPERATIONS_OF_COPIES, lambda path: CopyRecording.load(path.parent))
    right = json.dumps({"size": 4096, "operations": [], "marks": []}).encode()
    take(right)
    endure(take, mutants([right]), errors=(UsageError,))


def test_a_recording_of_a_disk_without_an_end_is_none(tmp_path: Path) -> None:
    (tmp_path / OPERATIONS_OF_COPIES).write_text('{"size": 1e999, "operations": [], "marks": []}')
    with pytest.raises(UsageError, match="no recording: cannot convert float infinity"):
        CopyRecording.load(tmp_path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_mailbox_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a.mbox"
    # What is packed in pieces is unpacked as one.
    path.write_bytes(pack(MAILBOX) + pack(bytes(1 << 20)) * (mails.LARGEST >> 20))
    with pytest.raises(UsageError, match="more than 32 MiB"):
        series.read(path)


@pytest.mark.parametrize("damage", [slice(10, None), slice(0, -4)])
def test_a_packed_mailbox_that_is_damaged_is_refused(tmp_path: Path, damage: slice) -> None:
    content = bytearray(gzip.compress(MAILBOX))
    content[20:24] = b"\xff" * 4
    path = tmp_path / "a.mbox"
    path.write_bytes(gzip.compress(MAILBOX)[:10] + bytes(content)[damage])
    with pytest.raises(UsageError, match="damaged"):
        series.read(path)


def test_a_patch_of_billions_is_not_counted_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox"
    path.write_bytes((MAIL % (1, 1)).replace(b"1/2]", b"1/9999999999]"))
    (found,) = series.read_all([path])
    assert [mail.total for mail in found.patches] == [0]


@pytest.mark.parametrize(
    "text",
    [
        "- cases: [2026-13-45]\n",
        "- " * 200 + "a\n",
        "a: &a [*a]\n",
        "- {cases: [a], reason: \udcff}\n",
    ],
)
def test_what_yaml_makes_more_than_text_of_is_refused_with_its_line(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "given.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    for load in (known.load, quirks.load, page.known, fault_plan.load):
        with pytest.raises(ProfileError, match=r"given\.yaml:1: "):
            load(path)


def test_a_list_of_quilt_may_name_what_no_file_can_be_called(tmp_path: Path) -> None:
    (tmp_path / quilt.LIST).write_text("x" * 300 + "\n")
    with pytest.raises(UsageError, match="series:1: no file"):
        quilt.entries(tmp_path / quilt.LIST)


def test_a_bundle_nested_too_deep_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    (name,) = [path for path in files if path.endswith("/run.json")]
    deep = b"[" * 100_000
    with pytest.raises(UsageError, match="nested too deep"):
        bundle.read(packed({**files, name: deep}, tmp_path / "given.tar"))


def test_a_bundle_cannot_lead_out_of_its_run(tmp_path: Path) -> None:
    one = {
        "number": 1,
        "rules": [],
        "operations": [],
        "loss": {"cut": 0, "lost": [], "torn": [], "ahead": 0},
    }
    for case in ("xfs:../../x", "../..:x", "xfs:/etc", "xfs:a\0"):
        with pytest.raises(UsageError, match="no case is called"):
            failure_of(PastRun({"failures": [{**one, "case": case}]}, ""), "run", "1")
