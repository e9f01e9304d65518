# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting and finding guests, their stack and peer, port and SSH, executor, kernel messages.

The room itself can be called: `lab.guest("nvme-copy")` boots a guest (lab/face/guests.py).  Its
name is that function's, and whoever imports a module of it binds the name to the room.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # By its name: no room knows of the face, which is made of them.
        return import_module("lab.face.guests").guest(*args, **kwargs)


# See "Customizing module attribute access" in Python's reference.
sys.modules[__name__].__class__ = _Room
