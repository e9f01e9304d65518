# SPDX-License-Identifier: GPL-2.0-or-later
"""A night on many hosts: runs wait in PostgreSQL, workers come for them."""
