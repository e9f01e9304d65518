# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's kernel holds: dumps of its memory, debug symbols, reports, and the debugger."""
