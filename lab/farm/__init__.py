# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans: many runs, one after the other, unattended."""
