"""The migrations and the tables are two descriptions of one schema: they must not drift apart."""

from __future__ import annotations

from contextlib import closing

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from duty.store.database import Store
from duty.store.tables import Base
from tests.duty.postgres import Cluster


def test_the_migrations_make_the_tables(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_twice_changes_nothing_and_is_current(store: Store) -> None:
    store.migrate()
    assert store.is_current()


def test_a_store_that_was_never_migrated_is_not_current(tmp_path) -> None:
    with closing(Store(f"sqlite:///{tmp_path / 'deep' / 'new.db'}")) as store:
        assert not store.is_current()


def test_every_migration_can_be_taken_back(store: Store) -> None:
    command.downgrade(store._alembic(), "base")
    with store.engine.connect() as connection:
        left = MigrationContext.configure(connection).get_current_heads()
    assert left == ()
    store.migrate()
    assert store.is_current()


def test_sqlite_is_durable(new_sqlite) -> None:
    with closing(Store(new_sqlite())) as store, store.engine.connect() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


@pytest.mark.peer
def test_an_unreachable_postgresql_says_so(postgres: Cluster) -> None:
    from sqlalchemy.exc import OperationalError

    with closing(Store(postgres.url("no_such_database"))) as store, pytest.raises(OperationalError):
        store.is_current()
