"""What lies below the recordings root, by name and size; and reading one recording's files through."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from duty.domain.custody import CustodyAct, Manifest, Reading, Shelved
from duty.domain.custody_pages import ShelfPage
from duty.durable import sync_directory
from duty.vault.files import SUFFIX, sealed_path
from telephony.media_errors import NotARecordingError
from telephony.recording_chain import check_chain
from telephony.recording_files import SIDECAR_NAME, raw_file, read_sidecar
from telephony.sealing import (
    CHANNELS,
    MANIFEST_NAME,
    PEAKS_NAME,
    WAV_NAME,
    SealedRecording,
    rendered_sha256,
    salvage,
)

ARCHIVE_NAME = "recording.opus"
SECRECY_NAME = "secrecy.json"
"""Beside the files of a call under secrecy: its wrapped key and their hashes."""
_CHUNK_BYTES = 1 << 18
_OWN = frozenset({WAV_NAME, PEAKS_NAME, MANIFEST_NAME, SIDECAR_NAME, SECRECY_NAME})
_PLACE = re.compile(r"[0-9]{4}/[0-9]{2}/[0-9]{2}/[0-9a-f]{32}")
"""``YYYY/MM/DD/<call id>``; everything else is a stray."""
_PAGE = 500
_SHELF, _STRAY = True, False
_What = bool | OSError
"""What a path is: a recording's directory, a stray, or what the disk said instead."""

Pace = Callable[[int], None]
"""Hears of bytes that were read and takes its time."""


def unhurried(mb_per_second: float, *, clock: Callable[[], float] = time.monotonic) -> Pace:
    """A pace that keeps reading below ``mb_per_second``."""
    due = clock()

    def pace(read: int) -> None:
        nonlocal due
        due = max(due, clock() - 1.0) + read / (mb_per_second * 1_000_000)
        ahead = due - clock()
        if ahead > 0:
            time.sleep(ahead)

    return pace


class Shelves:
    """Every recording's directory below ``root``, by names and sizes, what lies there and is none, and what the disk
    does not let one look into. Raises OSError where ``root`` itself cannot be listed."""

    def __init__(self, root: Path, *, page: int = _PAGE) -> None:
        self._root = root
        self._page = page

    def pages(self) -> Iterator[ShelfPage]:
        """All of them, so many at a time, in no order; a directory that goes while one looks is passed over."""
        paths = self._paths()
        while some := list(islice(paths, self._page)):
            shelves: list[Shelved] = []
            unreadable = {path: str(what) for path, what in some if isinstance(what, OSError)}
            for path, what in some:
                try:
                    if what is _SHELF:
                        shelves.append(look(self._root, self._root / path))
                except FileNotFoundError:
                    continue
                except OSError as error:
                    unreadable[path] = str(error)
            strays = [path for path, what in some if what is _STRAY]
            yield ShelfPage(shelves=shelves, strays=strays, unreadable=unreadable)

    def has(self, place: str) -> bool:
        """Whether ``place`` is a recording's directory, or one of which nobody can say."""
        try:
            return _PLACE.fullmatch(place) is not None and (self._root / place).is_dir()
        except OSError:
            return True

    def at(self, place: str) -> Shelved | None:
        """What lies there, where that can be seen."""
        try:
            return look(self._root, self._root / place) if self.has(place) else None
        except OSError:
            return None

    def last(self, call_id: str) -> str | None:
        """The place of the call's directory, of several that of the last day."""
        beside: list[tuple[str, _What]] = []
        return next((at for day in reversed(self._days(beside)) if self.has(at := f"{day}/{call_id}")), None)

    def _paths(self) -> Iterator[tuple[str, _What]]:
        """Everything that lies in a day; and what lies where only years, months and days should."""
        beside: list[tuple[str, _What]] = []
        days = self._days(beside)
        yield from beside
        for day in days:
            try:
                with os.scandir(self._root / day) as entries:
                    for entry in entries:
                        path = f"{day}/{entry.name}"
                        yield path, _SHELF if _PLACE.fullmatch(path) is not None and entry.is_dir() else _STRAY
            except OSError as error:
                yield day, error

    def _days(self, beside: list[tuple[str, _What]]) -> list[str]:
        level = [""]
        for digits in (4, 2, 2):
            deeper: list[str] = []
            for parent in level:
                try:
                    for entry in sorted((self._root / parent).iterdir()):
                        name = entry.name
                        path = f"{parent}/{name}" if parent else name
                        if len(name) == digits and name.isascii() and name.isdigit() and entry.is_dir():
                            deeper.append(path)
                        else:
                            beside.append((path, _STRAY))
                except OSError as error:
                    if not parent:
                        raise
                    beside.append((parent, error))
            level = deeper
        return level


def look(root: Path, directory: Path) -> Shelved:
    """One directory by names and sizes. Raises OSError."""
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    changed = directory.stat().st_mtime
    with os.scandir(directory) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            changed = max(changed, status.st_mtime)
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
            else:
                sizes[entry.name] = status.st_size
    locked = {name: sizes.pop(name) for name in sorted(sizes) if name.endswith(SUFFIX) and not name.startswith(".")}
    speakers = {f"{speaker.value}." for speaker in CHANNELS}
    raw = tuple(sorted(name for name in sizes if name[: name.find(".") + 1] in speakers))
    archives = {name: size for name, size in sizes.items() if name.endswith(".opus") and not name.startswith(".")}
    own = {*_OWN, *raw, *archives}
    return Shelved(
        place=str(directory.relative_to(root)),
        call_id=directory.name,
        changed_at=datetime.fromtimestamp(changed, UTC),
        wav_bytes=sizes.get(WAV_NAME),
        archives=archives,
        raw_files=raw,
        sidecar=SIDECAR_NAME in sizes,
        locked={name.removesuffix(SUFFIX): size for name, size in locked.items()},
        manifest=_manifest(directory / MANIFEST_NAME) if MANIFEST_NAME in sizes else None,
        strays=tuple(sorted(name for name in folders | (sizes.keys() - own) if not name.startswith("."))),
    )


def _manifest(path: Path) -> Manifest | None:
    """None also for one that cannot be read: it is as good as missing."""
    try:
        content: Any = json.loads(path.read_bytes())
        return Manifest(
            wav_sha256=content["wav_sha256"],
            samples=content["samples"],
            chain=content["chain"] or "",
            raw_channels=sum(1 for samples in content["raw_samples"].values() if samples),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_locked(directory: Path, names: Iterable[str], pace: Pace) -> Reading:
    """Reads the sealed files of a call under secrecy to their ends, which takes no key. Raises OSError."""
    return Reading(locked={name: sha256_of(sealed_path(directory, name), pace) for name in names})


def read_through(directory: Path, *, samples: int, wav: str = "", archive: str = "", pace: Pace) -> Reading:
    """Reads the files of one recording to their ends: the WAV and the copy by these names where given, and the raw
    channels where there are any, whose WAV would have ``samples``. What is not there is left out. Raises OSError."""
    raw = {speaker: found for speaker in CHANNELS if (found := raw_file(directory, speaker)) is not None}
    contents = read_sidecar(directory)
    check = check_chain(contents.raw, {speaker.value: path for speaker, (path, _) in raw.items()}) if raw else None
    if check is not None:
        pace(sum(path.stat().st_size for path, _ in raw.values()))
    return Reading(
        wav_sha256=sha256_of(directory / wav, pace) if wav else None,
        archive_sha256=sha256_of(directory / archive, pace) if archive else None,
        rendered_sha256=rendered_sha256(directory, samples, pace) if raw else None,
        altered=tuple(map(str, check.altered)) if check is not None else (),
        chain=check.head if check is not None else None,
    )


def sha256_of(path: Path, pace: Pace = lambda _: None) -> str | None:
    """The SHA-256 of a file, None where there is none. Raises OSError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                digest.update(piece)
                pace(len(piece))
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def sealed_as_found(directory: Path) -> SealedRecording:
    """A recording that was found, sealed as after a crash; one whose working files were released is what its manifest
    says, if the WAV is that. Raises NotARecordingError, RecordingNotSealedError, OSError."""
    try:
        return salvage(directory)
    except NotARecordingError:
        path = directory / MANIFEST_NAME
        content: Any = json.loads(path.read_bytes()) if path.exists() else None
    try:
        sealed = SealedRecording.from_json(directory, content)
    except (KeyError, TypeError, ValueError) as error:
        raise NotARecordingError(f"{directory.name} holds neither raw channels nor a manifest") from error
    if sha256_of(sealed.wav_path) != sealed.wav_sha256:
        raise NotARecordingError(f"{directory.name} holds another WAV than its manifest says")
    return sealed


def remove(directory: Path, act: CustodyAct) -> int:
    """Removes what ``act`` lets go, for good; how many bytes. Doing it twice is harmless. A directory in it is nobody's
    recording: it stays, a stray. Raises OSError for the first file that cannot be removed, when the others are."""
    freed = 0
    kept: OSError | None = None
    if not directory.is_dir():
        return 0
    for path in sorted(directory.iterdir()):
        if not _goes(path.name, act) or (path.is_dir() and not path.is_symlink()):
            continue
        try:
            size = path.lstat().st_size
            path.unlink()
            freed += size
        except OSError as error:
            kept = kept or error
    if freed:
        sync_directory(directory)
    if kept is not None:
        raise kept
    return freed


def _goes(name: str, act: CustodyAct) -> bool:
    raw = name.partition(".")[0] in {speaker.value for speaker in CHANNELS}
    match act:
        case CustodyAct.RELEASE_RAW:
            return raw
        case CustodyAct.RELEASE_WAV:
            return name == WAV_NAME
        case CustodyAct.REMOVE:
            return name != MANIFEST_NAME
    return False
