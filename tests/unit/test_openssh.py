# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys and the options for plain ssh: asked of ssh itself."""

import re
import subprocess
from pathlib import Path

import pytest

from lab.guest import keys, registry
from lab.guest.openssh import all_guests, keep, options, stanza
from lab.guest.registry import Record
from lab.host.process import me
from tests.unit.builders import python, record, said


@pytest.fixture(params=["plain", "with space", "100%h"])
def state(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory whose path means something to ssh."""
    path = tmp_path / str(request.param)
    monkeypatch.setenv("XDG_STATE_HOME", str(path))
    return path


def guest() -> Record:
    """A guest on port 2222."""
    return record("my-guest", me())


def place(name: str = "my-guest") -> Path:
    """The directory of a guest, which is there."""
    path = registry.directory(name)
    path.mkdir(exist_ok=True)
    return path


def asked(*argv: str | Path) -> dict[str, str]:
    """What ssh makes of its arguments: keyword (in lower case) → value."""
    done = subprocess.run(["ssh", "-G", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


def check(state: Path, *argv: str | Path) -> None:
    """ssh with these arguments reaches the guest, with the lab's keys and no prompt."""
    found = asked(*argv, "my-guest")
    assert (found["hostname"], found["port"], found["user"]) == ("127.0.0.1", "2222", "root")
    assert found["stricthostkeychecking"] in ("true", "yes")
    assert found["hostkeyalias"] == "my-guest"
    assert found["identitiesonly"] == "yes"
    assert found["userknownhostsfile"] == str(state / "lab/guests/my-guest/known_hosts")
    # -G shows this path before its expansion: start ssh, which says what it opens (-v).
    trial = ["ssh", "-v", *argv, "-o", "ProxyCommand=false", "my-guest"]
    done = subprocess.run(
        trial, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    opened = re.findall(r"identity file (.*) type (-?\d+)", done.stderr)
    assert [path for path, kind in opened if kind != "-1"] == [str(state / "lab/ssh/id_ed25519")]


def test_ssh_takes_the_options_as_they_are_meant(state: Path) -> None:
    check(state, *options(guest()))


def test_ssh_takes_the_configuration_as_it_is_meant(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(stanza(guest()) + stanza(record("other", me())))
    check(state, "-F", config)


def test_no_configuration_of_the_user_is_read() -> None:
    # ssh looks it up in the password database, not in HOME, so it cannot be shown one here.
    assert options(guest())[:2] == ["-F", "none"]


def test_ssh_finds_the_guests_host_key_under_its_name(state: Path) -> None:
    found = keys.ensure(place())
    public = found.host.with_suffix(".pub").read_text().split()
    done = subprocess.run(
        ["ssh-keygen", "-F", "my-guest", "-f", found.known_hosts],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1].split() == ["my-guest", *public[:2]]


def test_private_keys_are_for_the_user_alone_and_have_no_passphrase() -> None:
    found = keys.ensure(place())
    for private in (found.client, found.host):
        assert private.stat().st_mode & 0o077 == 0
        shown = subprocess.run(
            ["ssh-keygen", "-y", "-P", "", "-f", private],
            capture_output=True,
            text=True,
            check=True,
        )
        public = private.with_suffix(".pub").read_text()
        assert shown.stdout.split()[:2] == public.split()[:2]


def contents(name: str = "my-guest") -> tuple[bytes, bytes, bytes]:
    """The user's key, that of a guest, and its known hosts."""
    found = keys.ensure(place(name))
    return found.client.read_bytes(), found.host.read_bytes(), found.known_hosts.read_bytes()


def test_keys_are_made_once() -> None:
    assert contents() == contents()


def test_each_guest_has_a_host_key_of_its_own_and_all_let_the_same_user_in() -> None:
    one, other = contents("one"), contents("other")
    assert one[0] == other[0]
    assert one[1] != other[1]
    assert one[2].split()[2] != other[2].split()[2]


def test_keys_that_were_half_made_are_made_anew() -> None:
    before = contents()
    keys.of(place()).known_hosts.unlink()
    client, host, known_hosts = contents()
    assert client == before[0] and host != before[1] and known_hosts != before[2]
    public = keys.of(place()).host.with_suffix(".pub").read_text().split()[1]
    assert public in known_hosts.decode()


def test_a_users_key_without_its_public_half_is_made_anew() -> None:
    before = keys.client().read_bytes()
    keys.client().with_suffix(".pub").unlink()
    assert keys.client().read_bytes() != before
    assert keys.client().with_suffix(".pub").exists()


ENSURE = """\
import sys
from lab.guest import keys
print("ready", flush=True)
sys.stdin.readline()
print(keys.client().read_text().encode().hex())
"""


def test_two_labs_that_start_at_once_agree_on_the_users_key() -> None:
    with python(ENSURE) as one, python(ENSURE) as other:
        assert (said(one), said(other)) == ("ready", "ready")
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        first = said(one)
        assert first and first == said(other)


def test_one_configuration_has_every_guest_that_is_up(state: Path, tmp_path: Path) -> None:
    config = all_guests()
    assert asked("-F", config, "my-guest")["hostname"] == "my-guest", "there is none"
    directory = state / "lab/guests/my-guest"
    directory.mkdir(parents=True)
    keep(directory, guest())
    check(state, "-F", config)
    mine = tmp_path / "mine"
    mine.write_text(f'Include "{config}"\n')
    check(state, "-F", mine)
