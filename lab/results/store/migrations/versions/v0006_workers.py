# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers, and the runs that they carry out.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nights", sa.Column("version", sa.String(64), nullable=False, server_default=""))
    for column in (
        sa.Column("host", sa.String(255), nullable=False, server_default=""),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lost", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("needs", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("expected", sa.Double, nullable=True),
        sa.Column("task", sa.BigInteger, nullable=True),
    ):
        op.add_column("jobs", column)
    op.create_index("ix_jobs_task", "jobs", ["task"])
    left = sa.text("state in ('pending', 'running')")
    op.create_index("jobs_left", "jobs", ["night_id"], postgresql_where=left, sqlite_where=left)
    op.create_table(
        "workers",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("guests", sa.Integer, nullable=False),
        sa.Column("offer", sa.JSON, nullable=False),
        sa.Column("says", sa.Text, nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("swept", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease", sa.Double, nullable=False),
        sa.Column("queue_id", sa.BigInteger, nullable=True),
    )


def downgrade() -> None:
    op.drop_table("workers")
    op.drop_index("jobs_left", "jobs")
    op.drop_index("ix_jobs_task", "jobs")
    for column in ("task", "expected", "needs", "lost", "attempts", "host"):
        op.drop_column("jobs", column)
    op.drop_column("nights", "version")
