# SPDX-License-Identifier: GPL-2.0-or-later
"""What this host can do, found by trying; what mends what it cannot; what can be cleaned up."""
