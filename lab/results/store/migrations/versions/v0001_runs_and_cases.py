# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs and their cases.

Revision ID: 0001
Revises: nothing
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("suite", sa.String(64), nullable=False),
        sa.Column("profile", sa.String(64), nullable=False),
        sa.Column("kernel", sa.String(255), nullable=False),
        sa.Column("release", sa.String(255), nullable=False),
        sa.Column("qemu", sa.String(255), nullable=False),
        sa.Column("accelerator", sa.String(16), nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("runs_by_what", "runs", ["suite", "profile", "release"])
    op.create_table(
        "cases",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "run_id", sa.String(32), sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("known", sa.Text, nullable=False),
        sa.Column("rules", sa.JSON, nullable=False),
    )
    op.create_index("ix_cases_run_id", "cases", ["run_id"])
    op.create_index("ix_cases_name", "cases", ["name"])


def downgrade() -> None:
    op.drop_table("cases")
    op.drop_table("runs")
