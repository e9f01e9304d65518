# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the data files of the lab lie: beside the package in a checkout, in it once installed.

The build puts them there: see `sources` in pyproject.toml.
"""

from pathlib import Path

from lab.errors import HostError

_INSTALLED = Path(__file__).with_suffix("")
_CHECKOUT = Path(__file__).resolve().parent.parent


def directory(name: str) -> Path:
    """The directory that a checkout has as `name`: profiles, images/kernel, guest-scripts.

    Raises HostError when it is missing.
    """
    root = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    found = root / name
    if not found.is_dir():
        raise HostError(
            f"{found}: no such directory, and the lab's own {name} should be there",
            hint="this installation is incomplete: install copy-offload-lab again, or run the lab "
            "from a whole checkout",
        )
    return found
