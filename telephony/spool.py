"""Where every line of the book goes first: a file that is only appended to, and removed when the book has it all.

A line is *written* when the kernel has it, which outlives this process, and *synced* when the disk has it, which
outlives a power cut. Each file bears a name of its own, so that the book can keep, in the transaction that takes lines
over, how far into which file it has come: whatever is killed between, no line is taken twice.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from duty.durable import sync_directory
from telephony.bookwork import BookWork, from_line, to_line

_log = logging.getLogger(__name__)

_NAME = "spool"
_READ_BYTES = 1 << 20
LARGEST_BYTES = 16 << 20
"""Beyond this a spool is removed as soon as the book has it all."""


class Mark(NamedTuple):
    """How far into which spool: everything before ``position`` is in the book. A spool without a name, whose first line
    is torn, cannot be told from another and gets no mark."""

    spool: str
    position: int


class Spool:
    """Lines of work in the order in which they came. One thread appends, one syncs, one takes.

    Everything before the position ``taken`` is in the book, ``end`` is that behind the last line.

    Beside it lies ``book.refused``: what the book itself refused, and what is no line of work, each with the reason.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "book.spool"
        self._refused = directory / "book.refused"
        self._changing = Lock()
        self._descriptor: int | None = None
        self._unlisted = False
        directory.mkdir(parents=True, exist_ok=True)
        self.name, self.taken, self.end = _found(self._path)
        self.is_fresh = self.end == 0
        """True where this process began the file, so that no mark of it can be in the book."""

    @property
    def is_empty(self) -> bool:
        """True when the book has every line."""
        return self.taken >= self.end

    @property
    def is_large(self) -> bool:
        """True when it had better be removed at the first occasion."""
        return self.end > LARGEST_BYTES

    def append(self, works: Sequence[BookWork]) -> None:
        """Write ``works``, all of them or, when it raises OSError, none."""
        data = b"".join(map(to_line, works))
        with self._changing:
            descriptor = self._opened()
            size = os.fstat(descriptor).st_size
            if size == 0:
                name = secrets.token_hex(16)
                begun = json.dumps({_NAME: name}).encode() + b"\n"
            else:
                name, begun = self.name, b"" if os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
            _append(descriptor, begun + data, size)
            if size == 0:
                self.name, self.taken, self.is_fresh = name, len(begun), True
            self.end = size + len(begun) + len(data)

    def sync(self) -> None:
        """Have the disk keep what was appended before, and the file's name. Raises OSError; the next call tries both
        again."""
        with self._changing:
            if self._descriptor is None:
                return  # taken and removed meanwhile: the book has it
            copy, unlisted, name = os.dup(self._descriptor), self._unlisted, self.name
        try:
            os.fdatasync(copy)
        finally:
            os.close(copy)
        if unlisted:
            sync_directory(self._path.parent)
            with self._changing:
                self._unlisted = self.name != name  # another file meanwhile, whose name is not yet kept

    def set_aside(self, line: bytes, reason: str) -> None:
        """Keep a line that will never be written into the book. Raises OSError."""
        data = line.rstrip(b"\n") + b" " + reason.replace("\n", " ").encode(errors="replace") + b"\n"
        is_new = not self._refused.exists()
        descriptor = os.open(self._refused, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _append(descriptor, data, os.fstat(descriptor).st_size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_directory(self._path.parent)

    def oldest(self, limit: int) -> list[tuple[BookWork, Mark]]:
        """The first works not yet taken, each with the mark behind it. Raises OSError.

        What is no line of work (the torn last line of a killed process) is set aside.
        """
        works: list[tuple[BookWork, Mark]] = []
        position = self.taken
        for line in self._lines():
            position += len(line)
            try:
                works.append((from_line(line), Mark(self.name, position)))
            except ValueError as error:
                if works:
                    break
                _log.error("unreadable line in the spool set aside: %r", line[:200])
                self.set_aside(line, f"unreadable: {error}")
                self.take(position)
            if len(works) == limit:
                break
        return works

    def take(self, position: int) -> None:
        """Everything before ``position`` is in the book."""
        self.taken = max(self.taken, position)

    def remove(self) -> None:
        """Remove the file where the book has it all. Raises OSError where it cannot be removed."""
        with self._changing:
            if not self.end or self.taken < self.end:
                return
            self._path.unlink(missing_ok=True)
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor, self.taken, self.end, self.is_fresh = None, 0, 0, True

    def _opened(self) -> int:
        if self._descriptor is None:
            self._unlisted = True  # one that is there may be of a process killed before the disk had its name
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor

    def _lines(self) -> list[bytes]:
        """Whole lines behind what is taken, a bounded number of bytes."""
        left = self.end - self.taken
        if left <= 0:
            return []
        with self._path.open("rb") as file:
            file.seek(self.taken)
            data = file.read(min(left, _READ_BYTES))
            if len(data) < left and not data.endswith(b"\n"):
                data += file.readline()
        whole, torn = data.split(b"\n")[:-1], data.rpartition(b"\n")[2]
        return [line + b"\n" for line in whole] + ([torn] if torn else [])


def _found(path: Path) -> tuple[str, int, int]:
    """Name, beginning and end of what another process left; a file without a name begins with its first line."""
    try:
        with path.open("rb") as file:
            first = file.readline()
            end = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return "", 0, 0
    with suppress(ValueError):
        header = json.loads(first)
        if isinstance(header, dict) and isinstance(header.get(_NAME), str):
            return header[_NAME], len(first), end
    return "", 0, end


def _append(descriptor: int, data: bytes, size: int) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
