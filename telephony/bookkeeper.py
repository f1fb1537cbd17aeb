"""Keeps the book of calls written in order and never loses a line: a full disk or a dead database only delays it.

Three threads, since they wait for different things. One writes each line into the spool, which is the kernel's memory's
work; one has the disk keep what was written, many lines at once; one takes the lines over into the book, many in a
transaction, which also says how far it has come. A database that is away or locked by a long report holds up only the
third. What cannot be spooled goes to the book at once, and waits in memory where that cannot be written either. What
the book itself refuses (a bug of ours) is kept in a file beside the spool and logged, for no line may vanish.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from telephony.bookwork import BookWork, BookWriter, to_line
from telephony.spool import Mark, Spool

_log = logging.getLogger(__name__)

BATCH = 256
"""Works that share a transaction at most."""
PAUSE_S = 0.1
"""From one transaction to the next, where works come without end: what comes meanwhile shares the next one. The console
is to see a call within 0.3 s."""
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 10.0
"""Each attempt at a locked database takes as long as the store is patient; the pauses keep calls going meanwhile."""
IDLE_S = 0.3
"""Without a new line, after which a spool that the book has is removed."""

_OUTAGE = (OperationalError, InterfaceError, InternalError, PoolTimeoutError, OSError)
"""The database's fault, to be waited out; any other error is the work's own."""


def _future() -> Future[None]:
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What has become of a line: ``written`` when it outlives this process, ``kept`` when it outlives a power cut.
    Where neither spool nor book can be written, both when it is in memory: the line goes on. Neither can be
    cancelled."""

    written: Future[None] = field(default_factory=_future)
    kept: Future[None] = field(default_factory=_future)


_Item = tuple[BookWork, Receipt | None]


class Bookkeeper:
    """The writing threads. ``on_trouble`` hears True when the database fails and False when it is back."""

    def __init__(self, writer: BookWriter, spool: Spool, *, on_trouble: Callable[[bool], None]) -> None:
        self._writer = writer
        self._spool = spool
        self._on_trouble = on_trouble
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._written: queue.SimpleQueue[list[Receipt] | None] = queue.SimpleQueue()
        self._memory: list[BookWork] = []
        self._at_the_book = threading.Lock()
        self._news = threading.Event()
        self._closing = False
        self._placed = False
        self._troubled = False
        self._pause_s = FIRST_RETRY_S
        self._retry_at = self._took_at = 0.0
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("spool", self._write_down), ("spool-sync", self._sync), ("book", self._take_over))
        ]

    def replay_now(self) -> None:
        """Before the threads start: take over what a killed process left in the spool."""
        self._replay()

    def start(self) -> None:
        """Begin writing."""
        for thread in self._threads:
            thread.start()

    @property
    def troubled(self) -> bool:
        """Whether the database fails at present, so that the book is behind."""
        return self._troubled

    def write(self, work: BookWork) -> Future[None]:
        """Queue ``work``; the future is done when it is on disk."""
        return self.write_ahead(work).kept

    def note(self, work: BookWork) -> None:
        """Queue ``work`` for which nobody waits."""
        self._queue.put((work, None))

    def write_ahead(self, work: BookWork) -> Receipt:
        """Queue ``work``, and be told also when it is written but not yet synced."""
        receipt = Receipt()
        self._queue.put((work, receipt))
        return receipt

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is queued and stop."""
        self._queue.put(None)
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                _log.critical("the bookkeeper's thread %s did not end within %s s", thread.name, timeout_s)

    # Into the spool

    def _write_down(self) -> None:
        open_ = True
        while open_:
            items, open_ = self._queued()
            if items or self._memory:
                self._write_items(items)
        for work in self._memory:
            _log.critical("not in the book, not in the spool: %s", to_line(work).decode())
        self._written.put(None)
        self._closing = True
        self._news.set()

    def _queued(self) -> tuple[list[_Item], bool]:
        """What has come, and whether there will be more. Waits for it, but not long while something is in memory."""
        items: list[_Item] = []
        try:
            item = self._queue.get(timeout=FIRST_RETRY_S if self._memory else None)
            while item is not None:
                items.append(item)
                if len(items) == BATCH:
                    return items, True
                item = self._queue.get_nowait()
        except queue.Empty:
            return items, True
        return items, False

    def _write_items(self, items: list[_Item]) -> None:
        works = [*self._memory, *(work for work, _ in items)]
        try:
            self._spool.append(works)
            self._memory.clear()
        except OSError as error:
            self._memory = works
            self._write_past_the_spool(error)
        receipts = [receipt for _, receipt in items if receipt is not None]
        for receipt in receipts:
            receipt.written.set_result(None)
        self._written.put(receipts)
        self._news.set()

    def _write_past_the_spool(self, reason: OSError) -> None:
        """The spool's disk is full, the database may lie on another: what is older must be in the book first."""
        if self._spool.is_empty and time.monotonic() >= self._retry_at:
            done = self._write([(work, None) for work in self._memory])
            del self._memory[:done]
        if self._memory:
            _log.critical("neither database nor spool can be written, kept in memory: %s", reason)

    def _sync(self) -> None:
        open_ = True
        while open_:
            first = self._written.get()
            groups = [first]
            while not self._written.empty():
                groups.append(self._written.get())
            open_ = None not in groups
            try:
                self._spool.sync()
            except OSError as error:
                _log.critical("the spool cannot be synced: %s", error)
            for group in groups:
                for receipt in group or ():
                    receipt.kept.set_result(None)

    # Into the book

    def _take_over(self) -> None:
        closing = False
        while not closing:
            self._wait()
            closing = self._closing
            self._news.clear()
            if closing or not self._troubled or time.monotonic() >= self._retry_at:
                self._replay()
        self._remove_spool()

    def _wait(self) -> None:
        """Until there is news, or a pause is over."""
        while self._spool.is_empty and not self._troubled and not self._news.wait(IDLE_S):
            if self._remove_spool():
                self._news.wait()
        pause_until = self._retry_at if self._troubled else self._took_at + PAUSE_S
        if not self._closing:
            time.sleep(min(PAUSE_S, max(0.0, pause_until - time.monotonic())))

    def _replay(self) -> None:
        """Take over what waits, oldest first; stop at the first that the database still refuses."""
        try:
            self._place()
            until = self._spool.end
            while self._spool.taken < until and (waiting := self._spool.oldest(BATCH)):
                done = self._write(waiting)
                if done:
                    self._spool.take(waiting[done - 1][1].position)
                if done < len(waiting):
                    return
            if self._spool.is_empty and (self._troubled or self._spool.is_large):
                self._remove_spool()
        except _OUTAGE as error:
            self._failed(error)
            return
        self._took_at = time.monotonic()
        if not self._memory:
            self._pause_s = FIRST_RETRY_S
            self._tell(troubled=False)

    def _place(self) -> None:
        """Begin where the book had come to when another process was killed."""
        if not self._placed and not self._spool.is_fresh and self._spool.name:
            self._spool.take(self._writer.taken(self._spool.name))
        self._placed = True

    def _remove_spool(self) -> bool:
        """Where the book has it all; False where the disk refuses."""
        try:
            self._spool.remove()
        except OSError as error:
            _log.error("the spool cannot be removed: %s", error)
            return False
        return True

    def _write(self, works: Sequence[tuple[BookWork, Mark | None]]) -> int:
        """How many of ``works``, from the first, the book has or has refused for good; fewer than all where the
        database fails."""
        with self._at_the_book:
            if len(works) > 1:
                try:
                    self._writer.write_all([work for work, _ in works], mark=works[-1][1])
                except _OUTAGE as error:
                    self._failed(error)
                    return 0
                except Exception:  # noqa: BLE001 - one of them is refused: alone each shows whether it is
                    _log.info("not together, but one by one", exc_info=True)
                else:
                    return len(works)
            return next((done for done, each in enumerate(works) if not self._is_written(*each)), len(works))

    def _is_written(self, work: BookWork, mark: Mark | None) -> bool:
        """True when the book has the work or has refused it for good; False when the database fails."""
        try:
            self._writer.write(work, mark=mark)
        except _OUTAGE as error:
            self._failed(error)
            return False
        except Exception as error:  # noqa: BLE001 - the thread's edge: no error may end the writing of the book
            _log.exception("the book refuses %s", type(work).__name__)
            self._set_aside(work, str(error))
        return True

    def _failed(self, error: BaseException) -> None:
        _log.error("the database cannot be written: %s", error)
        self._retry_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_RETRY_S)
        self._tell(troubled=True)

    def _set_aside(self, work: BookWork, reason: str) -> None:
        try:
            self._spool.set_aside(to_line(work), reason)
        except (OSError, ValueError) as error:
            _log.critical("refused work could not be set aside: %s: %r", error, work)

    def _tell(self, *, troubled: bool) -> None:
        if troubled == self._troubled:
            return
        self._troubled = troubled
        try:
            self._on_trouble(troubled)
        except Exception:  # noqa: BLE001 - the edge: logged, and the book goes on
            _log.exception("the state of the database could not be reported")
