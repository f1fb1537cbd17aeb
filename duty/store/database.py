"""Opening the store and running transactions on it: SQLite by default, PostgreSQL where several machines share it.

A write transaction takes SQLite's write lock at once (BEGIN IMMEDIATE), so that a read followed by a write in the
same use case can never fail half-way for another writer; ``synchronous=FULL`` makes each commit survive a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, FromClause, create_engine, event, insert, make_url, text
from sqlalchemy.orm import Session, sessionmaker

_MIGRATIONS = Path(__file__).parent / "migrations"
_OUTBOX = "outbox"
_OUTBOX_LOCK = 0x6475_7479
_SCRUB_PATIENCE_MS = 200
"""Emptying the log waits for readers and holds up writers meanwhile: the line's book must not wait for that."""


class Store:
    """The database as the services see it: reading sessions and writing transactions.

    ``url`` is an SQLAlchemy URL; ``patience_s`` is how long a transaction waits for another writer. Raises
    sqlalchemy.exc.OperationalError when the database cannot be reached in that time.
    """

    def __init__(self, url: str, *, patience_s: float = 15.0) -> None:
        self.url = url
        self.engine = _engine(url, patience_s)
        self._patience_s = patience_s
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        """True on the embedded store."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for looking; what it changes is thrown away."""
        with self._sessions() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with self._sessions.begin() as session:
            session.connection(execution_options={"duty_write": True})
            if self.is_sqlite:
                session.execute(text("BEGIN IMMEDIATE"))
            yield session
            _post(session)

    def migrate(self) -> None:
        """Bring the schema to this version's; safe to run by several processes one after another."""
        command.upgrade(self._alembic(), "head")

    def scrub(self) -> bool:
        """Move everything out of SQLite's log and empty it, so that no earlier form of a row is left there; False where
        another connection is in the way. Nothing to do on other databases."""
        if not self.is_sqlite:
            return True
        with self.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={_SCRUB_PATIENCE_MS}")
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
            connection.exec_driver_sql(f"PRAGMA busy_timeout={int(self._patience_s * 1000)}")
        return not busy

    def is_current(self) -> bool:
        """True when the schema is the one this version was written for."""
        with self.engine.connect() as connection:
            present = MigrationContext.configure(connection).get_current_heads()
        return set(present) == set(ScriptDirectory.from_config(self._alembic()).get_heads())

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()

    def _alembic(self) -> Config:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.attributes["engine"] = self.engine
        return config


def post(session: Session, table: FromClause, values: dict[str, Any]) -> None:
    """Keep an outbox row until everything else of the running transaction is written."""
    session.info.setdefault(_OUTBOX, (table, []))[1].append(values)


def hold(session: Session, lock: int) -> None:
    """Whoever wants the same ``lock`` waits until the running transaction ends; it matters on PostgreSQL only, as
    SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock})


def _post(session: Session) -> None:
    """Write the outbox rows so that they become visible in the order of their ids: on PostgreSQL by a lock until
    commit, on SQLite by its single writer. Without it a reader could pass over a row that a slower transaction
    commits later. The lock is the last one a transaction takes; earlier, it would meet row locks the other way round.
    """
    table, rows = session.info.pop(_OUTBOX, (None, []))
    if not rows:
        return
    session.flush()
    hold(session, _OUTBOX_LOCK)
    session.execute(insert(table), rows)


def _engine(url: str, patience_s: float) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        waiting = {"options": f"-c lock_timeout={int(patience_s * 1000)}", "connect_timeout": max(2, int(patience_s))}
        return create_engine(
            parsed, pool_pre_ping=True, pool_size=8, max_overflow=8, connect_args=waiting, hide_parameters=True
        )
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    # The words of a call are parameters: an error of the database must not carry them into a log.
    engine = create_engine(
        parsed, connect_args={"timeout": patience_s, "check_same_thread": False}, hide_parameters=True
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",  # what is deleted or replaced is overwritten with zeros (requirement 6.5-a)
    ):
        connection.execute(f"PRAGMA {pragma}")
