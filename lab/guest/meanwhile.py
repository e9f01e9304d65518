# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that runs in the guest while the host does something else."""

import time
from collections.abc import Callable

from lab.guest.session import Channel
from lab.host.patience import Patience
from lab.host.process import Process


class Meanwhile:
    """One that was started; it is waited for once."""

    def __init__(self, channel: Channel, process: Process | None) -> None:
        """On that channel to a guest, whose QEMU is `process`."""
        self._channel = channel
        self._process = process
        self.said = ""
        """What it printed, the first 4 KiB, once it has ended."""

    def speaks(self, seconds: float) -> bool:
        """Whether it prints something, or ends, within so many seconds of the guest's."""
        return self._comes(
            lambda: self._channel.recv_ready() or self._channel.exit_status_ready(), seconds
        )

    def ends(self, seconds: float) -> bool:
        """Whether it comes to its end within so many seconds of the guest's."""
        return self._comes(self._channel.exit_status_ready, seconds)

    def _comes(self, condition: Callable[[], bool], seconds: float) -> bool:
        patience = Patience(self._process, seconds)
        while not condition():
            if patience.over():
                return False
            time.sleep(0.01)
        return True

    def ended(self, deadline: float) -> str:
        """Wait for its end, `deadline` seconds at most; what is wrong with that, or ''."""
        patience = Patience(self._process, deadline)
        if not self.ends(deadline):
            return f"it did not end within {patience}"
        status = self._channel.recv_exit_status()
        # What it said may come behind its status; what it has started may keep that open.
        self._channel.settimeout(max(0.1, patience.left()))
        try:
            self.said = self._channel.recv(4096).decode(errors="replace")
            complaint = self._channel.recv_stderr(4096).decode(errors="replace").strip()
        except TimeoutError:
            return f"it did not end within {patience}"
        self._channel.close()
        return f"exit status {status}: {complaint}" if status else ""
