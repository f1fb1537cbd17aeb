"""The walk along the custody chain, and then every recording: its row against the chain, its files against its row.

What a recording's directory holds, as it is known from the description alone: ``recording.wav``; ``events.jsonl``, in
which each line ``segment`` or ``end`` carries as ``previous`` the SHA-256 of all bytes from the line of that kind
before it, that one included, up to itself, and each ``segment`` the SHA-256 of ``samples`` bytes from byte ``start`` of
its channel's raw file; and perhaps an Opus copy in Ogg.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from duty.verifier.canon import GENESIS, as_moment, digest, instant, parsed, written
from duty.verifier.evidence import wav_problem
from duty.verifier.report import Finding, RecordingsReport, finding
from duty.verifier.secrets import ACTS, FORM, MasterKeys, Secrets
from duty.verifier.source import Row, Source

Problem = tuple[str, str]

_YEAR = timedelta(days=365)
_STATES = ("waiting", "running", "done", "set_aside", "kept")
_FORM = {"act", "call", "at", "sha256", "archive_sha256", "reason"}
_COLUMNS = {"release_raw": "raw_released_at", "release_wav": "wav_released_at", "remove": "removed_at"}
_OPUS_PER_SAMPLE = 6
"""Opus counts at 48 kHz, the line at 8."""
_LENGTH_TOLERANCE = 160
_TAIL_BYTES = 1 << 17
_ROWS = (
    "SELECT r.*, c.ended_at AS ended_at, u.code AS unit_code FROM recordings r JOIN calls c ON c.id = r.call_id"
    " LEFT JOIN units u ON u.id = c.unit_id ORDER BY c.arrived_at, c.id"
)

Acts = dict[str, dict[str, dict[str, Any]]]
"""Call id to act to the chain's record of it."""


def verify_recordings(
    source: Source, root: Path | None, anchor: tuple[int, str] | None, keys: MasterKeys | None = None
) -> RecordingsReport:
    """Every recording until the first wrong thing. Without ``root`` no file is read; what is sealed for secrecy is also
    opened where ``keys`` are given."""
    secrets = Secrets(source, keys or {})
    acts: Acts = defaultdict(dict)
    position, previous, broken = 0, GENESIS, None
    for link in _links(source):
        problem = _link_problem(link, position + 1, previous, acts, secrets)
        if problem is None and anchor and anchor[0] == position + 1 and anchor[1] != link["hash"]:
            problem = ("custody_anchor_differs", "")
        if problem is not None:
            broken = _found(problem, position=position + 1, call=str(link["call_id"]))
            break
        position, previous = position + 1, link["hash"]
    if broken is None and anchor and anchor[0] > position:
        broken = _found(("custody_anchor_missing", ""), position=position + 1)
    good = 0
    for row in _rows(source) if broken is None else ():
        problem = _row_problem(row, acts.pop(row["call_id"], {})) or secrets.problem(root, row)
        in_clear = not secrets.is_locked(row["call_id"])
        if problem is None and in_clear and root is not None and row["removed_at"] is None and row["state"] in _STATES:
            problem = _file_problem(root, row)
        if problem is not None:
            broken = _found(problem, unit=row["unit_code"] or "", call=row["call_id"])
            break
        good += row["state"] in _STATES
    if broken is None and acts:
        broken = _found(("custody_row_differs", "recordings"), call=sorted(acts)[0])
    return RecordingsReport(
        good=good,
        read=root is not None,
        custody=position,
        custody_hash=previous,
        broken=broken,
        sealed_opened=secrets.opened,
    )


def _found(problem: Problem, *, unit: str = "", position: int = 0, call: str = "") -> Finding:
    return finding(problem[0], unit=unit, position=position, detail=problem[1], call=call)


def _links(source: Source) -> Iterator[Row]:
    for page in source.pages("SELECT * FROM custody ORDER BY position"):
        yield from page


def _rows(source: Source) -> Iterator[Row]:
    for page in source.pages(_ROWS):
        yield from page


def _link_problem(link: Row, position: int, previous: str, acts: Acts, secrets: Secrets) -> Problem | None:
    if link["position"] != position:
        return "custody_missing", ""
    if link["previous"] != previous:
        return "custody_previous_differs", ""
    payload = link["payload"]
    try:
        if not isinstance(payload, str) or digest(payload) != link["hash"]:
            return "custody_hash_differs", ""
        content = parsed(payload)
        if written(content) != payload:
            return "custody_malformed", "payload"
    except (ValueError, RecursionError):
        return "custody_malformed", "payload"
    record = content.get("record")
    is_secret = isinstance(record, dict) and record.get("act") in ACTS
    form = FORM if is_secret else _FORM
    if not isinstance(record, dict) or set(record) != form or content.get("previous") != previous:
        return "custody_malformed", "record"
    if content.get("position") != position:
        return "custody_malformed", "position"
    columns = {"act": link["act"], "call": link["call_id"], "at": instant(link["at"])}
    for name, value in columns.items():
        if record[name] != value:
            return "custody_malformed", name
    if is_secret:
        secrets.tell(record)
        return None
    if record["act"] in acts[record["call"]]:
        return "custody_malformed", "act"
    acts[record["call"]][record["act"]] = record
    return None


def _row_problem(row: Row, acts: dict[str, dict[str, Any]]) -> Problem | None:
    """The row says what the chain says, and nothing was removed before its time."""
    if any(record["sha256"] != row["sha256"] for record in acts.values()):
        return "custody_row_differs", "sha256"
    archive = acts.get("archive", {"archive_sha256": ""})
    if archive["archive_sha256"] != row["archive_sha256"] or bool(row["archive_path"]) != ("archive" in acts):
        return "custody_row_differs", "archive_sha256"
    for act, column in _COLUMNS.items():
        told = acts[act]["at"] if act in acts else None
        if instant(row[column]) != told:
            return "custody_row_differs", column
    if row["wav_released_at"] is not None and not row["archive_sha256"]:
        return "custody_row_differs", "archive_sha256"
    removed, ended = as_moment(row["removed_at"]), as_moment(row["ended_at"])
    if removed is not None and (ended is None or removed - ended <= _YEAR):
        return "recording_removed_early", instant(row["removed_at"]) or ""
    return None


def _file_problem(root: Path, row: Row) -> Problem | None:
    if not _is_path(row["path"]):
        return "recording_missing", "path"
    directory = (root / row["path"]).parent
    if row["wav_released_at"] is None:
        problem = wav_problem(root / row["path"], row["sha256"], row["samples"])
        if problem is not None:
            return problem
    if row["archive_path"]:
        problem = _archive_problem(root, row)
        if problem is not None:
            return problem
    return _chain_problem(directory, row) if row["chain"] and row["raw_released_at"] is None else None


def _is_path(text: object) -> bool:
    return isinstance(text, str) and bool(text) and "\0" not in text


def _archive_problem(root: Path, row: Row) -> Problem | None:
    if not _is_path(row["archive_path"]):
        return "archive_missing", "path"
    try:
        with (root / row["archive_path"]).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != row["archive_sha256"]:
                return "archive_altered", ""
            samples = _opus_samples(file)
    except OSError as error:
        return "archive_missing", error.strerror or type(error).__name__
    if samples is None or abs(samples - row["samples"]) > _LENGTH_TOLERANCE:
        return "archive_length", str(samples)
    return None


def _opus_samples(file: Any) -> int | None:
    """The length of an Ogg/Opus file in samples at 8 kHz: the last page's granule position less the pre-skip (RFC 7845
    4); None for what is none."""
    file.seek(0)
    head = file.read(512)
    at = head.find(b"OpusHead")
    file.seek(0, 2)
    file.seek(max(0, file.tell() - _TAIL_BYTES))
    tail = file.read()
    page = tail.rfind(b"OggS")
    if at < 0 or page < 0 or len(head) < at + 12 or len(tail) < page + 14:
        return None
    (skip,) = struct.unpack_from("<H", head, at + 10)
    (granule,) = struct.unpack_from("<q", tail, page + 6)
    return int((granule - skip) // _OPUS_PER_SAMPLE)


def _chain_problem(directory: Path, row: Row) -> Problem | None:
    """Every link of the recording's own chain, and every second of raw sound that a link has hashed."""
    running, last = hashlib.sha256(), ""
    try:
        lines = (directory / "events.jsonl").read_bytes().split(b"\n")[:-1]
        for number, line in enumerate(lines, start=1):
            event = _event(line)
            if event.get("event") not in ("segment", "end"):
                running.update(line + b"\n")
                continue
            if event.get("previous") != running.hexdigest():
                return "chain_altered", f"events.jsonl {number}"
            running = hashlib.sha256(line + b"\n")
            last = running.hexdigest()
            if event["event"] == "segment" and not _segment_holds(directory, event):
                return "chain_altered", f"{event.get('channel')} {event.get('start')}"
    except OSError as error:
        return "chain_missing", error.strerror or type(error).__name__
    return None if last == row["chain"] else ("chain_differs", "")


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _segment_holds(directory: Path, event: dict[str, Any]) -> bool:
    channel, start, samples = event.get("channel"), event.get("start"), event.get("samples")
    if channel not in ("caller", "officer") or not isinstance(start, int) or not isinstance(samples, int):
        return False
    raw = next(iter(sorted(directory.glob(f"{channel}.*"))), None)
    if raw is None or start < 0 or samples < 0:
        return False
    with raw.open("rb") as file:
        file.seek(start)
        data = file.read(samples)
    return len(data) == samples and hashlib.sha256(data).hexdigest() == event.get("sha256")
