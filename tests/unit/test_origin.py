# SPDX-License-Identifier: GPL-2.0-or-later
"""Labs that share a state directory, and not the numbers of their processes: a container and its
host, or two hosts with one home.  None takes what is another's for left behind."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.cli.guest import down as lab_down
from lab.cli.guest import list_guests
from lab.errors import HostError, UsageError
from lab.guest import guests, registry
from lab.host import dirs, scratch
from lab.host.command import run
from lab.host.origin import ProcessOrigin, here
from lab.host.process import Process, me
from tests import ROOT
from tests.unit.builders import gone, idle, profile, quiet, record

OTHER_HOST = replace(here(), host="other", machine="0" * 32, boot="1" * 8)
CONTAINER = replace(here(), host="other", namespace=1)
NO_MACHINE = replace(here(), host="other", machine="", boot="1" * 8)
EARLIER = replace(here(), machine="f" * 32, boot="1" * 8)
"""An earlier boot of a host whose machine id is all f."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine id, which not every host of the tests has."""
    now = replace(here(), machine="f" * 32)
    monkeypatch.setattr("lab.host.process.here", lambda: now)


@pytest.fixture
def qemu() -> Iterator[Process]:
    """A process that stands for a QEMU."""
    with idle() as process:
        yield process


def at(origin: ProcessOrigin | None, process: Process) -> Process:
    return replace(process, origin=origin)


def made(name: str, qemu: Process, owner: Process | None = None) -> None:
    registry.directory(name).mkdir()
    registry.write(registry.directory(name), record(name, qemu, owner))


@pytest.mark.parametrize("origin", [OTHER_HOST, CONTAINER, NO_MACHINE])
def test_what_is_foreign_is_not_taken_for_dead_and_not_killed(
    origin: ProcessOrigin, machine: None, qemu: Process
) -> None:
    foreign = at(origin, gone())
    assert foreign.foreign()
    assert foreign.alive()
    with pytest.raises(HostError, match="is of another host, other"):
        at(origin, qemu).kill()
    with pytest.raises(HostError, match="is of another host, other"):
        at(origin, qemu).kill_group()
    assert qemu.alive()


def test_of_an_earlier_boot_nothing_is_alive(machine: None, qemu: Process) -> None:
    past = at(EARLIER, qemu)
    assert not past.foreign()
    assert not past.alive()
    past.kill()
    assert qemu.alive()


def test_what_an_older_lab_wrote_is_of_here(qemu: Process) -> None:
    assert at(None, qemu).alive()
    assert not at(None, gone()).alive()


@pytest.mark.parametrize("origin", [OTHER_HOST, CONTAINER])
def test_a_guest_of_another_host_stays(
    origin: ProcessOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    made("of-run", at(origin, gone()), at(origin, gone()))
    made("up", at(origin, gone()))
    assert registry.left_behind() == []
    assert registry.sweep() == []
    assert not registry.died(registry.directory("up"))
    for action in (guests.attach, guests.down):
        with pytest.raises(UsageError, match="guest up is of another host, other"):
            action("up")
    with pytest.raises(UsageError, match="is of another host"):
        guests.start("up", profile(), quiet, owner=me())
    lab_down(all_guests=True)
    list_guests()
    assert "elsewhere: other" in capsys.readouterr().out
    assert len(list(dirs.state("guests").iterdir())) == 2


def test_after_a_reboot_of_this_host_guests_of_runs_are_swept(machine: None, qemu: Process) -> None:
    made("of-run", at(EARLIER, qemu), at(EARLIER, me()))
    made("up", at(EARLIER, qemu))
    assert registry.sweep() == ["of-run"]
    assert registry.died(registry.directory("up"))


def test_where_a_process_is_stands_in_its_record(qemu: Process) -> None:
    made("g", qemu, me())
    found = registry.find("g")
    assert found.qemu.origin == found.owner.origin == here()  # type: ignore[union-attr]
    assert found.host == os.uname().nodename


NAMESPACE = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"]
SWEEP = """
from lab.guest import registry
from lab.host import scratch

scratch.sweep()
print(registry.sweep())
"""


def test_a_lab_in_a_container_sweeps_nothing_of_its_host(qemu: Process) -> None:
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no pid namespace here")
    made("of-run", qemu, me())
    with scratch.scratch() as place:
        assert run([*NAMESPACE, sys.executable, "-c", SWEEP], deadline=60, cwd=ROOT) == "[]\n"
        assert place.exists()
    assert registry.directory("of-run").exists()


def test_a_host_without_a_machine_id_is_known_by_its_name() -> None:
    earlier = replace(here(), host="here", machine="", boot="1" * 8)
    now = replace(here(), host="here", machine="")
    assert earlier.before(now)
    assert not replace(earlier, host="there").seen_from(now)
    assert not replace(earlier, machine="0" * 32).seen_from(now)


def test_scratch_directories_of_other_hosts_stay_for_a_week() -> None:
    mine, now = gone(), here()
    names = [
        f"{mine.pid}-{mine.started}-{machine}.{boot}.{namespace}.x"
        for machine, boot, namespace in (
            (now.machine, now.boot, now.namespace),
            (now.machine, now.boot, 1),
            ("0" * 32, "1" * 8, now.namespace),
        )
    ]
    for name in names:
        dirs.state("scratch", name)
    scratch.sweep()
    assert sorted(path.name for path in dirs.state("scratch").iterdir()) == sorted(names[1:])
    long_ago = time.time() - 8 * 24 * 3600
    os.utime(dirs.state("scratch", names[1]), (long_ago, long_ago))
    os.utime(dirs.state("scratch", f"{me().pid}-{me().started}-x"), (long_ago, long_ago))
    scratch.sweep()
    left = sorted(path.name for path in dirs.state("scratch").iterdir())
    assert left == sorted([names[2], f"{me().pid}-{me().started}-x"])
