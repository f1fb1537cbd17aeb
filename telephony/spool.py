"""Where the book's lines wait while the database cannot be written: a file, synced at every append."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from telephony.bookwork import BookWork, from_line, to_line
from telephony.sealing import sync_directory

_log = logging.getLogger(__name__)


class Spool:
    """Lines of work in the order in which they came. One thread uses it at a time.

    Beside it lies ``book.refused``: what the book itself refused, and what is no line of work, each with the reason.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "book.spool"
        self._refused = directory / "book.refused"
        self._taken = 0
        directory.mkdir(parents=True, exist_ok=True)

    def append(self, works: Sequence[BookWork]) -> None:
        """Keep ``works``; all are on disk when this returns, none when it raises OSError."""
        _append(self._path, b"".join(map(to_line, works)))

    def set_aside(self, line: bytes, reason: str) -> None:
        """Keep a line that will never be written into the book. Raises OSError."""
        _append(self._refused, line.rstrip(b"\n") + b" " + reason.replace("\n", " ").encode(errors="replace") + b"\n")

    def oldest(self, limit: int) -> list[tuple[BookWork, int]]:
        """The first works not yet taken, each with the position behind it. Raises OSError.

        What is no line of work (the torn last line of a killed process) is set aside.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            file.seek(self._taken)
            works: list[tuple[BookWork, int]] = []
            while len(works) < limit and (line := file.readline()):
                try:
                    works.append((from_line(line), file.tell()))
                except ValueError as error:
                    if works:
                        break
                    _log.error("unreadable line in the spool set aside: %r", line[:200])
                    self.set_aside(line, f"unreadable: {error}")
                    self.take(file.tell())
            if not works:
                self.take(file.tell())  # nothing is left: remove what could not be removed before
            return works

    def take(self, position: int) -> None:
        """Everything before ``position`` is in the book. Raises OSError where the emptied file cannot be removed."""
        self._taken = position
        if self._path.exists() and position >= self._path.stat().st_size:
            self._path.unlink()
            self._taken = 0


def _append(path: Path, data: bytes) -> None:
    """Append whole lines or nothing; a torn line of a killed process is closed first, so that it spoils no other."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        try:
            _write(descriptor, data)
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        sync_directory(path.parent)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
