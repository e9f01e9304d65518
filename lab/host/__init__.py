# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine the lab runs on: directories, processes, locks, QEMU and accelerator probing."""
