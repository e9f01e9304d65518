# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's speed, beside its own of before and that of virtme-ng: `make benchmark`."""
