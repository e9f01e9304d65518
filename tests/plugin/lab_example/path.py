# SPDX-License-Identifier: GPL-2.0-or-later
"""The path fs-clone-blocks: many small clones instead of a large one."""

from pathlib import Path

from lab.copy.paths.files import FsClone


class FsCloneBlocks(FsClone):
    """FICLONERANGE, a block of the file system at a time."""

    name = "fs-clone-blocks"
    does = "FICLONERANGE for each block within a file, then fsync"
    module = "clone_blocks"
    guest_scripts = (Path(__file__).parent / "guest/clone_blocks.py",)
