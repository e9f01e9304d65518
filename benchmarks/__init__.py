# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's speed, measured side by side with its own of before and with virtme-ng: `make benchmark`."""
