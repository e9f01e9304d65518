# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's messages, which the host reads after every copy.

Request:  {"op": "kernel.kmsg", "after": SEQUENCE}
Answer:   {"records": [[sequence, level, text], ...]}
"""

import errno
import os


def kmsg(request):
    """The records behind a sequence number (Documentation/ABI/testing/dev-kmsg)."""
    records = []
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            try:
                head, _, text = os.read(fd, 8192).decode(errors="replace").partition(";")
            except BlockingIOError:
                return {"records": records}
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten while we read; go on behind the gap
                    continue
                raise
            level, sequence = head.split(",")[:2]
            if int(sequence) > request["after"]:
                records.append([int(sequence), int(level) & 7, text.split("\n")[0]])
    finally:
        os.close(fd)
