# SPDX-License-Identifier: GPL-2.0-or-later
"""Images, kernels and initramfs as content-addressed artifacts."""
