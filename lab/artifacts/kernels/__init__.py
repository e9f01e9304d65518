# SPDX-License-Identifier: GPL-2.0-or-later
"""Where kernels come from: packages, built trees, images, and sources with patches."""
