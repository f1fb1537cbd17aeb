"""Alembic's entry: runs the migrations on the engine that Store hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Engine

from duty.store.tables import Base

engine: Engine = context.config.attributes["engine"]

with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        render_as_batch=engine.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
