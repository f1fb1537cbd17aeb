"""Both stores for every test of the duty room: each migrated once, then copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from duty.store.database import Store
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


@pytest.fixture
def new_postgres(postgres: Cluster, postgres_template: str) -> Iterator[NewDatabase]:
    """Gives URLs of fresh migrated PostgreSQL databases."""
    made: list[str] = []

    def new() -> str:
        made.append(postgres.database(postgres_template))
        return made[-1]

    yield new
    for url in made:
        postgres.drop(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Gives URLs of fresh migrated databases, of one kind and then of the other."""
    name = "new_sqlite" if request.param == "sqlite" else "new_postgres"
    return request.getfixturevalue(name)


@pytest.fixture
def store(new_database: NewDatabase) -> Iterator[Store]:
    """A fresh migrated store."""
    with closing(Store(new_database())) as opened:
        yield opened


@pytest.fixture
def room(store: Store) -> Room:
    """A furnished duty room on that store."""
    return Room(store)
