"""A chore that fails is told of and begins again, and the others never notice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from duty.domain.times import utc_now
from duty.services.alarms import Alarms
from duty.store.database import Store
from duty.store.tables import AlarmRow
from telephony.chores import Chores
from telephony.serve import _chore_failed

PATIENCE_S = 20.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(f"sqlite:///{tmp_path / 'dutyline.db'}", patience_s=0.1)) as made:
        made.migrate()
        yield made


class Work:
    """Fails so many times, and then goes on for ever."""

    def __init__(self, failures: int) -> None:
        self.left, self.begun, self.runs = failures, 0, asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        if self.left:
            self.left -= 1
            raise LookupError("a fault that nobody thought of")
        self.runs.set()
        await asyncio.Event().wait()


def told(store: Store) -> list[tuple[str, str, int]]:
    with store.reading() as session:
        rows = session.scalars(select(AlarmRow).where(AlarmRow.kind == "chore_failed")).all()
        return [(row.subject, str(row.data["error"]), int(row.data.get("times", 1))) for row in rows]


async def both(chores: Chores, *works: Work) -> None:
    for name, work in zip(("disk", "live"), works, strict=True):
        chores.begin(name, work)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(work.runs.wait() for work in works))
    finally:
        chores.stop()
        await asyncio.sleep(0)


def test_a_chore_that_fails_is_one_alarm_that_counts_and_goes_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        failing, steady = Work(3), Work(0)
        alarms = Alarms(store, utc_now)
        await both(Chores(lambda *what: _chore_failed(alarms, *what), pause_s=0.01), failing, steady)
        assert (failing.begun, steady.begun) == (4, 1)

    with caplog.at_level(logging.ERROR):
        asyncio.run(scene())
    assert told(store) == [("disk", "LookupError", 3)]
    assert [record.exc_info is not None for record in caplog.records] == [True] * 3


def test_a_chore_begins_again_also_where_it_cannot_be_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        failing = Work(1)
        alarms = Alarms(store, utc_now)
        with store.engine.connect() as other:
            other.exec_driver_sql("BEGIN IMMEDIATE")
            await both(Chores(lambda *what: _chore_failed(alarms, *what), pause_s=0.01), failing, Work(0))
        assert failing.begun == 2

    with caplog.at_level(logging.ERROR):
        asyncio.run(scene())
    assert told(store) == []
    kinds = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert kinds == [LookupError, OperationalError]


def test_what_is_done_is_done_and_what_is_stopped_stops() -> None:
    async def scene() -> None:
        failures: list[str] = []
        chores = Chores(lambda name, _: failures.append(name), pause_s=0.01)
        done = asyncio.Event()

        async def once() -> None:
            done.set()

        chores.begin("tidy", once)
        waiting = Work(0)
        chores.begin("live", waiting)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(done.wait(), waiting.runs.wait())
        chores.stop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*others, return_exceptions=True)
        assert (failures, waiting.begun) == ([], 1)

    asyncio.run(scene())
