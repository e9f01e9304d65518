# SPDX-License-Identifier: GPL-2.0-or-later
"""Nights, and the runs that their plans ask for.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nights",
        sa.Column("id", sa.String(96), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "night_id",
            sa.String(96),
            sa.ForeignKey("nights.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("kernel", sa.String(255), nullable=False),
        sa.Column("baseline", sa.Boolean, nullable=False),
        sa.Column("profile", sa.String(64), nullable=False),
        sa.Column("suite", sa.String(64), nullable=False),
        sa.Column("args", sa.Text, nullable=False),
        sa.Column("repetition", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("run_id", sa.String(32), nullable=True),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
    )
    op.create_index("ix_jobs_night_id", "jobs", ["night_id"])


def downgrade() -> None:
    op.drop_table("jobs")
    op.drop_table("nights")
