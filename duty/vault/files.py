"""Files in the strongroom: sealed beside the plain one, read back from the disk and proven before the plain one may go,
and opened again at any place.

``NAME`` is sealed as ``NAME.sealed``; what is being written has a name that begins with a dot. Everything may be
repeated after any kind of death.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from duty.durable import sync_directory
from duty.vault.errors import NotAuthentic
from duty.vault.format import CHUNK_BYTES, HEAD_BYTES, ChunkCipher, Head, context_of, new_head, read_head

SUFFIX = ".sealed"

Pace = Callable[[int], None]
"""Hears of bytes that were read and takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """One file of a call in the strongroom: its name without the suffix, sizes in bytes, SHA-256 of what it holds and
    of what lies on the disk."""

    name: str
    plain_bytes: int
    plain_sha256: str
    sealed_bytes: int
    sealed_sha256: str


def sealed_path(directory: Path, name: str) -> Path:
    """Where the sealed form of ``name`` lies."""
    return directory / f"{name}{SUFFIX}"


def seal_file(directory: Path, name: str, *, call_id: str, data_key: bytes, pace: Pace = lambda _: None) -> SealedFile:
    """Seals ``name`` beside itself and proves it: what lies on the disk, read back and opened, is the plain file. The
    plain file is not touched. Raises OSError; NotAuthentic for a disk that gives back something else."""
    plain, target = directory / name, sealed_path(directory, name)
    partial = directory / f".{name}{SUFFIX}.partial"
    context = context_of(call_id, name)
    try:
        _write(plain, partial, data_key, context, pace)
        made = prove_file(partial, name, data_key=data_key, context=context, pace=pace)
        if made.plain_sha256 != _sha256(plain, pace):
            raise NotAuthentic()
        partial.replace(target)
        sync_directory(directory)
    finally:
        partial.unlink(missing_ok=True)
    return made


def _write(plain: Path, partial: Path, data_key: bytes, context: bytes, pace: Pace) -> None:
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with plain.open("rb") as source, os.fdopen(descriptor, "wb") as sink:
        head = new_head(os.fstat(source.fileno()).st_size)
        cipher = ChunkCipher(data_key, head, context)
        sink.write(head.packed())
        for number in range(head.chunks):
            piece = source.read(head.chunk_bytes)
            sink.write(cipher.seal(number, piece))
            pace(len(piece))
        sink.flush()
        os.fsync(sink.fileno())
        os.posix_fadvise(sink.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # so that proving reads the disk


def prove_file(path: Path, name: str, *, data_key: bytes, context: bytes, pace: Pace = lambda _: None) -> SealedFile:
    """A sealed file read through with its key. Raises NotAuthentic, OSError."""
    plain, whole = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as file:
        packed = file.read(HEAD_BYTES)
        head = _whole_head(packed, os.fstat(file.fileno()).st_size)
        cipher = ChunkCipher(data_key, head, context)
        whole.update(packed)
        for number in range(head.chunks):
            sealed = file.read(head.place(number)[1])
            whole.update(sealed)
            plain.update(cipher.open(number, sealed))
            pace(len(sealed))
    return SealedFile(
        name=name,
        plain_bytes=head.plain_bytes,
        plain_sha256=plain.hexdigest(),
        sealed_bytes=head.sealed_bytes,
        sealed_sha256=whole.hexdigest(),
    )


class OpenedFile:
    """A sealed file as its plain content, in pieces from any place to any place."""

    def __init__(self, path: Path, *, data_key: bytes, context: bytes) -> None:
        """Raises OSError, NotAuthentic."""
        self._path = path
        with path.open("rb") as file:
            head = _whole_head(file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size)
        self._cipher = ChunkCipher(data_key, head, context)
        self._head: Head = head

    @property
    def size(self) -> int:
        """Bytes of the plain content."""
        return self._head.plain_bytes

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` until before ``end``. Raises NotAuthentic in the middle where it was altered."""
        end = self.size if end is None else min(end, self.size)
        step = self._head.chunk_bytes
        with self._path.open("rb") as file:
            for number in range(start // step, -(-end // step)):
                at, length = self._head.place(number)
                file.seek(at)
                piece = self._cipher.open(number, file.read(length))
                yield piece[max(0, start - number * step) : end - number * step]

    def read(self) -> bytes:
        """All of it. Raises NotAuthentic, OSError."""
        return b"".join(self.pieces())


def restore_file(directory: Path, sealed: SealedFile, *, call_id: str, data_key: bytes) -> None:
    """The plain file again beside its sealed form, proven by its hash. Raises NotAuthentic, OSError."""
    source = OpenedFile(
        sealed_path(directory, sealed.name), data_key=data_key, context=context_of(call_id, sealed.name)
    )
    partial = directory / f".{sealed.name}.partial"
    try:
        partial.unlink(missing_ok=True)
        digest = hashlib.sha256()
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "wb") as sink:
            for piece in source.pieces():
                digest.update(piece)
                sink.write(piece)
            sink.flush()
            os.fsync(sink.fileno())
        if digest.hexdigest() != sealed.plain_sha256:
            raise NotAuthentic()
        partial.replace(directory / sealed.name)
        sync_directory(directory)
    finally:
        partial.unlink(missing_ok=True)


def wipe(path: Path) -> None:
    """Overwrites a file where it lies and removes it. What a disk keeps of it besides (a log of the file system, the
    spare blocks of an SSD, a snapshot) is out of our hands. Doing it twice is harmless. Raises OSError."""
    try:
        with path.open("r+b") as file:
            left = os.fstat(file.fileno()).st_size
            while left > 0:
                left -= file.write(b"\0" * min(left, CHUNK_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    path.unlink()


@contextmanager
def in_memory(source: OpenedFile) -> Iterator[Path]:
    """The content as a file that lies in memory only, for readers that want a path. Raises NotAuthentic, OSError."""
    descriptor = os.memfd_create("opened", os.MFD_CLOEXEC)
    try:
        for piece in source.pieces():
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view) :]
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _whole_head(packed: bytes, size: int) -> Head:
    head = read_head(packed)
    if head.sealed_bytes != size:
        raise NotAuthentic()
    return head


def _sha256(path: Path, pace: Pace) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
            pace(len(piece))
    return digest.hexdigest()
