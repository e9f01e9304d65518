# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests of the lab; they run in a checkout, or in what an sdist unpacks to."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""
