"""Keeps the book of calls written in order and never loses a line: a full disk or a dead database only delays it.

One thread writes. What the database refuses for a technical reason goes to a spool file, synced line by line, and from
then on everything queues behind it, so that order holds; the spool is replayed as soon as the database is back, also
after a restart. What cannot even be spooled waits in memory. What the book itself refuses (a bug of ours) is kept in a
file beside the spool and logged, for no line may vanish.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from duty.domain.errors import DutyError
from telephony.bookwork import BookWork, BookWriter, from_line, to_line

_log = logging.getLogger(__name__)

RETRY_S = 1.0

_OUTAGE = (OperationalError, InterfaceError, InternalError, PoolTimeoutError, OSError)
"""The database's fault, to be waited out; any other error is the work's own."""

_Item = tuple[BookWork, Future[None]]


class Spool:
    """Lines of work that wait for the database, in the order in which they came."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "book.spool"
        self._refused = directory / "book.refused"
        directory.mkdir(parents=True, exist_ok=True)

    def append(self, work: BookWork) -> None:
        """Keep ``work``; it is on disk when this returns. Raises OSError."""
        _append(self._path, to_line(work))

    def set_aside(self, work: BookWork, reason: str) -> None:
        """Keep what the book refuses, with the reason. Raises OSError."""
        _append(self._refused, to_line(work).rstrip(b"\n") + b" " + reason.encode() + b"\n")

    def waiting(self) -> list[BookWork]:
        """Everything spooled; a torn last line of a killed process is left out."""
        if not self._path.exists():
            return []
        works = []
        for line in self._path.read_bytes().splitlines():
            try:
                works.append(from_line(line))
            except ValueError:
                _log.error("unreadable line in the spool left out: %r", line[:200])
        return works

    def replace(self, works: list[BookWork]) -> None:
        """Keep only ``works``. Raises OSError."""
        if not works:
            self._path.unlink(missing_ok=True)
            return
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        _append(fresh, b"".join(to_line(work) for work in works))
        fresh.replace(self._path)


class Bookkeeper:
    """The writing thread. ``on_trouble`` hears True when the database fails and False when it is back."""

    def __init__(self, writer: BookWriter, spool: Spool, *, on_trouble: Callable[[bool], None]) -> None:
        self._writer = writer
        self._spool = spool
        self._on_trouble = on_trouble
        self._queue: queue.Queue[_Item | None] = queue.Queue()
        self._memory: list[BookWork] = []
        self._troubled = False
        self._thread = threading.Thread(target=self._run, name="bookkeeper", daemon=True)

    def replay_now(self) -> None:
        """Before the thread starts: write what a killed process left in the spool."""
        self._replay()

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def write(self, work: BookWork) -> Future[None]:
        """Queue ``work``; the future is done when it is on disk, in the book or in the spool."""
        future: Future[None] = Future()
        self._queue.put((work, future))
        return future

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is queued and stop."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._replay()
        while True:
            try:
                item = self._queue.get(timeout=RETRY_S if self._troubled else None)
            except queue.Empty:
                self._replay()
                continue
            if item is None:
                self._replay()
                return
            self._take(*item)

    def _take(self, work: BookWork, future: Future[None]) -> None:
        if self._troubled:
            self._replay()
        if self._troubled or not self._written(work):
            self._keep(work)
        future.set_result(None)

    def _written(self, work: BookWork) -> bool:
        """True when the book has the work or has refused it for good; False when the database fails."""
        try:
            self._writer.write(work)
        except _OUTAGE as error:
            _log.error("the database cannot be written: %s", error)
            self._trouble(True)
            return False
        except (DutyError, SQLAlchemyError) as error:
            _log.exception("the book refuses %s", type(work).__name__)
            self._set_aside(work, str(error))
        return True

    def _keep(self, work: BookWork) -> None:
        try:
            for kept in (*self._memory, work):
                self._spool.append(kept)
            self._memory.clear()
        except OSError as error:
            _log.critical("neither database nor spool can be written, kept in memory: %s", error)
            self._memory.append(work)

    def _set_aside(self, work: BookWork, reason: str) -> None:
        try:
            self._spool.set_aside(work, reason)
        except OSError as error:
            _log.critical("refused work could not be set aside: %s: %r", error, work)

    def _replay(self) -> None:
        """Write what waits, oldest first; stop at the first that the database still refuses."""
        waiting = self._spool.waiting() + self._memory
        if not waiting:
            self._trouble(False)
            return
        done = 0
        while done < len(waiting) and self._written(waiting[done]):
            done += 1
        try:
            self._spool.replace(waiting[done:])
            self._memory.clear()
        except OSError as error:
            _log.critical("the spool cannot be written: %s", error)
            self._memory = waiting[done:]
        self._trouble(done < len(waiting))

    def _trouble(self, troubled: bool) -> None:
        if troubled != self._troubled:
            self._troubled = troubled
            self._on_trouble(troubled)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
