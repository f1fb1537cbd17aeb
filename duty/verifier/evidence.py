"""What the tables and the recordings directory say about the entries of a page of links."""

from __future__ import annotations

import hashlib
import wave
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from duty.verifier.source import Row, Source, among

_CHUNK_BYTES = 1 << 20


class Evidence:
    """Rows by id, fetched a page at a time so that a book of any length fits; and the hashes of WAV files."""

    def __init__(self, source: Source, recordings_root: Path | None) -> None:
        self._source = source
        self.recordings_root = recordings_root
        self.entries: dict[Any, Row] = {}
        self.checks: dict[Any, list[Row]] = {}
        self.amendments: dict[Any, list[Row]] = {}
        self.calls: dict[Any, Row] = {}
        self.recordings: dict[Any, Row] = {}
        self.locked: set[Any] = set()
        self._warnings: list[tuple[str, str]] = []

    def gather(self, links: list[Row]) -> None:
        """Fetch everything that the entries of these links refer to, in place of the page before."""
        ids = sorted({link["entry_id"] for link in links if isinstance(link["entry_id"], int)})
        self.entries = self._by("id", "SELECT * FROM entries WHERE id IN ?", ids)
        self.checks = self._grouped("SELECT * FROM identity_checks WHERE entry_id IN ? ORDER BY id", ids)
        self.amendments = self._grouped("SELECT * FROM amendments WHERE entry_id IN ? ORDER BY id", ids)
        calls = sorted({entry["call_id"] for entry in self.entries.values() if isinstance(entry["call_id"], str)})
        self.calls = self._by("id", "SELECT * FROM calls WHERE id IN ?", calls)
        self.recordings = self._by("call_id", "SELECT * FROM recordings WHERE call_id IN ?", calls)
        query = "SELECT call_id FROM call_secrecy WHERE state IN ('wiping', 'sealed', 'lifting') AND call_id IN ?"
        self.locked = {row["call_id"] for row in among(self._source, query, calls)}

    def number_text(self, entry_id: object) -> str:
        """The printed number of a gathered entry, empty for any other."""
        return str(self.entries.get(entry_id, {}).get("number_text") or "")

    def warn(self, what: str, detail: str = "") -> None:
        """Something that is no break."""
        self._warnings.append((what, detail))

    def taken_warnings(self) -> list[tuple[str, str]]:
        """The warnings since the last time."""
        taken, self._warnings = self._warnings, []
        return taken

    def _by(self, key: str, query: str, ids: list[Any]) -> dict[Any, Row]:
        return {row[key]: row for row in among(self._source, query, ids)}

    def _grouped(self, query: str, ids: list[Any]) -> dict[Any, list[Row]]:
        found: dict[Any, list[Row]] = defaultdict(list)
        for row in among(self._source, query, ids):
            found[row["entry_id"]].append(row)
        return found


def wav_problem(path: Path, sha256: object, samples: object) -> tuple[str, str] | None:
    """What is wrong with a recording's file, or None: it is there, whole, and of the noted length per channel."""
    try:
        with path.open("rb") as file:
            found = hashlib.sha256()
            for chunk in iter(_reader(file), b""):
                found.update(chunk)
            if found.hexdigest() != sha256:
                return "recording_altered", ""
            file.seek(0)
            with wave.open(file) as wav:
                frames = wav.getnframes()
    except OSError as error:
        return "recording_missing", error.strerror or type(error).__name__
    except (wave.Error, EOFError):
        return "recording_length", "WAV"
    return None if frames == samples else ("recording_length", str(frames))


def _reader(file: Any) -> Callable[[], bytes]:
    return lambda: file.read(_CHUNK_BYTES)
