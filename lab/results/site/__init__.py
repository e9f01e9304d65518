# SPDX-License-Identifier: GPL-2.0-or-later
"""The static site: nights and runs as pages that need no server, no network and no JavaScript."""
