# SPDX-License-Identifier: GPL-2.0-or-later
"""What moves through a block device while somebody copies."""

import system


class Meter:
    """The sectors read from and written to a block device since this was made, as its user saw
    them (Documentation/block/stat.rst)."""

    def __init__(self, name):
        self._name = name
        self._read, self._written = self._counts()

    def _counts(self):
        fields = system.read(f"{system.BLOCK}/{self._name}/stat").split()
        return int(fields[2]), int(fields[6])

    def moved(self):
        """[read, written]"""
        read, written = self._counts()
        return [read - self._read, written - self._written]
