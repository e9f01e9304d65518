# SPDX-License-Identifier: GPL-2.0-or-later
"""Alembic's entry: runs the migrations on the connection that the store hands over."""

from alembic import context

from lab.results.store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite changes a column by copying its table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
