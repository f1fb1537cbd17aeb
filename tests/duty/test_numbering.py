"""Numbers without gaps under two processes that finalize at once, one of them killed in the middle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from duty.store.database import Store
from duty.store.tables import BookRow, ChainLinkRow, EntryRow
from duty.verifier import verify
from tests.duty.room import Room

ROOT = Path(__file__).parents[2]
EACH = 100


def start(url: str, login: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.duty.finalizing", url, login, str(count)]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def numbers(store: Store) -> list[int | None]:
    with store.reading() as session:
        return list(
            session.scalars(select(EntryRow.number).where(EntryRow.number.is_not(None)).order_by(EntryRow.number))
        )


@pytest.mark.rule("6.2-c")
def test_two_processes_and_a_kill_leave_no_gap(store: Store) -> None:
    room = Room(store)
    room.person(login="one")
    room.person(login="two")
    processes = [start(store.url, "one", EACH), start(store.url, "two", 10 * EACH)]
    steady, doomed = processes
    try:
        for process in processes:
            go(process)
        assert doomed.stdout is not None
        told = [int(doomed.stdout.readline()) for _ in range(20)]
        doomed.kill()  # SIGKILL, wherever it stands
        rest, _ = doomed.communicate(timeout=30)
        told += [int(line) for line in rest.split()]
        out, _ = steady.communicate(timeout=60)
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
    mine = [int(line) for line in out.split()]
    assert len(mine) == EACH, "the one that was not killed finishes"
    given = numbers(store)
    assert given == list(range(1, len(given) + 1))
    assert set(mine) | set(told) <= set(given)
    assert not set(mine) & set(told)
    assert len(given) - len(mine) - len(told) <= 1, "at most the entry that was committed but not yet told"
    report = verify(store.url)
    assert report.first_broken is None
    assert report.entries == len(given)
    with store.reading() as session:
        links = session.scalar(select(func.count()).select_from(ChainLinkRow))
        head = session.get_one(BookRow, room.units["LT"]).position
    assert links == head == len(given)


@pytest.mark.rule("6.2-c")
def test_a_transaction_that_fails_gives_its_number_back(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    officer = room.person()
    first = room.finalized(officer)
    entry_id, version = room.drafted(officer)

    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("duty.services.logbook.note", full)
        with pytest.raises(OSError, match="disk full"):
            room.logbook.finalize(officer, entry_id, version=version)
    assert room.logbook.entry(officer, entry_id).state == "draft"
    assert room.logbook.finalize(officer, entry_id, version=version).number == (first.number or 0) + 1
