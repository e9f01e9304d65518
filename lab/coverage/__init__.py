# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a guest's kernel was executed: taken case by case, read with gcov, told with gcovr."""
