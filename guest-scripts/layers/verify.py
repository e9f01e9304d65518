# SPDX-License-Identifier: GPL-2.0-or-later
"""Write, read back and copy: that a stack does what a disk or a file system is for."""

import os

import system
from pattern import Mismatch, NotVerified

__all__ = ["Mismatch", "NotVerified", "verify"]


def verify(path):
    """Verify a block device or a directory, and say what was done.  What was there is lost.

    Raises Mismatch when data are not what they should be, NotVerified where there is nothing to
    verify, Failure when I/O fails.
    """
    try:
        if os.path.isdir(path):
            import verify_files

            return verify_files.verify(path)
        import verify_blocks

        return verify_blocks.verify(path)
    except OSError as problem:
        raise system.failure(f"verify {path}", problem) from None
