"""The book is kept in order and nothing is lost, on a real SQLite file that is taken away and given back."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError

from duty.domain.calls import CallEventKind, CallHappening, Direction, NewCall, Outcome, RecordingFacts
from duty.domain.numbers import NumberPlan
from duty.domain.times import utc_now
from duty.durable import sync_directory
from duty.services.alarms import Alarms
from duty.services.callbook import CallBook
from duty.services.commands import Commands
from duty.services.linechecks import LineChecks
from duty.services.lines import LinePlan, Lines, UnitPlan
from duty.store.tables import CallEventRow, CallRow
from telephony import bookkeeper as keeping
from telephony.batchstore import BatchStore
from telephony.bookkeeper import Bookkeeper
from telephony.bookwork import (
    BookWork,
    BookWriter,
    WriteCall,
    WriteCommandEnd,
    WriteComponent,
    WriteForward,
    WriteNoRecording,
    from_line,
    to_line,
)
from telephony.spool import Spool

pytestmark = pytest.mark.rule("6.1-a")

LINE = "037122595110"
AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def arrival(number: int, *, line: str = LINE) -> WriteCall:
    return WriteCall(
        new=NewCall(
            call_id=f"{number:032x}",
            line_number=line,
            direction=Direction.INBOUND,
            caller_number="13800138000",
            callee_number=line,
            caller_display="张三",
            trust="from",
            sip_call_id="a@b",
            source="127.0.0.1:5060",
            arrived_at=AT + timedelta(seconds=number),
        )
    )


def happening(number: int, kind: CallEventKind, outcome: Outcome | None = None, second: int = 0) -> CallHappening:
    return CallHappening(call_id=f"{number:032x}", kind=kind, at=AT + timedelta(seconds=second), outcome=outcome)


def whole_call(number: int) -> list[BookWork]:
    return [
        arrival(number),
        happening(number, CallEventKind.RINGING),
        happening(number, CallEventKind.ANSWERED),
        happening(number, CallEventKind.ENDED, Outcome.ANSWERED),
    ]


class Desk:
    """A store, its book, and the means to take the database away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = BatchStore(f"sqlite:///{path}/duty.sqlite", patience_s=0.05)
        self.store.migrate()
        lines = Lines(self.store, utc_now)
        lines.provision(
            [UnitPlan(code="LT", name="龙亭区", room_name="值班室", is_hub=True)],
            [LinePlan(number=LINE, name="值班专线", unit="LT", extensions=("1001",), has_trunk=False)],
        )
        self.writer = BookWriter(
            store=self.store,
            calls=CallBook(self.store, utc_now, NumberPlan()),
            clock=utc_now,
            lines=lines,
            commands=Commands(self.store, utc_now),
            checks=LineChecks(self.store, utc_now),
            alarms=Alarms(self.store, utc_now),
        )
        self.troubles: list[bool] = []
        self._blocker: sqlite3.Connection | None = None

    def keeper(self) -> Bookkeeper:
        return Bookkeeper(self.writer, Spool(self.path / "spool"), on_trouble=self.troubles.append)

    def take_away(self) -> None:
        """Another program holds the database's write lock."""
        self._blocker = sqlite3.connect(self.path / "duty.sqlite", isolation_level=None)
        self._blocker.execute("BEGIN IMMEDIATE")

    def give_back(self) -> None:
        assert self._blocker is not None
        self._blocker.execute("ROLLBACK")
        self._blocker.close()

    def book(self) -> list[tuple[int, str]]:
        """Call and happening, in the order in which they were written."""
        query = select(CallEventRow.call_id, CallEventRow.kind).order_by(CallEventRow.id)
        with self.store.reading() as session:
            return [(int(call_id, 16), kind) for call_id, kind in session.execute(query)]

    def file(self, name: str) -> bytes:
        path = self.path / "spool" / name
        return path.read_bytes() if path.exists() else b""

    def spooled(self) -> bytes:
        """The lines of the spool behind its name."""
        return self.file("book.spool").partition(b"\n")[2]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(keeping, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(keeping, "LONGEST_RETRY_S", 0.2)
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def kept_by(keeper: Bookkeeper, works: Sequence[BookWork]) -> None:
    for future in [keeper.write(work) for work in works]:
        future.result(timeout=10)


def eventually(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def expected(*numbers: int) -> list[tuple[int, str]]:
    return [(number, kind) for number in numbers for kind in ("arrived", "ringing", "answered", "ended")]


def test_done_means_on_disk_and_order_is_kept(desk: Desk) -> None:
    keeper = desk.keeper()
    keeper.start()
    works = [work for number in range(1, 60) for work in whole_call(number)]
    futures = [keeper.write(work) for work in works]
    for position, future in enumerate(futures):
        future.result(timeout=10)
        if position % 40 == 0:
            assert len(desk.book()) + desk.spooled().count(b"\n") > position
    eventually(lambda: desk.book() == expected(*range(1, 60)))
    keeper.close()


def test_what_queues_shares_a_transaction(desk: Desk) -> None:
    commits = 0

    def committed(_connection: object) -> None:
        nonlocal commits
        commits += 1

    event.listen(desk.store.engine, "commit", committed)
    keeper = desk.keeper()
    futures = [keeper.write(work) for number in range(1, 33) for work in whole_call(number)]
    keeper.start()
    for future in futures:
        future.result(timeout=10)
    eventually(lambda: desk.book() == expected(*range(1, 33)))
    assert commits <= len(futures) // 16
    keeper.close()


def test_an_outage_delays_and_loses_nothing(desk: Desk) -> None:
    keeper = desk.keeper()
    keeper.start()
    kept_by(keeper, whole_call(1))
    eventually(lambda: desk.file("book.spool") == b"")
    desk.take_away()
    kept_by(keeper, whole_call(2))
    kept_by(keeper, whole_call(3))
    eventually(lambda: desk.troubles == [True])
    assert desk.book() == expected(1)
    assert desk.spooled().count(b"\n") == 8
    desk.give_back()
    eventually(lambda: desk.book() == expected(1, 2, 3))
    kept_by(keeper, whole_call(4))
    eventually(lambda: desk.book() == expected(1, 2, 3, 4))
    eventually(lambda: (desk.troubles, desk.file("book.spool")) == ([True, False], b""))
    keeper.close()


def test_during_an_outage_a_call_does_not_wait_for_every_retry(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "FIRST_RETRY_S", 60.0)
    keeper = desk.keeper()
    keeper.start()
    desk.take_away()
    kept_by(keeper, [arrival(1)])
    began = time.monotonic()
    kept_by(keeper, [arrival(number) for number in range(2, 40)])
    assert time.monotonic() - began < 38 * 0.05
    desk.give_back()
    keeper.close()
    assert [number for number, _ in desk.book()] == list(range(1, 40))


def test_a_killed_process_leaves_its_spool_to_the_next(desk: Desk) -> None:
    keeper = desk.keeper()
    keeper.start()
    desk.take_away()
    kept_by(keeper, whole_call(1))
    keeper.close()
    spool = desk.path / "spool" / "book.spool"
    spool.write_bytes(spool.read_bytes() + to_line(arrival(2))[:40])  # killed in the middle of a line
    desk.give_back()
    after = desk.keeper()
    after.replay_now()
    assert desk.book() == expected(1)
    assert b"unreadable" in desk.file("book.refused")
    after.start()
    kept_by(after, whole_call(3))
    after.close()
    assert desk.book() == expected(1, 3)


def test_a_torn_line_spoils_no_other(desk: Desk) -> None:
    keeper = desk.keeper()
    desk.take_away()
    spool = desk.path / "spool" / "book.spool"
    spool.write_bytes(to_line(arrival(1)) + b'{"kind":"Wr')
    keeper.start()
    kept_by(keeper, [arrival(2)])
    desk.give_back()
    eventually(lambda: [number for number, _ in desk.book()] == [1, 2])
    keeper.close()


def test_a_call_that_is_written_already_is_set_aside_and_the_rest_goes_on(desk: Desk) -> None:
    keeper = desk.keeper()
    keeper.start()
    kept_by(keeper, [arrival(1), arrival(1), happening(1, CallEventKind.RINGING), arrival(2, line="000"), arrival(3)])
    eventually(lambda: desk.book() == [(1, "arrived"), (1, "ringing"), (3, "arrived")])
    refused = desk.file("book.refused").splitlines()
    assert len(refused) == 2
    assert b"line_not_found" in refused[1]
    assert desk.troubles == []
    keeper.close()


def test_one_refused_work_takes_none_of_its_batch_along(desk: Desk) -> None:
    keeper = desk.keeper()
    works: list[BookWork] = [*whole_call(1), happening(1, CallEventKind.ANSWERED), *whole_call(2), arrival(2)]
    futures = [keeper.write(work) for work in works]
    keeper.start()
    for future in futures:
        future.result(timeout=10)
    eventually(lambda: desk.book() == expected(1, 2))
    assert desk.file("book.refused").count(b"\n") == 2
    keeper.close()


def test_an_unexpected_error_does_not_end_the_writing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = desk.keeper()
    keeper.start()
    with monkeypatch.context() as patched:
        patched.setattr(desk.writer, "write", lambda _work, **_mark: 1 / 0)
        kept_by(keeper, [arrival(1)])
        eventually(lambda: b"division" in desk.file("book.refused"))
    kept_by(keeper, whole_call(2))
    eventually(lambda: desk.book() == expected(2))
    assert b"division" in desk.file("book.refused")
    keeper.close()


def test_neither_database_nor_spool(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: half a line is written, then no more. The fault cannot be made otherwise on every machine."""
    keeper = desk.keeper()
    keeper.start()
    desk.take_away()
    kept_by(keeper, [arrival(1)])
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, bytes(data[: len(data) // 2]))

    monkeypatch.setattr("telephony.spool.os.write", full)
    kept_by(keeper, [arrival(2), arrival(3)])
    assert desk.spooled() == to_line(arrival(1)), "half a line is left"
    monkeypatch.setattr("telephony.spool.os.write", write)
    kept_by(keeper, [arrival(4)])
    assert desk.spooled() == b"".join(map(to_line, map(arrival, (1, 2, 3, 4))))
    desk.give_back()
    eventually(lambda: [number for number, _ in desk.book()] == [1, 2, 3, 4])
    keeper.close()


def test_memory_alone_is_written_when_the_database_is_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    keeper = desk.keeper()
    keeper.start()
    desk.take_away()
    monkeypatch.setattr("telephony.spool.os.write", full)
    kept_by(keeper, [arrival(number) for number in range(1, 100)])
    desk.give_back()
    eventually(lambda: [number for number, _ in desk.book()] == list(range(1, 100)))
    keeper.close()


def test_a_spool_that_cannot_be_removed_is_not_written_twice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = desk.keeper()
    keeper.start()
    desk.take_away()
    works: list[BookWork] = [arrival(1)]
    works += (happening(1, CallEventKind.LEG_STARTED, second=second) for second in range(3))
    kept_by(keeper, works)

    def refuse(_path: Path, **_options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    desk.give_back()
    eventually(lambda: len(desk.book()) == 4)
    time.sleep(0.3)
    monkeypatch.undo()
    eventually(lambda: desk.file("book.spool") == b"")
    kept_by(keeper, whole_call(2))
    keeper.close()
    assert len(desk.book()) == 8


@pytest.mark.parametrize("taken", [1, 3, 4])
def test_a_kill_between_commit_and_removal_doubles_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """The book has taken lines over, the spool still holds them: what another process finds after a kill."""
    monkeypatch.setattr(Path, "unlink", lambda *_path, **_options: 1 / 0)
    works: list[BookWork] = [arrival(1)]
    works += (happening(1, CallEventKind.LEG_STARTED, second=second) for second in range(3))
    killed = desk.keeper()
    Spool.append(killed._spool, works)
    waiting = killed._spool.oldest(taken)
    desk.writer.write_all([work for work, _ in waiting], mark=waiting[-1][1])
    monkeypatch.undo()
    after = desk.keeper()
    after.replay_now()
    assert len(desk.book()) == 4
    after.start()
    kept_by(after, [happening(1, CallEventKind.RINGING)])
    after.close()
    assert [kind for _, kind in desk.book()] == ["arrived", *["leg_started"] * 3, "ringing"]
    assert desk.file("book.spool") == desk.file("book.refused") == b""


def test_a_full_spool_is_passed_by_where_the_database_can_be_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    keeper = desk.keeper()
    keeper.start()
    monkeypatch.setattr("telephony.spool.os.write", full)
    kept_by(keeper, whole_call(1))
    assert desk.book() == expected(1), "done, but neither in the book nor in the spool"
    monkeypatch.undo()
    kept_by(keeper, whole_call(2))
    keeper.close()
    assert desk.book() == expected(1, 2)


def test_a_line_is_written_before_it_is_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may ring when its line outlives this process; it is acknowledged when it outlives a power cut."""
    slow = threading.Event()
    sync = Spool.sync

    def wait(spool: Spool) -> None:
        slow.wait(10)
        sync(spool)

    monkeypatch.setattr(Spool, "sync", wait)
    keeper = desk.keeper()
    keeper.start()
    receipt = keeper.write_ahead(arrival(1))
    receipt.written.result(timeout=10)
    assert not receipt.kept.done()
    assert desk.spooled() == to_line(arrival(1)) or desk.book()
    slow.set()
    receipt.kept.result(timeout=10)
    keeper.close()


def test_the_name_of_a_spool_is_kept_however_often_the_disk_fails_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose name is not on the disk is gone after a power cut, whatever of its content is."""
    done: list[str] = []
    failing = {"data": 1, "name": 1}

    def doing(what: str, real: Callable[[Any], None]) -> Callable[[Any], None]:
        def do(argument: object) -> None:
            if failing[what]:
                failing[what] -= 1
                raise OSError("Input/output error")
            real(argument)
            done.append(what)

        return do

    monkeypatch.setattr("telephony.spool.os.fdatasync", doing("data", os.fdatasync))
    monkeypatch.setattr("telephony.spool.sync_directory", doing("name", sync_directory))
    spool = Spool(tmp_path)
    spool.append(whole_call(1))
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            spool.sync()
    for _ in range(2):
        spool.sync()
    assert done == ["data", "data", "name", "data"], "once the name is kept, it stays kept"
    spool.take(spool.end)
    spool.remove()
    spool.append(whole_call(2))
    successor = Spool(tmp_path)
    successor.append(whole_call(3))
    for each in (spool, successor):  # a new file, and one of a process that may have been killed before its first sync
        done.clear()
        each.sync()
        assert done == ["data", "name"]


def test_a_batch_is_written_whole_or_not_at_all(desk: Desk) -> None:
    works = [arrival(1), arrival(2), arrival(1)]
    with pytest.raises(IntegrityError):
        desk.writer.write_all(works)
    with desk.store.reading() as session:
        assert session.scalar(select(func.count()).select_from(CallRow)) == 0


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INSTANTS = st.datetimes(timezones=st.just(UTC))
JSONS = st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS, max_size=3)
WORKS = st.one_of(
    st.builds(WriteCall, new=st.builds(NewCall, arrived_at=INSTANTS, direction=st.sampled_from(Direction),
              **dict.fromkeys(("call_id", "line_number", "caller_number", "callee_number", "caller_display", "trust",
                               "sip_call_id", "source"), TEXTS)), command_id=st.none() | st.integers(0, 2**31)),
    st.builds(CallHappening, call_id=TEXTS, kind=st.sampled_from(CallEventKind), at=INSTANTS,
              outcome=st.none() | st.sampled_from(Outcome), data=JSONS),
    st.builds(WriteForward, call_id=st.none() | TEXTS, line_number=TEXTS, way=TEXTS, target=TEXTS, source=TEXTS,
              raw_hex=st.binary(max_size=9).map(bytes.hex), at=INSTANTS),
    st.builds(RecordingFacts, call_id=TEXTS, path=TEXTS, sha256=TEXTS, seconds=st.floats(0, 1e6),
              samples=st.integers(0), damage=st.none() | TEXTS,
              gaps=st.lists(st.tuples(TEXTS, st.integers(0), st.integers(0))).map(tuple)),
    st.builds(WriteNoRecording, call_id=TEXTS),
    st.builds(WriteComponent, line_number=TEXTS, kind=TEXTS, name=TEXTS, state=TEXTS, reason=TEXTS,
              bindings=st.none() | st.lists(JSONS, max_size=2)),
    st.builds(WriteCommandEnd, command_id=st.integers(0), result=TEXTS),
)  # fmt: skip


@given(work=WORKS)
def test_a_line_of_the_spool_is_the_work(work: BookWork) -> None:
    line = to_line(work)
    assert line.count(b"\n") == 1
    assert from_line(line) == work


@given(data=st.binary(max_size=60) | st.sampled_from([b"{}", b'{"kind":"Nothing","fields":{}}', b"null"]))
def test_what_is_no_work_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any reason will do
        from_line(data)
