# SPDX-License-Identifier: GPL-2.0-or-later
"""The defect that was planted in a run.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from lab.results.runs import document, planted

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    plant = sa.Column("plant", sa.String(64), nullable=False, server_default="")
    op.add_column("runs", plant)
    # Until then it stood in the runs' documents only; those of other hosts are not here.
    runs = sa.table("runs", sa.column("id"), sa.column("plant"))
    connection = op.get_bind()
    for run in connection.scalars(sa.select(runs.c.id)).all():
        if found := planted(document(run)):
            connection.execute(sa.update(runs).where(runs.c.id == run).values(plant=found))


def downgrade() -> None:
    op.drop_column("runs", "plant")
