"""The outbox, followed once per process and handed to every open event stream.

On SQLite the file's ``data_version`` tells within microseconds that some other connection committed; only then is the
outbox read. Other databases are asked for new rows every time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import SQLAlchemyError

from duty.domain.happenings import Event
from duty.services.outbox import Outbox
from duty.store.database import Store

SQLITE_POLL_S = 0.05
OTHER_POLL_S = 0.1
RECOVER_S = 1.0
MAX_BEHIND = 2_000

_log = structlog.get_logger("web.feed")


@dataclass(slots=True, eq=False)
class _Listener:
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Event | None] = field(default_factory=asyncio.Queue)

    def give(self, event: Event | None) -> None:
        if event is not None and self.queue.qsize() > MAX_BEHIND:
            event = None
        try:
            self.loop.call_soon_threadsafe(self.queue.put_nowait, event)
        except RuntimeError:
            _log.debug("listener_gone")


class Feed:
    """One thread that reads new events and gives them to its listeners."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._listeners: set[_Listener] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last = 0

    def start(self) -> None:
        """Begin after the newest event."""
        self._last = self._outbox.last_id()
        self._thread = threading.Thread(target=self._run, name="outbox-feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and every stream."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self.close_streams()

    def close_streams(self) -> None:
        """End every stream; browsers come back with the id of the last event they saw."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.give(None)

    async def after(self, event_id: int | None, *, beat_s: float) -> AsyncIterator[Event | None]:
        """Events after ``event_id`` (None: from now on), first those already written, then each as it comes; None is a
        heartbeat, given after ``beat_s`` seconds without an event. Ends when the feed stops or the reader falls too
        far behind: the reader then comes back with the last id it saw."""
        listener = _Listener(loop=asyncio.get_running_loop())
        with self._lock:
            self._listeners.add(listener)
        try:
            seen = event_id
            while seen is not None and (missed := await asyncio.to_thread(self._outbox.after, seen)):
                for event in missed:
                    yield event
                seen = missed[-1].event_id
            while True:
                try:
                    fresh = await asyncio.wait_for(listener.queue.get(), beat_s)
                except TimeoutError:
                    yield None
                    continue
                if fresh is None:
                    return
                if seen is None or fresh.event_id > seen:
                    yield fresh
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except SQLAlchemyError:
                _log.exception("outbox_unreadable")
                self._stop.wait(RECOVER_S)

    def _follow(self) -> None:
        pause = SQLITE_POLL_S if self._store.is_sqlite else OTHER_POLL_S
        with self._store.engine.connect() as connection:

            def data_version() -> int | None:
                if not self._store.is_sqlite:
                    return None
                return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())

            self._poll(data_version, pause)

    def _poll(self, data_version: Callable[[], int | None], pause: float) -> None:
        known: int | None = None
        while not self._stop.wait(pause):
            version = data_version()
            if version is None or version != known:
                known = version
                self._pass_on()

    def _pass_on(self) -> None:
        while fresh := self._outbox.after(self._last):
            self._last = fresh[-1].event_id
            with self._lock:
                listeners = list(self._listeners)
            for listener in listeners:
                for event in fresh:
                    listener.give(event)
