"""Reading the database without writing to it: SQLite in ``mode=ro`` while the service runs, or PostgreSQL.

All queries of one verification see one snapshot, so that an entry finalized meanwhile is wholly in or wholly out.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from duty.verifier.report import CannotVerify

Row = dict[str, Any]
PAGE = 400


class Source(Protocol):
    """What the verifier needs of a database. Queries write values as ``?``."""

    def pages(self, query: str, *values: object) -> Iterator[list[Row]]:
        """The rows in pages of PAGE."""
        ...


@contextmanager
def opened(database: str) -> Iterator[Source]:
    """The database as a source: a path, or a URL beginning ``sqlite:///`` or ``postgresql``. Raises CannotVerify."""
    scheme, separator, rest = database.partition("://")
    if separator and scheme.split("+")[0] in ("postgresql", "postgres"):
        with _opened_postgres(f"postgresql://{rest}") as source:
            yield source
        return
    path = Path(rest.removeprefix("/") if separator and scheme.split("+")[0] == "sqlite" else database)
    with closing(_sqlite(path)) as connection:
        try:
            connection.execute("BEGIN")
            yield _Sqlite(connection)
        except sqlite3.Error as error:
            raise CannotVerify(f"{path}: {error}") from error


def rows(source: Source, query: str, *values: object) -> list[Row]:
    """All rows of a query that gives few."""
    return [row for page in source.pages(query, *values) for row in page]


def among(source: Source, query: str, keys: Sequence[object]) -> list[Row]:
    """Rows of a query whose ``IN`` stands for a list of keys; none for an empty list."""
    if not keys:
        return []
    return rows(source, query.replace("IN ?", f"IN ({', '.join('?' * len(keys))})"), *keys)


def loaded(value: object) -> Any:
    """A JSON column: SQLite keeps text, PostgreSQL gives the value; unreadable text comes back as it is."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def pages(self, query: str, *values: object) -> Iterator[list[Row]]:
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description]
        while page := cursor.fetchmany(PAGE):
            yield [dict(zip(names, row, strict=True)) for row in page]


def _sqlite(path: Path) -> sqlite3.Connection:
    """Opens read-only; a copy on a read-only medium, which has no write-ahead log, is opened as immutable."""
    if not path.is_file():
        raise CannotVerify(f"{path}: no such file")
    name = f"file:{quote(str(path.resolve()))}?mode=ro"
    try:
        return _readable(name)
    except sqlite3.Error as error:
        if path.with_name(path.name + "-wal").exists():
            raise CannotVerify(f"{path}: {error}") from error
    try:
        return _readable(f"{name}&immutable=1")
    except sqlite3.Error as error:
        raise CannotVerify(f"{path}: {error}") from error


def _readable(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, uri=True, isolation_level=None, timeout=15)
    # A tampered text may be no UTF-8; it must come out as something that compares unequal, not as an error.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def _opened_postgres(url: str) -> Iterator[Source]:
    try:
        import psycopg  # noqa: PLC0415 - only an installation on PostgreSQL has it
    except ImportError:
        raise CannotVerify("a PostgreSQL database needs the extra dutyline[postgres]") from None
    try:
        with psycopg.connect(url, connect_timeout=15) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield _Postgres(connection)
    except psycopg.Error as error:
        raise CannotVerify(f"PostgreSQL: {error}") from error


class _Postgres:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._names = count()

    def pages(self, query: str, *values: object) -> Iterator[list[Row]]:
        # A cursor on the server keeps a long walk out of memory, and other queries may run in between.
        with self._connection.cursor(name=f"walk{next(self._names)}") as cursor:
            cursor.execute(query.replace("?", "%s"), values)
            names = [column.name for column in cursor.description]
            while page := cursor.fetchmany(PAGE):
                yield [dict(zip(names, row, strict=True)) for row in page]
