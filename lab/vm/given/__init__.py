# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices of the host that a guest is given."""
