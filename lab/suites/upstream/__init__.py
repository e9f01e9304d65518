# SPDX-License-Identifier: GPL-2.0-or-later
"""The driving of suites that come from elsewhere, in a tree that somebody has built."""
