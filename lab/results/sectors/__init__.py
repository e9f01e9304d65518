# SPDX-License-Identifier: GPL-2.0-or-later
"""The sector map of a case: what each sector of its window held after the copy, and after the same
copy once more without the fault."""
