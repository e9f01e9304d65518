# SPDX-License-Identifier: GPL-2.0-or-later
"""Where QEMUs come from: the host, a package, a build tree, a path."""
