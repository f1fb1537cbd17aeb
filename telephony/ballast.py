"""Room that is kept for the moment when there is none: what frees the disk has to be written into the book first, and
on a disk that somebody filled to the last byte it could not be (requirement 6.4-a)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)

MOST_BYTES = 8_000_000


class Ballast:
    """A file of nothing, a quarter of the ``mark`` (bytes) below which the disk is freed, at most ``MOST_BYTES``."""

    def __init__(self, path: Path, *, mark: int) -> None:
        self._path = path
        self._size = min(MOST_BYTES, mark // 4)
        self._mark = mark
        self._taken = path.exists()

    def take(self, free: int) -> None:
        """With ``free`` bytes on the disk take the room, if that leaves twice the mark. What cannot be had is done
        without."""
        if self._taken or free < 2 * self._mark + self._size:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
            self._taken = True
        except OSError as error:
            _log.warning("no room is kept for a full disk: %s", error)
            self._path.unlink(missing_ok=True)

    def drop(self, free: int) -> None:
        """With so few ``free`` bytes that the book cannot be written, give the room back."""
        if self._taken and free < self._size:
            self._path.unlink(missing_ok=True)
            self._taken = False
