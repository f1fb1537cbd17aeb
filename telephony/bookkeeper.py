"""Keeps the book of calls written in order and never loses a line: a full disk or a dead database only delays it.

One thread writes; what queued while it wrote goes into its next transaction together. What the database refuses for a
technical reason goes to a spool file, and from then on everything queues behind it, so that order holds; the spool is
replayed as soon as the database is back, also after a restart. What cannot even be spooled waits in memory. What the
book itself refuses (a bug of ours) is kept in a file beside the spool and logged, for no line may vanish.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from telephony.bookwork import BookWork, BookWriter, to_line
from telephony.spool import Spool

_log = logging.getLogger(__name__)

BATCH = 64
"""Works that share a transaction at most."""
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 10.0
"""Each attempt at a locked database takes as long as the store is patient; the pauses keep calls going meanwhile."""

_OUTAGE = (OperationalError, InterfaceError, InternalError, PoolTimeoutError, OSError)
"""The database's fault, to be waited out; any other error is the work's own."""

_Item = tuple[BookWork, Future[None]]


class Bookkeeper:
    """The writing thread. ``on_trouble`` hears True when the database fails and False when it is back."""

    def __init__(self, writer: BookWriter, spool: Spool, *, on_trouble: Callable[[bool], None]) -> None:
        self._writer = writer
        self._spool = spool
        self._on_trouble = on_trouble
        self._queue: queue.Queue[_Item | None] = queue.Queue()
        self._memory: list[BookWork] = []
        self._troubled = False
        self._pause_s = FIRST_RETRY_S
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="bookkeeper", daemon=True)

    def replay_now(self) -> None:
        """Before the thread starts: write what a killed process left in the spool."""
        self._replay()

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    @property
    def troubled(self) -> bool:
        """Whether the database fails at present, so that the book is behind."""
        return self._troubled

    def write(self, work: BookWork) -> Future[None]:
        """Queue ``work``; the future is done when it is on disk, in the book or in the spool (where neither can be
        written, when it is kept in memory: the line goes on). It cannot be cancelled."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        self._queue.put((work, future))
        return future

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is queued and stop."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.critical("the bookkeeper did not end within %s s", timeout_s)

    def _run(self) -> None:
        self._replay()
        open_ = True
        while open_:
            items, open_ = self._next_items()
            if self._troubled and (time.monotonic() >= self._retry_at or not open_):
                self._replay()
            if items:
                self._take(items)
        for work in self._memory:
            _log.critical("not in the book, not in the spool: %s", to_line(work).decode())

    def _next_items(self) -> tuple[list[_Item], bool]:
        """What is queued, as much as fits one transaction, and whether there will be more; nothing where a retry is
        due first."""
        items: list[_Item] = []
        try:
            patience = max(0.0, self._retry_at - time.monotonic()) if self._troubled else None
            item = self._queue.get(timeout=patience)
            while item is not None:
                items.append(item)
                if len(items) == BATCH:
                    return items, True
                item = self._queue.get_nowait()
        except queue.Empty:
            return items, True
        return items, False

    def _take(self, items: Sequence[_Item]) -> None:
        works = [work for work, _ in items]
        done = 0 if self._troubled else self._write(works)
        if done < len(works):
            self._keep(works[done:])
        for _, future in items:
            future.set_result(None)

    def _write(self, works: Sequence[BookWork]) -> int:
        """How many of ``works``, from the first, the book has or has refused for good; fewer than all where the
        database fails."""
        if len(works) > 1:
            try:
                self._writer.write_all(works)
            except _OUTAGE as error:
                self._failed(error)
                return 0
            except Exception:  # noqa: BLE001 - one of them is refused: alone each shows whether it is
                _log.info("not together, but one by one", exc_info=True)
            else:
                return len(works)
        return next((done for done, work in enumerate(works) if not self._written(work)), len(works))

    def _written(self, work: BookWork) -> bool:
        """True when the book has the work or has refused it for good; False when the database fails."""
        try:
            self._writer.write(work)
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

    def _keep(self, works: Sequence[BookWork]) -> None:
        self._memory.extend(works)
        try:
            self._spool.append(self._memory)
            self._memory.clear()
        except OSError as error:
            _log.critical("neither database nor spool can be written, kept in memory: %s", error)

    def _set_aside(self, work: BookWork, reason: str) -> None:
        try:
            self._spool.set_aside(to_line(work), reason)
        except (OSError, ValueError) as error:
            _log.critical("refused work could not be set aside: %s: %r", error, work)

    def _replay(self) -> None:
        """Write what waits, oldest first; stop at the first that the database still refuses."""
        try:
            while waiting := self._spool.oldest(BATCH):
                done = self._write([work for work, _ in waiting])
                if done:
                    self._spool.take(waiting[done - 1][1])
                if done < len(waiting):
                    return
        except OSError as error:
            _log.critical("the spool cannot be read or emptied: %s", error)
            self._failed(error)
            return
        while self._memory:
            batch = self._memory[:BATCH]
            done = self._write(batch)
            del self._memory[:done]
            if done < len(batch):
                return
        self._pause_s = FIRST_RETRY_S
        self._tell(troubled=False)

    def _tell(self, *, troubled: bool) -> None:
        if troubled == self._troubled:
            return
        self._troubled = troubled
        try:
            self._on_trouble(troubled)
        except Exception:  # noqa: BLE001 - the edge: logged, and the book goes on
            _log.exception("the state of the database could not be reported")
