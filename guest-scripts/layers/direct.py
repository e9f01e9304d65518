# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading and writing past the page cache."""

import _thread
import mmap
import os
import stat


def open_node(path, flags):
    """A descriptor of a file or block device; of the latter udev does not notice the closing.

    It watches the nodes that it knows, and probes a disk whose node was closed by one who could
    write (systemd, "Locking Block Device Access"); this one is open by a node that nobody knows.
    """
    about = os.stat(path)
    if not stat.S_ISBLK(about.st_mode):
        return os.open(path, flags | os.O_CLOEXEC)
    # Of this thread alone.
    node = f"/dev/.lab-{_thread.get_native_id()}"
    os.mknod(node, 0o600 | stat.S_IFBLK, about.st_rdev)
    try:
        return os.open(node, flags | os.O_CLOEXEC)
    finally:
        os.unlink(node)


class Direct:
    """A file or block device open with O_DIRECT.  Its methods raise OSError.

    `exclusive` refuses a block device that something stands on (EBUSY).
    """

    def __init__(self, path, write=True, exclusive=False):
        mode = os.O_RDWR if write else os.O_RDONLY
        self.fd = open_node(path, mode | os.O_DIRECT | (os.O_EXCL if exclusive else 0))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.close(self.fd)

    def read(self, offset, size):
        """`size` bytes from `offset`; fewer at the end."""
        with mmap.mmap(-1, size) as memory:  # page-aligned, as O_DIRECT wants it
            done = os.preadv(self.fd, [memory], offset)
            return memory[:done]

    def write(self, offset, data):
        """Write all of `data` at `offset`."""
        with mmap.mmap(-1, len(data)) as memory:
            memory[:] = data
            done = os.pwritev(self.fd, [memory], offset)
        if done != len(data):
            raise OSError(None, f"{done} of {len(data)} bytes written at {offset}")

    def sync(self):
        """Flush the device's cache."""
        os.fsync(self.fd)
