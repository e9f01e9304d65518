# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites that run while faults are made: which, how, and whether what they leave recovers."""
