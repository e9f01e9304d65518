# SPDX-License-Identifier: GPL-2.0-or-later
"""The application of `lab watch`; Textual is imported here alone."""
