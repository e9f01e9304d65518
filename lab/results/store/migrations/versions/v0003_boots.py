# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the guest of a run took to boot.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("boot", sa.Double, nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "boot")
