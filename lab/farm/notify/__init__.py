# SPDX-License-Identifier: GPL-2.0-or-later
"""Telling people and programs that a night has ended: by mail, and by a webhook."""
