# SPDX-License-Identifier: GPL-2.0-or-later
"""The sandbox in which kernels are built: what a Makefile that came with a patch cannot do."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.artifacts.kernels import make
from lab.errors import HostError
from lab.host import confine
from lab.host.command import run
from tests.unit.builders import quiet

needs_sandbox = pytest.mark.skipif(bool(confine.why_not()), reason=confine.why_not())


@pytest.fixture(autouse=True)
def tried_anew() -> Iterator[None]:
    yield
    confine.why_not.cache_clear()


def inside(script: str, *writable: Path) -> str:
    return run(confine.confined(["sh", "-c", script], writable), deadline=60)


@needs_sandbox
def test_only_what_is_named_can_be_written(tmp_path: Path, home: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    inside(f"echo x >{own}/file", own)
    assert (own / "file").read_text() == "x\n"
    for place in (other, home, Path("/etc"), Path("/var/tmp")):
        with pytest.raises(HostError):
            inside(f"echo x >{place}/lab-sandbox-test", own)
        assert not (place / "lab-sandbox-test").exists()
    # What it writes for itself is gone with it.
    inside("echo x >/tmp/lab-sandbox-test", own)
    assert not Path("/tmp/lab-sandbox-test").exists()


@needs_sandbox
def test_there_is_no_network_not_even_the_hosts_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(HostError):
            run(
                confine.confined(["bash", "-c", f"echo x >/dev/tcp/127.0.0.1/{port}"], []),
                deadline=60,
            )
    assert inside("cat /proc/net/dev | grep -c :").strip() == "1"


@needs_sandbox
def test_there_is_no_capability_and_no_process_of_others() -> None:
    said = inside("grep CapEff /proc/self/status; ls -d /proc/[0-9]* | wc -l")
    capabilities, processes = said.splitlines()
    assert int(capabilities.split()[1], 16) == 0
    assert int(processes) < 10


@needs_sandbox
def test_a_makefile_of_a_patch_reaches_nothing_but_its_build(tmp_path: Path) -> None:
    tree, out, victim = tmp_path / "tree", tmp_path / "out", tmp_path / "victim"
    tree.mkdir()
    out.mkdir()
    victim.write_text("mine\n")
    (tree / "Makefile").write_text(
        f"vmlinux modules:\n\t-echo evil >{victim}\n\techo built >$(O)/built\n"
    )
    make.build(tree, out, "", quiet)
    assert (out / "built").read_text() == "built\n"
    assert victim.read_text() == "mine\n"


def test_a_host_without_one_builds_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    confine.why_not.cache_clear()
    monkeypatch.setattr(confine, "PROGRAM", "no-such-program")
    assert confine.confined(["make"], [tmp_path]) == ["make"]
    (tmp_path / "Makefile").write_text("vmlinux modules:\n\techo built >$(O)/built\n")
    said: list[str] = []
    make.build(tmp_path, tmp_path, "", said.append)
    assert said == ["compile, outside of a sandbox: no-such-program: not found"]
    assert (tmp_path / "built").exists()
