# SPDX-License-Identifier: GPL-2.0-or-later
"""What a dumped kernel says of who holds what."""
