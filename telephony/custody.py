"""The keeper of the recordings: a process of its own that compares calls, rows and files, reads every file through
again and again, makes archive copies, and frees the disk of what is safe to remove (requirements 6.1-d, 6.2-c, 6.4-a).

It is small and quick and holds the database no longer than a row takes; everything heavy is done by the worker, which
takes only what no other process wants. Killed at any moment it begins anew and comes to the same end.
"""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from config.settings import Settings
from duty.domain.custody import SHALLOW, Booked, CustodyAct, Difference, DifferenceKind, Shelved, judge
from duty.domain.custody_pages import compare
from duty.domain.errors import DutyError
from duty.domain.happenings import AlarmKind, Severity
from duty.domain.times import utc_now
from duty.services.adoption import Adoption
from duty.services.alarms import Alarms
from duty.services.custody import Custody
from duty.services.custody_acts import CustodyActs, ProvenCopy, Retention
from duty.services.numbering import number_plan
from duty.services.sealingacts import SealingActs
from duty.store.database import Store
from duty.vault.keyfile import MasterKeys
from telephony.adopting import found_call
from telephony.ballast import Ballast
from telephony.custody_files import Shelves, read_locked, read_through, remove
from telephony.custody_worker import CustodyWorker, WorkerDied, WorkerFailed
from telephony.endpoint import facts_of
from telephony.strongroom import Strongroom

_log = logging.getLogger(__name__)

_IDLE_S = 10.0
"""Between two looks for work where the last found none."""
_RETRY_S = 10.0
ARCHIVE_RETRY = timedelta(days=1)
_ORDER = (CustodyAct.RELEASE_RAW, CustodyAct.RELEASE_WAV, CustodyAct.REMOVE)
"""What goes first when the disk is short."""
_MARGIN = 1.1
"""Once something is freed, a little more than the mark, so that not every call frees again."""


def retention_of(settings: Settings) -> Retention:
    """The settings' periods."""
    own = {unit.code: timedelta(days=unit.retention_days) for unit in settings.units if unit.retention_days}
    return Retention(general=timedelta(days=settings.recordings.retention_days), by_unit=own)


def run(settings: Settings) -> None:
    """Keep until SIGTERM or SIGINT."""
    os.nice(5)
    stop = threading.Event()
    store = Store(settings.store_url)
    keeper = Keeper(settings, store)

    def end(*_: object) -> None:
        stop.set()
        keeper.interrupt()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        while not stop.is_set():
            try:
                busy = keeper.step()
            except (SQLAlchemyError, OSError, WorkerDied) as error:
                if not stop.is_set():
                    _log.error("the recordings cannot be kept at the moment: %s", error)
                stop.wait(_RETRY_S)
                continue
            stop.wait(0.0 if busy else _IDLE_S)
    finally:
        keeper.close()
        store.close()


class Keeper:
    """One step after the other, the most urgent first. Raises SQLAlchemyError and OSError, and may then go on."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        free_bytes: Callable[[Path], int] = lambda at: shutil.disk_usage(at).free,
    ) -> None:
        own = settings.recordings
        self._settings = settings
        self._root = settings.data.recordings
        self._spool = settings.data.dir / "spool" / "book.spool"
        self._free_bytes = free_bytes
        self._custody = Custody(store, utc_now)
        self._acts = CustodyActs(store, utc_now, retention_of(settings))
        self._adoption = Adoption(store, utc_now, number_plan(settings.numbers))
        self._alarms = Alarms(store, utc_now)
        keys = MasterKeys(settings.secrecy.key_file)
        self._strongroom = Strongroom(self._root, store, SealingActs(store, utc_now, keys))
        self._worker = CustodyWorker(mb_per_second=own.verify_mb_per_second)
        self._compared_at: float | None = None
        self._nothing_to_free: bool | None = None
        self._ballast = Ballast(settings.data.dir / "run" / "ballast", mark=own.free_mb * 1_000_000)

    def step(self) -> bool:
        """The next thing to do; whether there may be more at once. Raises WorkerDied too."""
        self._root.mkdir(parents=True, exist_ok=True)
        if self._strongroom.step() or self._make_room():
            return True
        due = self._settings.recordings.reconcile_minutes * 60
        if self._compared_at is None or time.monotonic() - self._compared_at >= due:
            self.reconcile()
            self._compared_at = time.monotonic()
        return self._release_old() or self._archive_next() or self._read_next()

    def interrupt(self) -> None:
        """Ends what the worker is doing; it will be done again."""
        self._worker.interrupt()

    def close(self) -> None:
        """Ends the worker."""
        self._worker.close()

    # Calls, rows and files

    def reconcile(self) -> int:
        """Compare everything by name and size, mend what needs no guess, and keep what differs; how many open
        differences there are."""
        look = self._custody.look(SHALLOW)
        for seen in compare(self._custody, Shelves(self._root), now=utc_now()):
            look.found(difference for call_id in seen.finish for difference in self._finish(call_id))
            look.found(_left(seen.differences, {each.place: self._adopt(each) for each in seen.adopt}))
        return look.end()

    def _adopt(self, shelf: Shelved) -> str | None:
        """Seal what was found and write it into the book; else why not, nothing where its call is still on its way into
        the book or has another recording there."""
        if _names(self._spool, shelf.call_id):
            return ""
        directory = self._root / shelf.place
        try:
            sealed = self._worker.seal(directory)
            adopted = self._adoption.adopt(
                found_call(sealed, self._settings.lines[0].number), facts_of(sealed, self._root)
            )
        except (WorkerFailed, DutyError) as error:
            _log.error("%s cannot be taken into the book: %s", shelf.place, error)
            return str(error)
        return None if adopted else ""

    def _finish(self, call_id: str) -> Iterator[Difference]:
        """Remove what the book says is removed: a process was killed between the two. What the disk does not let go
        differs."""
        row = self._custody.one(call_id)
        if row is None:
            return
        for act, booked in (
            (CustodyAct.REMOVE, row.removed),
            (CustodyAct.RELEASE_WAV, row.wav_released),
            (CustodyAct.RELEASE_RAW, row.raw_released),
        ):
            try:
                if booked:
                    remove(self._root / row.place, act)
            except OSError as error:
                _log.error("what was released of recording %s cannot be removed: %s", call_id, error)
                yield Difference(
                    kind=DifferenceKind.NOT_REMOVED, call_id=call_id, place=row.place, detail=error.strerror or ""
                )

    def _read_next(self) -> bool:
        """One recording through, the one not read for the longest time."""
        call_id = self._custody.longest_unread(utc_now() - timedelta(days=self._settings.recordings.verify_days))
        row = self._custody.one(call_id) if call_id else None
        if row is None:
            return False
        self._read(row)
        return True

    def _read(self, row: Booked, *, hurry: bool = False) -> list[Difference]:
        """Read one through and keep what differs; one that cannot be read differs in that, and the others have their
        turn."""
        try:
            differences = judge(row, self._worker.read(self._root, row, hurry=hurry))
        except WorkerFailed as error:
            _log.error("recording %s cannot be read: %s", row.call_id, error)
            differences = [
                Difference(kind=DifferenceKind.FILE_ALTERED, call_id=row.call_id, place=row.place, detail=str(error))
            ]
        self._custody.read(row.call_id, differences)
        return differences

    # The archive

    def _archive_next(self) -> bool:
        days = self._settings.recordings.archive_after_days
        if not days:
            return False
        now = utc_now()
        call_id = self._acts.to_archive(sealed_before=now - timedelta(days=days), tried_before=now - ARCHIVE_RETRY)
        row = self._custody.one(call_id) if call_id else None
        if row is None:
            return False
        try:
            copy = self._worker.archive(self._root, row)
        except WorkerFailed as error:
            self._acts.not_archived(row.call_id, str(error))
            return True
        proven = ProvenCopy(
            path=f"{row.place}/{copy.path.name}", sha256=copy.sha256, bytes=copy.bytes, similarity=copy.similarity
        )
        self._acts.archived(row.call_id, proven)
        return True

    def _release_old(self) -> bool:
        days = self._settings.recordings.release_wav_after_days
        return bool(days) and self._one_less(CustodyAct.RELEASE_WAV, timedelta(days=days), "release_wav_after_days") > 0

    # Room on the disk

    def _make_room(self) -> bool:
        mark = self._settings.recordings.free_mb * 1_000_000
        free = self._free_bytes(self._root)
        if free >= mark:
            self._ballast.take(free)
            self._tell_freed(nothing=False)
            return False
        self._ballast.drop(free)
        while free < mark * _MARGIN:
            if not any(self._one_less(act, timedelta(0), "free_mb") for act in _ORDER):
                self._tell_freed(nothing=free < mark)
                return False
            free = self._free_bytes(self._root)
        self._tell_freed(nothing=False)
        return True

    def _one_less(self, act: CustodyAct, age: timedelta, reason: str) -> int:
        """Do ``act`` to the oldest recording that allows it; how many bytes that gave, 0 where none did."""
        now = utc_now()
        for call_id in self._acts.candidates(act, sealed_before=now - age, tried_before=now - ARCHIVE_RETRY):
            row = self._custody.one(call_id)
            if row is None or not self._whole(act, row):
                continue
            try:
                self._acts.perform(act, call_id, reason=reason)
                if freed := remove(self._root / row.place, act):
                    return freed
            except DutyError as error:
                _log.info("%s stays: %s", call_id, error)  # put under a hold, say, while it was read
            except OSError as error:
                _log.error("%s cannot be removed: %s", row.place, error)  # a difference, at the next comparison
        return 0

    def _whole(self, act: CustodyAct, row: Booked) -> bool:
        """Whether what stays behind can stand for what goes, by reading it now."""
        if act is CustodyAct.RELEASE_RAW:
            return not self._read(row, hurry=True)
        if act is CustodyAct.RELEASE_WAV:
            try:
                self._worker.prove(self._root, row)
            except WorkerFailed as error:
                self._acts.not_archived(row.call_id, str(error))
                return False
        return True

    def _tell_freed(self, *, nothing: bool) -> None:
        if nothing == self._nothing_to_free:
            return
        if nothing:
            free_mb = self._free_bytes(self._root) // 1_000_000
            self._alarms.report(
                AlarmKind.DISK_NOTHING_TO_FREE, Severity.CRITICAL, subject="recordings", free_mb=free_mb
            )
        else:
            self._alarms.settle(AlarmKind.DISK_NOTHING_TO_FREE, subject="recordings")
        self._nothing_to_free = nothing


def _left(differences: Iterable[Difference], adopted: Mapping[str, str | None]) -> Iterator[Difference]:
    """Without those of directories that were ``adopted``; where that failed, with the reason."""
    for each in differences:
        if each.kind is DifferenceKind.STRAY or each.place not in adopted:
            yield each
        elif (reason := adopted[each.place]) is not None:
            yield replace(each, detail=reason)


def _names(spool: Path, call_id: str) -> bool:
    """Whether the spool holds a line of that call; one that was taken over long ago counts too, and harms nothing: the
    database then has the call."""
    try:
        with spool.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
            return lines.find(call_id.encode()) >= 0
    except (FileNotFoundError, ValueError):
        return False  # no spool, or an empty one


def survey(settings: Settings, store: Store, *, deep: bool, heard: Callable[[int], None]) -> list[Difference]:
    """Everything that differs now, by name and size and, where ``deep``, by reading every file; nothing is changed.
    ``heard`` hears how many bytes were read. Raises OSError, SQLAlchemyError."""
    root, custody = settings.data.recordings, Custody(store, utc_now)
    found = [each for seen in compare(custody, Shelves(root), now=utc_now()) for each in seen.differences]
    for row in (row for page in custody.pages() for row in page) if deep else ():
        if row.sealed and not row.removed and row.locked is not None:
            names = [file.name for file in row.locked]
            found += judge(row, read_locked(root / row.place, names, heard))
        elif row.sealed and not row.removed and not row.moving:
            reading = read_through(
                root / row.place,
                samples=row.samples,
                wav="" if row.wav_released else row.path.rpartition("/")[2],
                archive=row.archive_path.rpartition("/")[2],
                pace=heard,
            )
            found += judge(row, reading)
    return found
