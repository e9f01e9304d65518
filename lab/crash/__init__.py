# SPDX-License-Identifier: GPL-2.0-or-later
"""The write log and the media that a power cut leaves."""
