"""The chain of a recording: each second of each channel is hashed while the call runs, and each hash stands on all that
was noted before it (requirement 6.1-d).

A line of the sidecar named in ``CHAINED`` carries as ``previous`` the SHA-256 of the bytes from the last such line,
that one included, up to its own. So a sample that is changed, a line that is changed, taken out or put in is found and
named by its place; and the hash of the last link, which goes into the manifest, stands for all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SEGMENT = "segment"
END = "end"
CHAINED = frozenset({SEGMENT, END})

Event = Mapping[str, object]


class Chain:
    """The running hash of one sidecar."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def lines(self, events: list[Event]) -> tuple[bytes, Chain]:
        """The lines of ``events`` with their links, and the chain as it is when they are written."""
        after, lines = Chain(), []
        after._hash = self._hash.copy()
        for event in events:
            linked = event.get("event") in CHAINED
            content = {**event, "previous": after._hash.hexdigest()} if linked else event
            line = json.dumps(content, ensure_ascii=False).encode() + b"\n"
            if linked:
                after._hash = hashlib.sha256()
            after._hash.update(line)
            lines.append(line)
        return b"".join(lines), after


@dataclass(frozen=True, slots=True, kw_only=True)
class Altered:
    """A place where the recording is not what was hashed. ``where`` is a channel or ``events``; ``start`` and
    ``count`` are samples of that channel, or lines of the sidecar (from 1): the last link before and what follows
    it up to the broken one."""

    where: str
    start: int
    count: int

    def __str__(self) -> str:
        unit = "line" if self.where == "events" else "sample"
        return f"{self.where} {unit} {self.start} to {self.start + self.count - 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCheck:
    """What the chain says: ``altered`` places, ``segments`` that were looked at, ``head`` the SHA-256 of the last
    link, None where there is none."""

    altered: tuple[Altered, ...]
    segments: int
    head: str | None


def check_chain(sidecar: bytes, raw: Mapping[str, Path]) -> ChainCheck:
    """Looks at every link in ``sidecar`` and at every segment of the ``raw`` channels. Raises OSError."""
    running, good, segments = hashlib.sha256(), 1, 0
    altered: list[Altered] = []
    head = None
    for number, line, event in _lines(sidecar):
        if event is None or event.get("event") not in CHAINED:
            running.update(line)
            continue
        if event.get("previous") != running.hexdigest():
            altered.append(Altered(where="events", start=good, count=number - good))
        running, good = hashlib.sha256(line), number
        head = running.hexdigest()
        if event["event"] == SEGMENT:
            segments += 1
            altered += _altered_segment(event, raw)
    return ChainCheck(altered=tuple(altered), segments=segments, head=head)


def _lines(sidecar: bytes) -> Iterator[tuple[int, bytes, dict[str, object] | None]]:
    """Whole lines with their number and content; None for what is no JSON object."""
    for number, line in enumerate(sidecar.split(b"\n")[:-1], start=1):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        yield number, line + b"\n", event if isinstance(event, dict) else None


def _altered_segment(event: dict[str, object], raw: Mapping[str, Path]) -> list[Altered]:
    channel, start, samples = event.get("channel"), event.get("start"), event.get("samples")
    if not isinstance(channel, str) or not isinstance(start, int) or not isinstance(samples, int):
        return []  # then the link after it is broken, and says so
    path, data = raw.get(channel), b""
    if path is not None:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(samples)
    same = len(data) == samples and hashlib.sha256(data).hexdigest() == event.get("sha256")
    return [] if same else [Altered(where=channel, start=start, count=samples)]
