# SPDX-License-Identifier: GPL-2.0-or-later
"""Bundles: what is in one, what must not be in one, and what a host may lack to replay it."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import UsageError
from lab.profile.models import Peer, Profile
from lab.results.bundle import pack, read
from lab.results.run import KERNEL, PROFILE, TIMELINE, Run
from lab.suites.copy_faults.bundle import bundle_named, case_in, make_bundle
from lab.suites.copy_faults.report import JudgedCase
from tests.unit.suites.copy_faults.test_replay import CUT, EIO, MACHINE, report, result
from tests.unit.test_cases_cli import lab

SOURCE = {"name": "offload", "key": "0" * 16, "release": "6.12.0-lab", "source": "~/linux + a.mbox"}
LOG = "write-log-000"
HOLE = 64 << 20


def recorded(machine: Profile = MACHINE, *cases: JudgedCase) -> Run:
    """A run with two cases, of which the second failed."""
    cases = cases or (JudgedCase(1, CUT, result(CUT)), JudgedCase(2, EIO, result(EIO, "SOURCE")))
    with Run("p", "copy-faults") as run:
        run.write(PROFILE, machine.model_dump_json(by_alias=True))
        run.write(KERNEL, json.dumps(SOURCE))
        run.emit("kernel", "message", level=3, text="I/O error")
        run.save("console.log", b"lab: ready\n")
        with (run.directory / LOG).open("wb") as log:
            log.write(b"x" * 4096)
            os.truncate(log.fileno(), HOLE)
        run.finish(report(run, *cases).document())
    return run


def on_debian(**changes: Any) -> Profile:
    return MACHINE.model_copy(update=changes)


def made(run: Run, target: Path, wanted: str = "") -> Path:
    make_bundle(run.id, wanted, target)
    return target


def test_a_bundle_has_the_evidence_and_what_it_takes_to_do_it_again(tmp_path: Path) -> None:
    run = recorded()
    for name in ("001.elf.zst", "001.json", "001.txt"):
        # Of a guest's memory what was found in it, and not what else was there.
        run.save(f"dumps/{name}", b"1")
    lacking = make_bundle(run.id, "", tmp_path / "b.tar.gz")
    assert lacking == ["kernel.config: the kernel is not built any more"]
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar.gz"]
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        names = {member.name.removeprefix(f"lab-{run.id}") for member in tar}
        log = tar.extractfile(f"lab-{run.id}/kernel.log")
        write_log = tar.getmember(f"lab-{run.id}/{LOG}")
        assert log and log.read().decode().endswith("I/O error\n")
        assert write_log.issparse() and write_log.size == HOLE
    assert names == {
        "", *(f"/{name}" for name in (
            "bundle.json", "console.log", "kernel.json", "kernel.log", PROFILE, "run.json",
            TIMELINE, LOG, "dumps", "dumps/001.json", "dumps/001.txt",
        )),
    }  # fmt: skip
    # The hole takes no room.
    assert (tmp_path / "b.tar.gz").stat().st_size < 20_000
    about = read(tmp_path / "b.tar.gz").about
    assert (about.run, about.case, about.suite) == (run.id, "2", "copy-faults")
    assert about.kernel == SOURCE
    assert about.plan and (about.plan["point"], about.plan["action"]) == ("write:2", "eio")


def test_the_case_that_failed_is_found_where_the_run_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorded()
    path = made(run, tmp_path / "b.tar.gz")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert bundle_named(str(path)) == (path, "")
    found = case_in(path, "", None)
    assert (found.id, found.setup, found.profile) == (f"{run.id}:2", EIO, MACHINE)
    assert str(found.outcome) == "violated SOURCE"
    # Any other case is in it too.
    assert bundle_named(f"{path}:flushed,power-cut") == (path, "flushed,power-cut")
    assert case_in(path, "flushed,power-cut", None).setup == CUT
    on_sid = case_in(path, "", "debian-sid")
    assert on_sid.profile == on_debian(kernel="debian-sid")


def test_no_case_is_guessed(tmp_path: Path) -> None:
    run = recorded(
        MACHINE,
        JudgedCase(1, EIO, result(EIO, "PREFIX")),
        JudgedCase(2, CUT, result(CUT, "SOURCE")),
    )
    path = made(run, tmp_path / "b.tar.gz")
    with pytest.raises(UsageError, match=r"which case\? it has 2.*1, 2"):
        case_in(path, "", None)
    assert case_in(made(run, tmp_path / "c.tar.gz", "write:2,eio"), "", None).setup == EIO
    with pytest.raises(UsageError, match="has no case 7"):
        made(run, tmp_path / "d.tar.gz", "7")
    assert not (tmp_path / "d.tar.gz").exists()


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    namespace = {"size": 2**26, "medium": "/srv/media/prepared.raw"}
    machine = Profile.model_validate(
        {
            "name": "p",
            "description": "for a test",
            "kernel": "offload",
            "image": "mine",
            "devices": (
                {"type": "nvme", "serial": "S", "namespaces": (namespace,)},
                {"type": "host-block", "serial": "H", "overwrite": "H", "path": "/dev/sdb"},
            ),
        }
    )
    path = made(recorded(machine), tmp_path / "b.tar.gz")
    with pytest.raises(UsageError) as caught:
        case_in(path, "", None)
    said = str(caught.value)
    for words in (
        "no kernel offload; it was 6.12.0-lab, of ~/linux + a.mbox", "lab kernel add offload",
        "no image mine", "device H was a device of the host",
        "no prepared medium /srv/media/prepared.raw for S",
    ):  # fmt: skip
        assert words in said
    with pytest.raises(UsageError) as caught:
        case_in(path, "", "debian")
    assert "no kernel" not in str(caught.value)
    with pytest.raises(UsageError, match="no kernel nope"):
        case_in(path, "", "nope")


PROGRAM = "/usr/bin/true"


def in_qemu(name: str) -> Profile:
    return on_debian(machine=MACHINE.machine.model_copy(update={"qemu": name}))


def test_a_bundle_has_no_program_of_the_host_run(tmp_path: Path) -> None:
    path = made(recorded(in_qemu(PROGRAM)), tmp_path / "b.tar.gz")
    with pytest.raises(UsageError, match=f"QEMU {PROGRAM} is a place on the host that it was"):
        case_in(path, "", None)
    # What the user names instead is the user's, wherever it lies.
    assert case_in(path, "", None, "host").profile == MACHINE
    assert case_in(path, "", None, PROGRAM).profile.machine.qemu == PROGRAM
    plain = tmp_path / "no-program.txt"
    plain.write_text("")
    for name in (str(plain), f"{tmp_path}/nothing-there", "~/qemu", "./qemu"):
        path = made(recorded(in_qemu(name)), tmp_path / "c.tar.gz")
        with pytest.raises(UsageError, match="is a place on the host"):
            case_in(path, "", None)


def test_what_is_called_like_a_package_and_lies_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = made(recorded(in_qemu("qemu-system-x86/sid")), tmp_path / "b.tar.gz")
    assert case_in(path, "", None).profile.machine.qemu == "qemu-system-x86/sid"
    (tmp_path / "qemu-system-x86" / "sid").mkdir(parents=True)
    with pytest.raises(UsageError, match="is a place on the host"):
        case_in(path, "", None)


@pytest.mark.parametrize("suffix", ["", "@HEAD", "+gcov:block"])
def test_a_bundle_has_no_tree_of_the_host_built(tmp_path: Path, suffix: str) -> None:
    tree = tmp_path / "linux"
    (tree / ".git").mkdir(parents=True)
    path = made(recorded(on_debian(kernel=f"{tree}{suffix}")), tmp_path / "b.tar.gz")
    with pytest.raises(UsageError, match=r"kernel .*linux.* is a place on the host"):
        case_in(path, "", None)
    assert case_in(path, "", "debian").profile == MACHINE
    own = f"{tree}@HEAD"
    assert case_in(path, "", own).profile.kernel == own


def test_a_peer_in_a_bundle_may_have_no_more(tmp_path: Path) -> None:
    medium = tmp_path / "prepared.raw"
    medium.write_bytes(b"")
    peer = Peer.model_validate(
        {
            "kernel": f"{tmp_path}@HEAD",
            "machine": {"qemu": PROGRAM},
            "devices": (
                {"type": "host-block", "serial": "H", "overwrite": "H", "path": "/dev/sdb"},
                {"type": "virtio-blk", "serial": "V", "size": 2**26, "medium": str(medium)},
            ),
        }
    )
    path = made(recorded(on_debian(peer=peer)), tmp_path / "b.tar.gz")
    with pytest.raises(UsageError) as caught:
        # Of the peer they say nothing.
        case_in(path, "", "debian", "host")
    said = str(caught.value)
    for words in (
        f"kernel {tmp_path}@HEAD is a place on the host", f"QEMU {PROGRAM} is a place on the host",
        "device H was a device of the host", f"no prepared medium {medium} for V",
    ):  # fmt: skip
        assert words in said


def rewritten(path: Path, target: Path, *more: tarfile.TarInfo, without: str = "") -> Path:
    """The bundle with other members in it, or without one."""
    with tarfile.open(path) as old, tarfile.open(target, "w") as new:
        for member in old:
            if not without or not member.name.endswith(without):
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for member in more:
            new.addfile(member, io.BytesIO(b"x" * member.size))
    return target


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    "member",
    [
        entry("/etc/passwd"),
        entry("../x"),
        entry("lab-x/../../x"),
        entry("lab-x/..", tarfile.DIRTYPE),
        entry("elsewhere/x"),
        entry("lab-x/link", tarfile.SYMTYPE, "/etc"),
        entry("lab-x/link", tarfile.LNKTYPE, "run.json"),
        entry("lab-x/null", tarfile.CHRTYPE),
        entry("lab-x/pipe", tarfile.FIFOTYPE),
        entry("lab-x/run.json"),
        entry("lab-x/" + "d/" * 400 + "x"),
        entry("/"),
        entry("."),
    ],
)
def test_what_has_no_place_in_a_bundle_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    good = made(recorded(), tmp_path / "b.tar.gz")
    bad = rewritten(good, tmp_path / "bad.tar", member)
    with pytest.raises(UsageError, match="has no place in one"):
        read(bad)


@pytest.mark.parametrize("name", ["bundle.json", "run.json", "profile.json"])
def test_half_a_bundle_is_none(tmp_path: Path, name: str) -> None:
    good = made(recorded(), tmp_path / "b.tar.gz")
    with pytest.raises(UsageError, match=f"{name} is missing"):
        read(rewritten(good, tmp_path / "bad.tar", without=name))


@given(cut=st.integers(0, 3000), junk=st.binary(max_size=40))
def test_a_damaged_bundle_never_ends_in_a_traceback(
    cut: int, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("damaged")
    content = made(recorded(), place / "b.tar.gz").read_bytes()
    damaged = place / "damaged.tar.gz"
    damaged.write_bytes(content[:cut] + junk + content[cut + len(junk) + 1 :])
    try:
        read(damaged)
    except UsageError as error:
        assert str(damaged) in str(error)


def test_a_later_format_is_told(tmp_path: Path) -> None:
    run = recorded()
    about = read(made(run, tmp_path / "b.tar.gz")).about
    more = tmp_path / "more"
    more.mkdir()
    later = about.model_copy(update={"format": 2})
    pack(run.directory, later, more, tmp_path / "later.tar.gz")
    with pytest.raises(UsageError, match="did a later lab write it"):
        read(tmp_path / "later.tar.gz")


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded()
    monkeypatch.chdir(tmp_path)
    assert lab(monkeypatch, "results", "bundle", run.id) == 0
    assert capsys.readouterr().out.startswith(f"lab-{run.id}.tar.gz 0.0 MB")
    assert lab(monkeypatch, "results", "bundle", run.id, "no/such/place.tar.gz") == 3
    assert "tar: " in capsys.readouterr().err
    for words, said in (
        (["nothing.tar.gz"], "no such file"),
        ([f"lab-{run.id}.tar.gz:9"], "has no case 9"),
        ([f"lab-{run.id}.tar.gz", "--kernel", "nope"], "no kernel nope"),
    ):
        assert lab(monkeypatch, "replay", *words) == 2
        assert said in capsys.readouterr().err
    with Run("p", "conformance") as whole:
        whole.write(PROFILE, "{}")
        whole.finish({"suite": "conformance", "paths": [{"run": run.id}], "cases": []})
    assert lab(monkeypatch, "results", "bundle", whole.id) == 2
    assert f"is made of others: {run.id}" in capsys.readouterr().err
