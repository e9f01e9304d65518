# SPDX-License-Identifier: GPL-2.0-or-later
"""`import lab` on real guests: what docs/python.md promises."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import lab
from lab.face import connection
from lab.guest import keys, registry
from tests.boot.conftest import Lab, of_moments, wait_for

COPY = "nvme-copy --serial LABNVME0 --to 4096 0+64 128+64"


@pytest.fixture
def here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has the state directory of the session's lab."""
    monkeypatch.setenv("XDG_STATE_HOME", str(lab.state))


@pytest.fixture
def attached(here: None, guest: str) -> Iterator[lab.GuestHandle]:
    """The shared guest, as a program has it."""
    with lab.attach(guest) as found:
        yield found
    assert found.alive()


def test_a_command_is_run_and_judged_by_its_status(attached: lab.GuestHandle) -> None:
    assert attached.run(["uname", "-r"]).stdout == f"{attached.kernel}\n"
    assert attached.run(["printf", "%s|", "a b", "$HOME"]).stdout == "a b|$HOME|"
    assert attached.run(["cat"], stdin=b"said").stdout == "said"
    assert attached.run(["sh", "-c", "exit 7"], check=False).status == 7
    with pytest.raises(lab.GuestError, match="exit status 7 in the guest: sh -c 'exit 7'"):
        attached.run(["sh", "-c", "exit 7"])
    with pytest.raises(lab.GuestError, match="no end within its deadline in the guest: sleep 60"):
        attached.run(["sleep", "60"], deadline=0.5)
    for wrong in ("uname -r", [], ["echo", 3], ["echo", "a\0b"]):
        with pytest.raises(lab.UsageError, match="a command is a list of words"):
            attached.run(wrong)  # type: ignore[arg-type]
    assert "lab: ready" in attached.console()


def test_a_connection_that_the_guest_has_closed_is_made_anew(attached: lab.GuestHandle) -> None:
    more_than_ssh_takes = ["echo", "x" * 300_000]
    with pytest.raises(lab.GuestError, match="cannot start echo x"):
        attached.run(more_than_ssh_takes)
    assert attached.run(["echo", "again"]).stdout == "again\n"


def test_what_the_kernel_says_meanwhile_is_told(attached: lab.GuestHandle) -> None:
    log = attached.kernel_log()
    attached.run(["sh", "-c", "echo during >/dev/kmsg"])
    assert log.read() == ["during"]
    attached.run(["sh", "-c", "echo after >/dev/kmsg"])
    assert log.read() == ["after"]


def test_its_connection_is_fabrics(attached: lab.GuestHandle, tmp_path: Path) -> None:
    sent, back = tmp_path / "local.c", tmp_path / "back.c"
    sent.write_text("int main(void) { return 0; }\n")
    attached.connection.put(sent, "/tmp/")
    attached.connection.get("/tmp/local.c", str(back))
    assert back.read_text() == sent.read_text()
    run = attached.connection.run
    assert run("readlink /proc/self/fd/0; tty", hide=True, warn=True).stdout.endswith("not a tty\n")
    assert attached.connection.sudo("id -un", hide=True).stdout == "root\n"
    asked = attached.connection.sudo("id -un; echo $0", user="nobody", hide=True)
    assert asked.stdout == "nobody\nsh\n"
    attached.run(["rm", "/tmp/local.c"])


def test_its_tunnels_reach_the_guest(attached: lab.GuestHandle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # fabric listens in a thread of its own, which may only have begun.
    with (
        attached.connection.forward_local(port, 22),
        wait_for(lambda: connected(port), "the tunnel") as way,
    ):
        assert way.recv(4096).startswith(b"SSH-2.0-")


def connected(port: int) -> socket.socket | None:
    """A connection to a port of this host, if somebody listens there."""
    try:
        return socket.create_connection(("127.0.0.1", port), 60)
    except ConnectionRefusedError:
        return None


def test_threads_share_it(attached: lab.GuestHandle) -> None:
    def said(number: int) -> tuple[str, str]:
        command = f"sleep 0.1; echo {number}"
        return (
            attached.connection.run(command, hide=True).stdout.strip(),
            attached.run(["echo", str(number)]).stdout.strip(),
        )

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(said, range(8))) == [(str(n), str(n)) for n in range(8)]


def test_nothing_of_the_users_is_read(
    attached: lab.GuestHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host *\n  User nobody\n  Port 9\n  ForwardAgent yes\n")
    (tmp_path / ".ssh/known_hosts").write_text("not even a line of known_hosts\n")
    (tmp_path / ".fabric.yaml").write_text("user: nobody\nrun: {pty: true}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        agent.setblocking(False)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        with attached.connect() as own:
            assert own.run("id -un; tty", hide=True, warn=True).stdout == "root\nnot a tty\n"
        with pytest.raises(BlockingIOError):
            agent.accept()


def test_who_shows_another_host_key_is_not_spoken_to(
    attached: lab.GuestHandle, tmp_path: Path
) -> None:
    ours = keys.of(attached.directory)
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    port = attached.connection.port
    with pytest.raises(lab.GuestError, match=r"Host key for server .* does not match"):
        connection.connect(port, replace(ours, host=other))


def test_a_held_request_fails_as_chosen(attached: lab.GuestHandle) -> None:
    with attached.hold("write:2") as held:
        held.fail("eio")
        copy = attached.connection.run(COPY, hide=True, asynchronous=True)
        held.wait()
        status = held.status()
        assert (status.state, status.point, status.error) == ("held", "write:2", "EIO")
    completion = json.loads(copy.join().stdout)
    assert completion["status"] != 0
    assert completion["dw0"] == 1


def test_a_held_request_goes_on_whatever_happens(attached: lab.GuestHandle) -> None:
    with pytest.raises(ZeroDivisionError), attached.hold("read:1") as held:
        copy = attached.connection.run(COPY, hide=True, asynchronous=True)
        held.wait()
        held.step()
        assert held.status().point == "write:1"
        raise ZeroDivisionError
    assert json.loads(copy.join().stdout)["status"] == 0
    with attached.hold("write:1") as held:
        with pytest.raises(lab.UsageError, match="is armed already"), attached.hold("read:1"):
            pass
        with pytest.raises(lab.GuestError, match="nothing came to write:1 of LABNVME0:1 within"):
            held.wait(0.2)
        assert held.release() == []
    with (
        pytest.raises(lab.UsageError, match="no emulated disk SDA"),
        attached.hold("read:1", disk="SDA"),
    ):
        pass


def test_a_suite_runs_on_it(attached: lab.GuestHandle) -> None:
    events = []
    outcome = lab.run(
        "nvme-copy", "copy-faults", points=["write:2"], actions=["torn"], on=attached,
        on_event=lambda source, event, _data: events.append((source, event)),
    )  # fmt: skip
    assert outcome.holds, outcome.cases
    assert [case.name for case in outcome.cases] == ["rehearsal", "write:2 torn"]
    assert outcome.document()["run"] == outcome.run == outcome.directory.name
    assert ("stepper", "held") in events
    assert len(events) == len((outcome.directory / "timeline.jsonl").read_text().splitlines())


def test_a_run_that_boots_it_again_leaves_it_usable(attached: lab.GuestHandle) -> None:
    assert attached.connection.is_connected
    before = attached.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    lab.run("nvme-copy", "copy-faults", points=["write:1"], actions=["kill"], on=attached)
    assert attached.alive()
    assert attached.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout != before
    assert attached.connection.run("true").ok


def test_what_is_violated_is_an_outcome_and_says_why(attached: lab.GuestHandle) -> None:
    outcome = lab.run(
        "nvme-copy", "copy-faults", points=["write:1"], actions=["resume"], plant="flip-bit",
        on=attached,
    )  # fmt: skip
    assert not outcome.holds
    broken = [case for case in outcome.cases if case.unexpected]
    assert broken
    assert all("NO-FOREIGN" in case.reason for case in broken)


def test_a_guest_is_only_run_on_as_what_it_is(attached: lab.GuestHandle) -> None:
    with pytest.raises(
        lab.UsageError, match="another profile than nvme-copy as copy-faults boots it"
    ):
        lab.run("nvme-copy", "copy-faults", set=["machine.memory=2G"], on=attached)


OWN = """
import lab, sys
with lab.guest("nvme-copy", set=["machine.memory=768M"]) as guest:
    print(guest.name, guest.run(["nproc"]).stdout.strip(), *guest.directory.iterdir(), flush=True)
    sys.stdin.read()
print("down", guest.directory.exists(), flush=True)
"""


def test_a_guest_belongs_to_its_program(lab: Lab) -> None:
    """One that ends in order takes it down; one that is killed leaves it to the next command."""
    before = lab.leftovers()
    program = subprocess.Popen(
        [sys.executable, "-c", OWN], env=lab.env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert program.stdin and program.stdout
    name, cpus, *files = program.stdout.readline().split()
    assert name.startswith(f"nvme-copy-{program.pid}.")
    assert cpus == "2" and files
    assert lab.ls()[name]["state"] == "in a run"
    assert lab("ssh", name, "--", "grep -o MemTotal /proc/meminfo").stdout == "MemTotal\n"
    program.kill()
    program.wait()
    assert f"{name}: left behind by a lab that was killed; removed" in lab("ls").stderr
    assert lab.leftovers() == before


def test_what_a_supervisor_runs_for_a_moment_is_not_left_over(
    lab: Lab, attached: lab.GuestHandle
) -> None:
    """Else a test would fail that compares what there is at two moments."""

    def sleeps(process: Path) -> bool:
        try:
            said = (process / "cmdline").read_bytes()
            return said == b"sleep\0005\0" and (process / "cwd").readlink() == attached.directory
        except OSError:
            return False

    def found() -> list[bool]:
        return [of_moments(each) for each in filter(sleeps, Path("/proc").glob("[0-9]*"))]

    assert wait_for(found, "the sleep between two looks at the logs") == [True]
    assert "sleep 5 " not in lab.leftovers()
    assert any("qemu-system" in each for each in lab.leftovers())


def test_a_guest_that_has_died_or_was_taken_down_says_so(here: None) -> None:
    with lab.guest("nvme-copy") as guest:
        record = registry.read(guest.directory)
        assert record
        os.kill(record.qemu.pid, signal.SIGKILL)
        with pytest.raises(lab.HostError, match="was killed by signal 9"):
            guest.run(["true"])
        with pytest.raises(lab.HostError, match="was killed by signal 9"), guest.hold("write:1"):
            pass
        guest.down()
        assert not guest.alive()
        for use in (
            lambda: guest.run(["true"]), guest.connect, lambda: guest.connection,
            lambda: guest.hold("write:1").__enter__(), guest.kernel_log, guest.console, guest.keep,
        ):  # fmt: skip
            with pytest.raises(lab.UsageError, match=f"guest {guest.name} was taken down"):
                use()
