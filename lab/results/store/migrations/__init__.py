# SPDX-License-Identifier: GPL-2.0-or-later
"""How the store's tables came to be, step by step (alembic)."""
