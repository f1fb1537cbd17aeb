"""An hour at half load: recorded two-way calls without end through the whole service, and whether anything grows, is
lost, or is left over.

``python -m tests.bench.soak --calls 50 --minutes 60`` prints a line of JSON a minute and a verdict; figures and machine
are in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import struct
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import select

from duty.store.database import Store
from duty.store.tables import CallRow, RecordingRow
from tests.bench.soak_watch import Sample, slope_per_hour, watch
from tests.faults.parties import Exchange, Phone, Plan, Story
from tests.faults.voices import Choir, Voice
from tests.line.book import Book
from tests.line.service import Line, Service

LINES = (
    Line(number="037122590078", phones=("7001", "7002"), max_calls=100),
    Line(number="037122590079", phones=("7003",), max_calls=100),
)
RTP_PORTS = (10_000, 19_999)
_STAMP = struct.Struct("!4sQI")
_MAGIC = b"SOAK"
_FILL = bytes(byte & 0x0F ^ 0xD5 for byte in random.Random(1).randbytes(160 - _STAMP.size))
_END_S = 0.2
"""What is said this shortly before the end may meet a call that is over at one side."""
_FIRST = 3
_SEALED_S = 60.0
"""After the last call, for the recordings that are still being sealed."""
_FIRST_NUMBER = 13_800_000_000
FLAT_MIB_PER_HOUR = 8.0


class StampedVoice(Voice):
    """Its frames carry their number, and it keeps those of the ones it hears."""

    __slots__ = ("key", "numbers")

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        number, side = owner.split(":")
        self.key = int(number) * 2 + (side == "officer")
        self.numbers: set[int] = set()

    def frame(self, number: int) -> bytes:
        return _STAMP.pack(_MAGIC, self.key, number) + _FILL

    def hear(self, datagram: bytes) -> None:
        magic, key, number = _STAMP.unpack_from(datagram, 12)
        if magic == _MAGIC and key == self.key ^ 1:
            self.numbers.add(number)


@dataclass(slots=True, kw_only=True)
class Totals:
    """Frames of 20 ms until now. ``cut_off`` are those at the very end of a call that met a party who had hung up."""

    calls: int = 0
    unanswered: int = 0
    said: int = 0
    lost_relay: int = 0
    cut_off: int = 0
    lost_file: int = 0
    not_sealed: int = 0


@dataclass(slots=True, kw_only=True)
class Soak:
    """``calls`` at any time for ``minutes``."""

    service: Service
    book: Book
    calls: int
    minutes: float
    every_s: float = 60.0
    talk_s: tuple[float, float] = (20.0, 40.0)
    totals: Totals = field(default_factory=Totals)
    samples: list[Sample] = field(default_factory=list)
    _choir: Choir = field(init=False)
    _stories: dict[str, Story] = field(default_factory=dict, init=False)
    _over: list[Story] = field(default_factory=list, init=False)
    _count: int = field(default=0, init=False)
    _chance: random.Random = field(default_factory=lambda: random.Random(1), init=False)

    def __post_init__(self) -> None:
        self._choir = Choir(StampedVoice)

    async def run(self) -> None:
        """All of it."""
        exchange = Exchange(self.service.address, self._choir)
        phones = [self._phone(extension) for line in LINES for extension in line.phones]
        singing = asyncio.create_task(self._choir.run())
        for party in (exchange, *phones):
            await party.open()
        for phone in phones:
            await phone.register(self.service.address, expires=7200)
        begin = time.monotonic()
        watching = asyncio.create_task(self._watch(begin))
        gap = sum(self.talk_s) / 2 / self.calls
        running: set[asyncio.Task[None]] = set()
        while time.monotonic() < begin + 60 * self.minutes:
            if len(running) < self.calls:
                task = asyncio.create_task(self._call(exchange))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(gap)
        await asyncio.gather(*running)  # before the last look: the watcher waits for the recordings of these too
        await watching
        singing.cancel()
        self._choir.close()
        exchange.close()
        for phone in phones:
            phone.close()

    def _phone(self, extension: str) -> Phone:
        return Phone(extension, self.service.password(extension), self._stories, self._choir)

    async def _call(self, exchange: Exchange) -> None:
        self._count += 1
        number, chance = str(_FIRST_NUMBER + self._count), self._chance
        line = LINES[self._count % len(LINES)]
        plan = Plan(
            number=number,
            line=line.number,
            transport="udp",
            answers=chance.choice(line.phones),
            declines=False,
            waits_s=chance.uniform(0.2, 1.0),
            talks_s=chance.uniform(*self.talk_s),
            phone_hangs_up=chance.random() < 0.5,
            deaf_s=0.0,
        )
        story = self._stories[number] = Story(plan=plan, call_id=f"{number}@soak")
        await exchange.call(story)
        self._over.append(story)

    async def _watch(self, begin: float) -> None:
        waiting: list[Story] = []
        for number in range(1, int(self.minutes * 60 / self.every_s) + 1):
            await asyncio.sleep(max(0.0, begin + number * self.every_s - time.monotonic()))
            over, self._over = self._over, []
            began_at = time.monotonic()
            sample = await asyncio.to_thread(watch, self.service, self.book, number * self.every_s / 60)
            waiting = await asyncio.to_thread(self._account, waiting + over)
            self.samples.append(sample)
            looked_s = round(time.monotonic() - began_at, 2)
            print(json.dumps(asdict(sample) | asdict(self.totals) | {"looked_s": looked_s}), flush=True)
        await asyncio.sleep(_SEALED_S)
        left = await asyncio.to_thread(self._account, waiting + self._over)
        self.totals.not_sealed = len(left)

    def _account(self, over: list[Story]) -> list[Story]:
        """What of these calls was passed on, and what is in their files; those that are not sealed yet."""
        files = _files(self.book, [story.call_id for story in over])
        for story in over:
            self._stories.pop(story.plan.number, None)
            directory = files.get(story.call_id)
            if directory is None and story.answered_at is not None:
                continue
            self.totals.calls += 1
            if directory is None or story.answered_at is None or story.hung_up_at is None:
                self.totals.unanswered += 1
                continue
            for side, other in ((story.caller, story.officer), (story.officer, story.caller)):
                assert isinstance(side, StampedVoice)
                assert isinstance(other, StampedVoice)
                said = range(_FIRST, sum(at < story.hung_up_at - _END_S for at in side.said_at))
                self.totals.said += len(said)
                unheard = set(said) - other.numbers
                lost = {number for number in unheard if number < max(other.numbers, default=0)}
                self.totals.lost_relay += len(lost)
                self.totals.cut_off += len(unheard) - len(lost)
                kept = _numbers(directory / f"{side.owner.split(':')[1]}.alaw", side)
                self.totals.lost_file += len(set(said) - kept)
            time.sleep(0.005)  # the voices go on meanwhile
        return [story for story in over if story.answered_at is not None and story.call_id not in files]


def _numbers(path: Path, voice: StampedVoice) -> set[int]:
    """Of the frames of ``voice`` in the raw channel, wherever a stream that stood still was anchored anew."""
    raw = path.read_bytes() if path.exists() else b""
    at = [found.start() for found in re.finditer(_MAGIC, raw) if found.start() + _STAMP.size <= len(raw)]
    stamps = [_STAMP.unpack_from(raw, place) for place in at]
    return {number for _, key, number in stamps if key == voice.key}


def _files(book: Book, sip_call_ids: list[str]) -> dict[str, Path]:
    """The sealed recordings' directories by Call-ID."""
    query = (
        select(CallRow.sip_call_id, RecordingRow.path).join(RecordingRow).where(CallRow.sip_call_id.in_(sip_call_ids))
    )
    with book.store.reading() as session:
        return {row.sip_call_id: (book.recordings / row.path).parent for row in session.execute(query) if row.path}


def verdict(samples: list[Sample], totals: Totals, warm_up: float) -> tuple[bool, dict[str, object]]:
    """Whether nothing grew, was lost, or was left; and the figures of it."""
    after = [sample for sample in samples if sample.minute > warm_up]
    minutes = [sample.minute for sample in after]
    names = sorted(after[0].rss_mib.keys() & after[-1].rss_mib.keys())
    memory = {
        name: {
            "first_mib": round(after[0].rss_mib[name], 1),
            "last_mib": round(after[-1].rss_mib[name], 1),
            "mib_per_hour": round(slope_per_hour(minutes, [one.rss_mib.get(name, 0.0) for one in after]), 2),
        }
        for name in names
    }
    flat = all(of["mib_per_hour"] < FLAT_MIB_PER_HOUR for of in memory.values())
    whole = not (totals.lost_relay or totals.lost_file or totals.not_sealed or totals.unanswered)
    agree = not any(sample.unlike or sample.damaged for sample in samples)
    figures: dict[str, object] = {
        "minutes": samples[-1].minute,
        "memory": memory,
        "descriptors": {name: [after[0].descriptors[name], after[-1].descriptors[name]] for name in names},
        "ports": [min(one.ports for one in after), max(one.ports for one in after)],
        "flat": flat,
        "whole": whole,
        "book_and_files_agree": agree,
        **asdict(totals),
    }
    return flat and whole and agree, figures


def main() -> int:
    """Exit status 1 where something grew, was lost or was left over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=60.0, help="s between two looks")
    parser.add_argument("--warm-up", type=float, default=10.0, help="minutes that do not count for what grows")
    parser.add_argument("--talk", type=float, nargs=2, default=(20.0, 40.0), help="s of a call, from and to")
    parser.add_argument("--root", type=Path, default=None)
    given = parser.parse_args()
    root = given.root or Path(tempfile.mkdtemp(prefix="soak-"))
    with (
        Service(root / "service", LINES, whole=True, rtp=RTP_PORTS) as service,
        closing(Store(service.settings.store_url)) as store,
    ):
        book = Book(store, service.settings.data.recordings)
        soak = Soak(
            service=service,
            book=book,
            calls=given.calls,
            minutes=given.minutes,
            every_s=given.every,
            talk_s=tuple(given.talk),
        )
        asyncio.run(soak.run())
    good, figures = verdict(soak.samples, soak.totals, given.warm_up)
    print(json.dumps(figures, indent=1))
    print("flat and whole" if good else "NOT flat or NOT whole")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
