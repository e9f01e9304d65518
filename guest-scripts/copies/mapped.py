# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that is mapped from a file or a disk, as programs have it that read and write by it."""

import errno
import mmap
import os


class Mapping:
    """A part of an open file, mapped and shared.  What the kernel cannot get there is an error of
    a system call, and no signal: only the kernel touches that memory, to and from a file."""

    def __init__(self, fd, offset, size):
        self._first = offset - offset % mmap.ALLOCATIONGRANULARITY
        self._memory = mmap.mmap(fd, offset + size - self._first, offset=self._first)
        self._between = os.memfd_create("between")

    def read(self, offset, size):
        """What is there, as far as it can be read; raises OSError where nothing can."""
        with self._part(offset, size) as part:
            count = os.pwrite(self._between, part, 0)
        return os.pread(self._between, count, 0)

    def write(self, offset, data):
        """Store data; raises OSError where that cannot be."""
        os.pwrite(self._between, data, 0)
        with self._part(offset, len(data)) as part:
            if os.preadv(self._between, [part], 0) < len(data):
                raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    def _part(self, offset, size):
        at = offset - self._first
        return memoryview(self._memory)[at : at + size]

    def close(self):
        """Have it no more."""
        self._memory.close()
        os.close(self._between)
