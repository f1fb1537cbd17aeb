"""What the soak looks at each minute: every process's memory and descriptors, ports, the book against the files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from duty.store.tables import AlarmRow, CallRow, RecordingRow
from tests.line.book import Book
from tests.line.service import Service

_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One minute. ``rss_mib`` and ``descriptors`` by process; ``ports`` are bound media ports; ``unlike`` are rows of
    ended calls without their directory, and directories without a row."""

    minute: float
    rss_mib: dict[str, float]
    descriptors: dict[str, int]
    ports: int
    calls: int
    ended: int
    open_recordings: int
    damaged: int
    unlike: int
    alarms: int
    book_mib: float


def watch(service: Service, book: Book, minute: float) -> Sample:
    """Looks once."""
    processes = _processes(service.first_pid)
    before = _directories(book)
    with book.store.reading() as session:
        states = dict(session.execute(select(RecordingRow.state, func.count()).group_by(RecordingRow.state)).all())
        damaged = session.scalar(select(func.count()).where(RecordingRow.damage.is_not(None))) or 0
        rows = set(session.scalars(select(CallRow.id)))
        ended = session.scalar(select(func.count()).where(CallRow.state == "ended")) or 0
        paths = dict(session.execute(select(RecordingRow.call_id, RecordingRow.path)).all())
        alarms = session.scalar(select(func.count()).select_from(AlarmRow)) or 0
    kept = {call_id for call_id, path in paths.items() if path}
    low, high = service.settings.sip.rtp_first_port, service.settings.sip.rtp_last_port
    return Sample(
        minute=minute,
        rss_mib={name: _rss(pid) for name, pid in processes.items()},
        descriptors={name: sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) for name, pid in processes.items()},
        ports=_bound(low, high),
        calls=len(rows),
        ended=ended,
        open_recordings=states.get("open", 0),
        damaged=damaged,
        unlike=len(kept - _directories(book)) + len(before - rows),
        alarms=alarms,
        book_mib=sum(path.stat().st_size for path in service.data.glob("dutyline.db*")) / 2**20,
    )


def _directories(book: Book) -> set[str]:
    return {path.name for path in book.recordings.glob("*/*/*/*") if path.is_dir()}


def slope_per_hour(minutes: list[float], values: list[float]) -> float:
    """Of the straight line through all points."""
    return float(np.polyfit(np.array(minutes) / 60, np.array(values), 1)[0])


def _processes(supervisor: int) -> dict[str, int]:
    """Every process of the service by a name for people."""
    found, names = [supervisor], {}
    for pid in found:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        name = "supervisor" if pid == supervisor else words[4 if b"process" in words else -2].decode()
        names[name.removeprefix("telephony.")] = pid
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text("ascii").split())
    return names


def _rss(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE_MIB


def _bound(low: int, high: int) -> int:
    ports = [
        int(line.split()[1].split(":")[1], 16) for line in Path("/proc/net/udp").read_text("ascii").splitlines()[1:]
    ]
    return sum(low <= port <= high for port in ports)
