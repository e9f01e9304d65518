# SPDX-License-Identifier: GPL-2.0-or-later
"""What the QEMU of a run, and of a night's job, was called.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Until then every run was in the host's, or in LAB_QEMU's, which is called the same.
    for table in ("runs", "jobs"):
        name = sa.Column("qemu_name", sa.String(255), nullable=False, server_default="host")
        op.add_column(table, name)


def downgrade() -> None:
    for table in ("runs", "jobs"):
        op.drop_column(table, "qemu_name")
