# SPDX-License-Identifier: GPL-2.0-or-later
"""Points, actions and the stepper that freezes a copy and releases it."""
