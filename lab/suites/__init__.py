# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites: sets of cases run on a profile; a room for each, and what they share."""
