"""Whether calls, recording rows and files agree, and what of a recording may be removed: both decided here, purely
(requirements 6.1-d, 6.2-c).

A difference is named, never mended by guessing; what can be mended without guessing (an unbooked recording that can be
sealed, a file that a killed process was about to remove) comes out as an act to be done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

MINIMUM_RETENTION = timedelta(days=365)
"""Whatever the settings say (requirement 6.2-c)."""
SETTLING = timedelta(minutes=5)
"""How long after its end a call's recording may take to be sealed and booked."""
HEARD = ("done", "set_aside", "kept")
"""States of a recording with which transcription has finished."""
SEALED = ("waiting", "running", *HEARD)
"""States of a recording whose files are named by its row."""
WAV_HEADER_BYTES = 44
FRAME_BYTES = 4
"""Two channels of 16 bits."""


class DifferenceKind(StrEnum):
    """What does not agree."""

    CALL_NOT_LIVE = "call_not_live"
    CALL_NOT_BOOKED = "call_not_booked"
    ROW_MISSING = "row_missing"
    NOT_SEALED = "not_sealed"
    FILE_MISSING = "file_missing"
    FILE_LENGTH = "file_length"
    FILE_ALTERED = "file_altered"
    RAW_MISSING = "raw_missing"
    CHAIN_ALTERED = "chain_altered"
    CHAIN_DIFFERS = "chain_differs"
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_DIFFERS = "manifest_differs"
    ARCHIVE_MISSING = "archive_missing"
    ARCHIVE_LENGTH = "archive_length"
    ARCHIVE_ALTERED = "archive_altered"
    LOCKED_IN_CLEAR = "locked_in_clear"
    NOT_REMOVED = "not_removed"
    UNREADABLE = "unreadable"
    ORPHAN = "orphan"
    STRAY = "stray"


DEEP = frozenset(
    {
        DifferenceKind.FILE_ALTERED,
        DifferenceKind.CHAIN_ALTERED,
        DifferenceKind.CHAIN_DIFFERS,
        DifferenceKind.ARCHIVE_ALTERED,
    }
)
"""Found only by reading the files; a look at their names neither raises nor settles these."""
LIVE = frozenset({DifferenceKind.CALL_NOT_LIVE, DifferenceKind.CALL_NOT_BOOKED})
"""Found only by the process that has the calls."""
SHALLOW = frozenset(DifferenceKind) - DEEP - LIVE


class CustodyAct(StrEnum):
    """What is done to the files of a sealed recording; each a link of the custody chain."""

    ARCHIVE = "archive"
    RELEASE_RAW = "release_raw"
    RELEASE_WAV = "release_wav"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that does not agree. ``call_id`` may be of a call that the book does not know; ``place`` is relative to
    the recordings root."""

    kind: DifferenceKind
    call_id: str = ""
    place: str = ""
    detail: str = ""

    @property
    def subject(self) -> str:
        """What the alarm is about: one alarm for each."""
        return f"{self.kind.value} {self.call_id or self.place}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One file of a call under secrecy as it lies sealed on the disk; ``name`` is that of the plain one."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What the book says of one call's recording; ``state`` None where it has no row. Paths are relative to the
    recordings root, sizes in bytes, ``samples`` per channel. ``locked``: its files are sealed for secrecy and are
    these; ``moving``: they are just being sealed, or restored."""

    call_id: str
    ended_at: datetime | None
    state: str | None
    path: str = ""
    sha256: str = ""
    samples: int = 0
    chain: str = ""
    archive_path: str = ""
    archive_sha256: str = ""
    archive_bytes: int = 0
    raw_released: bool = False
    wav_released: bool = False
    removed: bool = False
    locked: tuple[Locked, ...] | None = None
    moving: bool = False

    @property
    def sealed(self) -> bool:
        """Whether the row names files."""
        return self.state not in (None, "open", "none")

    @property
    def place(self) -> str:
        """The directory of the recording."""
        return self.path.rpartition("/")[0]

    def settled(self, now: datetime) -> bool:
        """Whether the call ended so long ago that its recording must be sealed and booked."""
        return self.ended_at is not None and now - self.ended_at >= SETTLING


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What ``sealed.json`` says; ``raw_channels`` counts the sides that sent anything."""

    wav_sha256: str
    samples: int
    chain: str
    raw_channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """What lies in one directory below the recordings root, by name and size alone. ``archives`` are Opus copies by
    name; ``raw_files`` the raw channels; ``locked`` what is sealed for secrecy, by the plain files' names; ``strays``
    names that belong to no recording."""

    place: str
    call_id: str
    changed_at: datetime
    wav_bytes: int | None = None
    archives: Mapping[str, int] = field(default_factory=dict)
    raw_files: tuple[str, ...] = ()
    sidecar: bool = False
    manifest: Manifest | None = None
    locked: Mapping[str, int] = field(default_factory=dict)
    strays: tuple[str, ...] = ()

    @property
    def audible(self) -> bool:
        """Whether there is anything that is sound, or may become it."""
        return self.in_clear or bool(self.locked)

    @property
    def in_clear(self) -> bool:
        """Whether anything of it can be heard without a key."""
        return self.wav_bytes is not None or bool(self.raw_files) or bool(self.archives)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``differences``; ``adopt``: directories that no row names and that may be sealed into the book; ``finish``:
    calls whose files a killed process had booked as removed and not removed yet."""

    differences: tuple[Difference, ...]
    adopt: tuple[Shelved, ...]
    finish: tuple[str, ...]


def joined(parts: Iterable[Comparison]) -> Comparison:
    """All of them as one."""
    kept = list(parts)
    return Comparison(
        differences=tuple(each for part in kept for each in part.differences),
        adopt=tuple(each for part in kept for each in part.adopt),
        finish=tuple(each for part in kept for each in part.finish),
    )


def compare_row(row: Booked, here: Shelved | None, *, now: datetime) -> Comparison:
    """An ended call against its directory: it has its row, and the row its files. Nothing is read but names and sizes;
    a call that lives is left to the process that has it."""
    adopt: list[Shelved] = []
    found: list[Difference] = []
    unfinished = False
    if not row.settled(now) or row.moving:
        pass
    elif not row.sealed:
        found = _unsealed(row, here, adopt, now)
    elif row.removed:
        unfinished = here is not None and here.audible
    elif row.locked is not None:
        found = _locked_files(row, row.locked, here)
    else:
        found = _files(row, here)
        unfinished = here is not None and _half_released(row, here)
    return Comparison(differences=tuple(found), adopt=tuple(adopt), finish=(row.call_id,) if unfinished else ())


def compare_shelf(here: Shelved, *, claimed: bool, now: datetime) -> Comparison:
    """A directory by itself: a row names it (``claimed``), and nothing lies in it that belongs to no recording."""
    found = [Difference(kind=DifferenceKind.STRAY, place=f"{here.place}/{name}") for name in here.strays]
    orphaned = not claimed and now - here.changed_at >= SETTLING
    if orphaned:
        found.append(Difference(kind=DifferenceKind.ORPHAN, call_id=here.call_id, place=here.place))
    return Comparison(differences=tuple(found), adopt=(here,) if orphaned else (), finish=())


def _unsealed(row: Booked, here: Shelved | None, adopt: list[Shelved], now: datetime) -> list[Difference]:
    """A recording that is still open belongs to the process that has it; it or its successor seals it."""
    place = here.place if here is not None else ""
    if row.state == "open":
        return [Difference(kind=DifferenceKind.NOT_SEALED, call_id=row.call_id, place=place)]
    if here is not None and here.audible and now - here.changed_at >= SETTLING:
        adopt.append(here)
    if row.state is None:
        return [Difference(kind=DifferenceKind.ROW_MISSING, call_id=row.call_id, place=place)]
    if here is None or not here.audible:
        return []
    return [Difference(kind=DifferenceKind.ORPHAN, call_id=row.call_id, place=place)]


def _half_released(row: Booked, here: Shelved) -> bool:
    return (row.raw_released and bool(here.raw_files)) or (row.wav_released and here.wav_bytes is not None)


def _files(row: Booked, here: Shelved | None) -> list[Difference]:
    def differs(kind: DifferenceKind, detail: str = "") -> Difference:
        return Difference(kind=kind, call_id=row.call_id, place=row.place, detail=detail)

    found: list[Difference] = []
    if not row.wav_released:
        if here is None or here.wav_bytes is None:
            found.append(differs(DifferenceKind.FILE_MISSING, row.path.rpartition("/")[2]))
        elif here.wav_bytes != WAV_HEADER_BYTES + row.samples * FRAME_BYTES:
            found.append(differs(DifferenceKind.FILE_LENGTH, str(here.wav_bytes)))
    if row.archive_path:
        name = row.archive_path.rpartition("/")[2]
        size = here.archives.get(name) if here is not None else None
        if size is None:
            found.append(differs(DifferenceKind.ARCHIVE_MISSING, name))
        elif size != row.archive_bytes:
            found.append(differs(DifferenceKind.ARCHIVE_LENGTH, str(size)))
    if here is None:
        return found
    if here.manifest is None:
        found.append(differs(DifferenceKind.MANIFEST_MISSING))
    else:
        found += [differs(kind) for kind in _manifest(row, here, here.manifest)]
    return found


def _locked_files(row: Booked, locked: Iterable[Locked], here: Shelved | None) -> list[Difference]:
    """Under secrecy the sealed files are there, and nothing beside them."""
    sizes = here.locked if here is not None else {}
    found = [(DifferenceKind.FILE_MISSING, file.name) for file in locked if file.name not in sizes]
    found += [
        (DifferenceKind.FILE_LENGTH, f"{file.name} {sizes[file.name]}")
        for file in locked
        if sizes.get(file.name, file.bytes) != file.bytes
    ]
    if here is not None and (here.in_clear or here.sidecar):
        found.append((DifferenceKind.LOCKED_IN_CLEAR, ""))
    manifest = here.manifest if here is not None else None
    if manifest is None:
        found.append((DifferenceKind.MANIFEST_MISSING, ""))
    elif (manifest.wav_sha256, manifest.samples) != (row.sha256, row.samples):
        found.append((DifferenceKind.MANIFEST_DIFFERS, ""))
    return [
        Difference(kind=kind, call_id=row.call_id, place=row.place, detail=detail)
        for kind, detail in dict(found).items()
    ]


def _manifest(row: Booked, here: Shelved, manifest: Manifest) -> list[DifferenceKind]:
    if (manifest.wav_sha256, manifest.samples) != (row.sha256, row.samples):
        return [DifferenceKind.MANIFEST_DIFFERS]
    if row.chain and manifest.chain != row.chain:
        return [DifferenceKind.MANIFEST_DIFFERS]
    complete = row.raw_released or (len(here.raw_files) == manifest.raw_channels and here.sidecar)
    return [] if complete else [DifferenceKind.RAW_MISSING]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reading a recording's files through gave: the SHA-256 of the WAV and of the copy (None where not read),
    that of the WAV as the raw channels give it, the altered places and the last link of the chain; of a call under
    secrecy that of each sealed file."""

    wav_sha256: str | None = None
    archive_sha256: str | None = None
    rendered_sha256: str | None = None
    altered: tuple[str, ...] = ()
    chain: str | None = None
    locked: Mapping[str, str | None] = field(default_factory=dict)


def judge(row: Booked, reading: Reading) -> list[Difference]:
    """What a full reading says against the row; files that are not there are ``compare``'s matter."""
    found: list[tuple[DifferenceKind, str]] = []
    for file in row.locked or ():
        if reading.locked.get(file.name) not in (None, file.sha256):
            found.append((DifferenceKind.FILE_ALTERED, file.name))
    if reading.wav_sha256 not in (None, row.sha256):
        found.append((DifferenceKind.FILE_ALTERED, ""))
    if reading.archive_sha256 not in (None, row.archive_sha256):
        found.append((DifferenceKind.ARCHIVE_ALTERED, ""))
    if reading.altered:
        found.append((DifferenceKind.CHAIN_ALTERED, "; ".join(reading.altered)))
    elif reading.rendered_sha256 not in (None, row.sha256):
        found.append((DifferenceKind.CHAIN_DIFFERS, "WAV"))
    elif row.chain and reading.chain not in (None, row.chain):
        found.append((DifferenceKind.CHAIN_DIFFERS, "chain"))
    return [
        Difference(kind=kind, call_id=row.call_id, place=row.place, detail=detail)
        for kind, detail in dict(found).items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What decides whether files of one sealed recording may go. ``busy``: transcription has not finished with it;
    ``held``: put under a hold; ``secret``: its call is under secrecy; ``unfinished``: an entry about the call is not
    finalized; ``proven``: a copy is booked; ``differs``: an open difference names it."""

    ended_at: datetime
    retention: timedelta
    busy: bool = False
    held: bool = False
    secret: bool = False
    unfinished: bool = False
    proven: bool = False
    differs: bool = False
    raw_released: bool = False
    wav_released: bool = False
    removed: bool = False


def refusal(act: CustodyAct, kept: Kept, now: datetime) -> str | None:
    """Why ``act`` may not be done, as a code, or None: nobody may do it then."""
    if kept.removed:
        return "recording_removed"
    if kept.differs:
        return "recording_differs"
    if kept.held:
        return "recording_held"
    if kept.secret and act is not CustodyAct.REMOVE:
        return "under_secrecy"
    if kept.unfinished:
        return "recording_entry_open"
    match act:
        case CustodyAct.RELEASE_RAW:
            return "already_released" if kept.raw_released else None
        case CustodyAct.RELEASE_WAV if not kept.proven:
            return "no_proven_copy"
        case CustodyAct.RELEASE_WAV if kept.wav_released:
            return "already_released"
        case CustodyAct.REMOVE if now - kept.ended_at <= max(kept.retention, MINIMUM_RETENTION):
            return "retention_not_over"
    return "transcription_running" if kept.busy else None
