# SPDX-License-Identifier: GPL-2.0-or-later
"""What a package can add to the lab: docs/extending.md tells it step by step."""
