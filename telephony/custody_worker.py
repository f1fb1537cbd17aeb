"""The heavy hand of the recordings' keeper, in a process of its own that only takes what nobody else wants: it reads
files through, makes archive copies and seals what was found.

``python -m telephony.custody_worker`` reads an order per line and answers each with a line of JSON. SCHED_IDLE gives it
the idle class of the disk's scheduler too (ioprio_set(2)), so that it waits for every other process; it touches no
database, for a lock held by a process that waits would hold up the line. It ends with its input.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from duty.domain.custody import Booked, Reading
from telephony.archive import ArchiveCopy, archive_copy, check_archive
from telephony.custody_files import ARCHIVE_NAME, read_locked, read_through, sealed_as_found, unhurried
from telephony.media_errors import MediaError
from telephony.sealing import SealedRecording
from telephony.worker_process import WorkerProcess

_HURRY = 1e6
_DEATHS = 3
_ASIDE_S = 86_400.0
"""How long an order is set aside at which the process died ``_DEATHS`` times."""
_log = logging.getLogger(__name__)


class WorkerFailed(MediaError):
    """The order could not be carried out, for the reason given; files are made whole or not at all."""


class WorkerDied(MediaError):
    """The worker's process is gone, and nothing is known of the order; it may be given again."""


class CustodyWorker:
    """Gives the orders and waits for the answers; the process starts with the first and again after it died."""

    def __init__(self, *, mb_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._mb_per_second = mb_per_second
        self._fatal = _Fatal(clock)
        self._process = WorkerProcess(__name__)  # whatever it makes is whole or not there when it is killed

    def read(self, root: Path, row: Booked, *, hurry: bool = False) -> Reading:
        """The files of a recording read through, in no ``hurry`` at the set pace; under secrecy the sealed ones. Raises
        WorkerFailed, WorkerDied."""
        answer = self._ask(
            "read",
            root / row.place,
            samples=row.samples,
            wav="" if row.wav_released else row.path.rpartition("/")[2],
            archive=row.archive_path.rpartition("/")[2],
            locked=None if row.locked is None else [file.name for file in row.locked],
            mb_per_second=_HURRY if hurry else self._mb_per_second,
        )
        return Reading(**{**answer, "altered": tuple(answer["altered"])})

    def archive(self, root: Path, row: Booked) -> ArchiveCopy:
        """A proven copy beside the WAV, which must be the one that was sealed. Raises WorkerFailed, WorkerDied."""
        answer = self._ask("archive", root / row.place, wav=row.path.rpartition("/")[2], sha256=row.sha256)
        return ArchiveCopy(**{**answer, "path": Path(answer["path"])})

    def prove(self, root: Path, row: Booked) -> None:
        """Once more before the WAV goes: the copy is the one that was booked and says what the WAV says. Raises
        WorkerFailed, WorkerDied."""
        self._ask(
            "prove",
            root / row.place,
            wav=row.path.rpartition("/")[2],
            sha256=row.sha256,
            archive=row.archive_path.rpartition("/")[2],
            archive_sha256=row.archive_sha256,
        )

    def seal(self, directory: Path) -> SealedRecording:
        """What was found, sealed as after a crash. Raises WorkerFailed, WorkerDied."""
        answer = self._ask("seal", directory)
        return SealedRecording.from_json(directory, answer)

    def interrupt(self) -> None:
        """Ends the process in the middle of whatever it does; to be called from a signal handler too."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process."""
        self._process.close()

    def _ask(self, order: str, directory: Path, **values: Any) -> dict[str, Any]:
        name = f"{order} {directory.name}"
        self._fatal.refuse(name)
        try:
            answer = self._process.ask({"order": order, "directory": str(directory.absolute()), **values})
        except (OSError, ValueError) as error:
            self._fatal.died(name)
            raise WorkerDied(f"{name}: {error}") from error
        self._fatal.survived(name)
        if "failed" in answer:
            raise WorkerFailed(answer["failed"])
        done: dict[str, Any] = answer["done"]
        return done


class _Fatal:
    """Orders at which the process died: after the third time in a row an order fails for a day without being given
    again, so that one file that kills does not keep the others waiting for ever."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._deaths: Counter[str] = Counter()
        self._until: dict[str, float] = {}

    def died(self, order: str) -> None:
        """Once more. Raises WorkerFailed for the last time that is endured."""
        self._deaths[order] += 1
        if self._deaths[order] >= _DEATHS:
            self._until[order] = self._clock() + _ASIDE_S
            self.survived(order)
            self.refuse(order)

    def survived(self, order: str) -> None:
        """Answered, whatever it was."""
        self._deaths.pop(order, None)

    def refuse(self, order: str) -> None:
        """Raises WorkerFailed for an order that is set aside."""
        now = self._clock()
        self._until = {name: until for name, until in self._until.items() if until > now}
        if order in self._until:
            raise WorkerFailed(f"set aside: the process died {_DEATHS} times at it")


def _carried_out(order: Mapping[str, Any]) -> dict[str, Any]:
    directory = Path(order["directory"])
    match order["order"]:
        case "read":
            pace = unhurried(order["mb_per_second"])
            if order["locked"] is not None:
                return asdict(read_locked(directory, order["locked"], pace))
            reading = read_through(
                directory, samples=order["samples"], wav=order["wav"], archive=order["archive"], pace=pace
            )
            return asdict(reading)
        case "archive":
            copy = archive_copy(directory / order["wav"], directory / ARCHIVE_NAME, sha256=order["sha256"])
            return {**asdict(copy), "path": str(copy.path)}
        case "prove":
            check_archive(
                directory / order["wav"],
                directory / order["archive"],
                sha256=order["sha256"],
                archive_sha256=order["archive_sha256"],
            )
            return {}
        case "seal":
            return sealed_as_found(directory).as_json()
    raise ValueError(f"no such order: {order['order']}")


def _be_idle() -> None:
    """Take only what nobody else wants; where the system has no such class, be as nice as can be."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):
        os.nice(19)


def _orders() -> Iterator[str]:
    """The lines of the input. Where it ends in the middle of an order, the keeper is gone and so is this process: its
    successor gives the order again."""
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, name="orders", daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    """Serves until its input ends."""
    _be_idle()
    for line in _orders():
        try:
            answer: dict[str, Any] = {"done": _carried_out(json.loads(line))}
        except (MediaError, OSError, ValueError) as error:
            answer = {"failed": str(error)}
        except Exception as error:  # noqa: BLE001 - the edge: whatever a file makes fail must not end the process
            _log.exception("an order failed: %s", line.rstrip())
            answer = {"failed": repr(error)}
        print(json.dumps(answer, ensure_ascii=True), flush=True)


if __name__ == "__main__":
    main()
