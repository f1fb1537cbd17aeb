"""Files that kill the keeper's worker: each is set aside with the reason, and the others have their turn."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from duty.store.tables import CallEventRow, CallRow, DifferenceRow, EntryRow, RecordingRow
from telephony.custody import Keeper
from telephony.custody_worker import CustodyWorker, WorkerDied, WorkerFailed
from tests.telephony.test_custody import Shelf, _age, shelf, template

__all__ = ["shelf", "template"]

_RETRIES = 20


class Deadly:
    """A file at which the worker is killed, as where memory is short: whoever opens it waits, and dies."""

    def __init__(self, path: Path, worker: CustodyWorker) -> None:
        self.kills = 0
        self._path, self._worker = path, worker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        path.unlink()
        os.mkfifo(path)

    def __enter__(self) -> Deadly:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        dead: int | None = None
        while not self._over.wait(0.005):
            with contextlib.suppress(OSError):  # nobody reads it at the moment
                held = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
                pid = self._worker._process.pid
                if pid is not None and pid != dead:
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1
                    dead = pid
                os.close(held)


def persist(step: Callable[[], object]) -> None:
    """As the process does: what failed is tried again, until nothing is left to do."""
    for _ in range(_RETRIES):
        try:
            if not step():
                return
        except WorkerDied:
            continue
    raise AssertionError("the keeper does not come to rest")


def archiving(shelf: Shelf) -> Keeper:
    return shelf.kept(archive_after_days=3, release_wav_after_days=4)


@pytest.fixture
def two(shelf: Shelf) -> list[Path]:
    """An older and a younger one; the older comes first in everything."""
    made = []
    for days in (40, 30):
        made.append(shelf.recording(ago=timedelta(days=days)))
        _age(shelf, made[-1], days=days)
    return made


def test_a_recording_at_which_the_archiver_dies_is_told_and_the_next_one_has_its_copy(
    shelf: Shelf, two: list[Path]
) -> None:
    first = two[0]
    with closing(archiving(shelf)) as keeper, Deadly(first / "recording.wav", keeper._worker) as deadly:
        persist(keeper._archive_next)
        assert deadly.kills == 3
        persist(keeper._archive_next)
        assert deadly.kills == 3, "not before tomorrow"
    assert [shelf.row(each).archive_path != "" for each in two] == [False, True]
    (alarm,) = shelf.alarms("archive_failed")
    assert (alarm.subject, alarm.data["reason"]) == (first.name, "set aside: the process died 3 times at it")


def test_a_copy_at_whose_proof_the_worker_dies_keeps_its_wav_and_the_next_one_goes(
    shelf: Shelf, two: list[Path]
) -> None:
    first = two[0]
    with closing(archiving(shelf)) as keeper:
        persist(keeper._archive_next)
        with Deadly(first / "recording.opus", keeper._worker) as deadly:
            for _ in range(2):
                persist(keeper._release_old)
                assert deadly.kills == 3
    assert [shelf.row(each).wav_released_at is not None for each in two] == [False, True]
    assert (first / "recording.wav").exists()
    assert [alarm.subject for alarm in shelf.alarms("archive_failed")] == [first.name]


def test_a_found_recording_at_which_the_worker_dies_stays_a_difference_with_the_reason(
    shelf: Shelf, two: list[Path]
) -> None:
    first, second = two
    with shelf.store.writing() as session:
        for table in (CallEventRow, EntryRow, RecordingRow, CallRow):
            session.execute(delete(table))
    with Deadly(first / "events.jsonl", shelf.keeper._worker) as deadly:
        past = (second / "events.jsonl").stat().st_mtime
        for path in (first / "events.jsonl", first):
            os.utime(path, (past, past))
        for _ in range(2):
            persist(lambda: shelf.keeper.reconcile() and False)
            assert deadly.kills == 3
    assert shelf.open() == ["orphan"]
    with shelf.store.reading() as session:
        (difference,) = session.scalars(select(DifferenceRow).where(DifferenceRow.settled_at.is_(None)))
        assert (difference.call_id, difference.detail) == (first.name, "set aside: the process died 3 times at it")
    assert shelf.row(second).state == "waiting"


def test_on_a_short_disk_a_recording_at_which_the_reader_dies_is_told_and_the_next_one_makes_room(
    shelf: Shelf, two: list[Path]
) -> None:
    first = two[0]
    readings = [400_000_000] * 4 + [600_000_000]
    keeper = Keeper(shelf.settings(), shelf.store, free_bytes=lambda _: readings.pop(0) if readings else 10**12)
    with closing(keeper), Deadly(first / "recording.wav", keeper._worker) as deadly:
        persist(keeper._make_room)
        assert deadly.kills == 3
    assert shelf.open() == ["file_altered"]
    assert [(each / "caller.alaw").exists() for each in two] == [True, False]


def test_an_order_that_was_set_aside_is_given_again_a_day_later(shelf: Shelf, two: list[Path]) -> None:
    now = [0.0]
    worker = CustodyWorker(mb_per_second=1000.0, clock=lambda: now[0])
    with closing(worker):
        with Deadly(two[0] / "events.jsonl", worker):
            for died in (WorkerDied, WorkerDied, WorkerFailed, WorkerFailed):
                with pytest.raises(died):
                    worker.seal(two[0])
        shutil.copy(two[1] / "events.jsonl", spare := two[0] / "events.new")
        spare.replace(two[0] / "events.jsonl")
        with pytest.raises(WorkerFailed, match="set aside"):
            worker.seal(two[0])
        now[0] = 86_401.0
        assert worker.seal(two[0]).samples > 0


def test_what_no_reader_expects_is_an_answer_and_no_death(shelf: Shelf, two: list[Path]) -> None:
    """A line of the sidecar that is nested deeper than the interpreter goes."""
    with (two[0] / "events.jsonl").open("ab") as sidecar:
        sidecar.write(b"[" * 200_000 + b"]" * 200_000 + b"\n")
    (two[0] / "sealed.json").unlink()
    worker = shelf.keeper._worker
    with pytest.raises(WorkerFailed, match="RecursionError"):
        worker.seal(two[0])
    pid = worker._process.pid
    assert pid is not None
    assert worker.seal(two[1]).samples > 0
    assert worker._process.pid == pid
