# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems after a power cut: workloads, what they promise, and guests that look at states."""
