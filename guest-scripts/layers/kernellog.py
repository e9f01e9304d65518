# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel has logged: all that it still has, or what has come since somebody listens."""

import errno
import os

ERROR_LEVEL = 3


def since_boot():
    """All that the kernel has logged since the boot, and still has."""
    log = KernelLog()
    log.rewind()
    return log.messages()


class KernelLog:
    """The kernel's messages since this was made (Documentation/ABI/testing/dev-kmsg); with `words`
    its errors since the boot that have one of them."""

    def __init__(self, words=()):
        self._words = words
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_SET if words else os.SEEK_END)

    def rewind(self):
        """Let the next call of `messages` begin with the oldest."""
        os.lseek(self._fd, 0, os.SEEK_SET)

    def messages(self):
        """What was logged since the last call."""
        found = []
        while True:
            try:
                record = os.read(self._fd, 8192).decode(errors="replace")
            except BlockingIOError:
                return found
            except OSError as problem:
                if problem.errno == errno.EPIPE:  # overwritten while we read; go on behind the gap
                    continue
                raise
            head, _, text = record.partition(";")
            line = text.split("\n")[0]
            if not self._words or (_is_error(head, line) and any(w in line for w in self._words)):
                found.append(line)


def _is_error(head, line):
    """Whether a record of the kernel's log is an error or worse: the level is in the lowest three
    bits of its first number.  What sd cannot use it calls a notice."""
    return int(head.partition(",")[0]) & 7 <= ERROR_LEVEL or "nsupported" in line
