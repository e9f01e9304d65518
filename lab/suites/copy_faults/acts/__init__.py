# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done to a held copy, and what must be seen afterwards."""
