"""Both stores for every test of the duty room: each migrated once, then copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import event

from duty.store.database import Store
from duty.store.tables import Base
from tests.duty.postgres import Cluster, cluster
from tests.duty.room import Room


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One PostgreSQL server for the session."""
    with cluster() as running:
        yield running


@pytest.fixture(scope="session")
def postgres_template(postgres: Cluster) -> str:
    """Name of a migrated database to copy."""
    url = postgres.database()
    with closing(Store(url)) as store:
        store.migrate()
    return url.rpartition("/")[2]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("template") / "dutyline.db"
    with closing(Store(f"sqlite:///{path}")) as store:
        store.migrate()
    return path


NewDatabase = Callable[[], str]


@pytest.fixture
def new_sqlite(sqlite_template: Path, tmp_path: Path) -> NewDatabase:
    """Gives URLs of fresh migrated SQLite files."""
    numbers = count(1)

    def new() -> str:
        path = tmp_path / f"dutyline{next(numbers)}.db"
        shutil.copy(sqlite_template, path)
        return f"sqlite:///{path}"

    return new


@pytest.fixture(scope="session")
def swept_postgres(postgres: Cluster, postgres_template: str) -> str:
    """URL of one migrated database that tests use in turn."""
    return postgres.database(postgres_template)


def hurried(url: str) -> Store:
    """A store whose SQLite does not wait for the disk: a test is not there to survive a power cut."""
    store = Store(url)
    if store.is_sqlite:
        event.listen(store.engine, "connect", lambda raw, _record: raw.execute("PRAGMA synchronous=OFF"))
    return store


def sweep(store: Store) -> None:
    """Empties every table and starts the ids anew: much faster than another database."""
    names = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty migrated store, of one kind and then of the other."""
    if request.param == "sqlite":
        with closing(hurried(request.getfixturevalue("new_sqlite")())) as opened:
            yield opened
        return
    with closing(Store(request.getfixturevalue("swept_postgres"))) as opened:
        sweep(opened)
        yield opened


@pytest.fixture(scope="module")
def standing_room(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """One room on SQLite for all the examples of a module's property tests."""
    path = tmp_path_factory.mktemp("standing") / "dutyline.db"
    shutil.copy(sqlite_template, path)
    with closing(hurried(f"sqlite:///{path}")) as opened:
        yield Room(opened)


@pytest.fixture
def room(store: Store) -> Room:
    """A furnished duty room on that store."""
    return Room(store)
