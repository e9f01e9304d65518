# SPDX-License-Identifier: GPL-2.0-or-later
"""What breaks a program that was started over SSH is what breaks one on the port: an OSError."""

import subprocess
import sys
from typing import Any

import paramiko
import pytest

from lab.guest.ssh import SshChannel


class Rekeying:
    """A paramiko.Transport whose new keys never come."""

    def _send_user_message(self, _: paramiko.Message) -> None:
        raise paramiko.SSHException("Key-exchange timed out waiting for key negotiation")


@pytest.fixture
def channel() -> SshChannel:
    """One that has been opened, and may send."""
    found: Any = paramiko.Channel(1)
    found.transport, found.active, found.remote_chanid = Rekeying(), True, 1
    found.out_window_size, found.out_max_packet_size = 1 << 20, 1 << 15
    return SshChannel(found)


def test_a_send_that_waits_for_keys_in_vain_is_an_oserror(channel: SshChannel) -> None:
    with pytest.raises(ConnectionError, match="Key-exchange timed out"):
        channel.sendall(b"x")
    with pytest.raises(ConnectionError, match="Key-exchange timed out"):
        channel.shutdown_write()


def test_who_talks_over_the_port_does_not_wait_for_paramiko() -> None:
    code = (
        "import sys, lab.guest.executor, lab.guest.guests, lab.guest.relay, lab.suites.guest\n"
        "sys.exit('paramiko' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
