# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: argv, block graph, process, QMP, console."""
