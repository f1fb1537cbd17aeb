"""Many calls while the telephony process is killed at the worst moments, by a seed that is printed.

The line has a carrier and desk phones of the test's own (``parties``); the process is started again at once each time.
What must be true afterwards is in ``reckoning``.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.parties import Exchange, Phone, Plan, Story
from tests.faults.voices import Choir
from tests.line.service import Line, Service
from tests.peers.ports import free_block

_RTP_PORTS = 1000
LINES = (
    Line(number="037122590071", phones=("7001", "7002"), max_calls=60, ring_seconds=8, no_answer="hangup"),
    Line(number="037122590072", phones=("7003",), max_calls=60, ring_seconds=2),
)
_FIRST_NUMBER = 13_900_000_000
_MOMENTS = {"any time": 6, "opening": 4, "hanging up": 4, "starting": 3, "book locked": 2, "sealing process": 2}
"""When to kill, and how often each."""
_SETTLE_S = 15.0


def service_for(root: Path) -> Service:
    """A line with room for many calls and for what broken calls still send."""
    first = free_block(_RTP_PORTS)
    return Service(root, LINES, rtp=(first, first + _RTP_PORTS - 1))


@dataclass(slots=True, kw_only=True)
class Drill:
    """``calls`` must have had their 100 before it ends; ``at_once`` are in progress at any time."""

    service: Service
    calls: int
    seed: int
    at_once: int = 10
    gap_s: float = 0.1
    stories: list[Story] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    killed_at: list[float] = field(default_factory=list)
    seconds: float = 0.0
    _chance: random.Random = field(init=False)
    _choir: Choir = field(default_factory=Choir, init=False)
    _by_number: dict[str, Story] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    @property
    def answered_100(self) -> int:
        """How many calls were told that they are being tried."""
        return sum(story.trying_at is not None for story in self.stories)

    async def run(self) -> None:
        """The whole of it; the service is stopped in an orderly way at the end."""
        begin = time.monotonic()
        exchange = Exchange(self.service.address, self._choir)
        phones = [self._phone(extension) for line in LINES for extension in line.phones]
        singing = asyncio.create_task(self._choir.run())
        try:
            for party in (exchange, *phones):
                await party.open()
            for phone in phones:
                await phone.register(self.service.address)
            killing = asyncio.create_task(self._kill_again_and_again())
            await self._make_calls(exchange)
            await killing
            async with asyncio.timeout(4 * _SETTLE_S):
                for story in self.stories:
                    await story.over.wait()
        finally:
            singing.cancel()
            self._choir.close()
            exchange.close()
            for phone in phones:
                phone.close()
        await asyncio.to_thread(self._finish)
        self.seconds = time.monotonic() - begin

    def _phone(self, extension: str) -> Phone:
        return Phone(extension, self.service.password(extension), self._by_number, self._choir)

    async def _make_calls(self, exchange: Exchange) -> None:
        running: set[asyncio.Task[None]] = set()
        while self.answered_100 < self.calls:
            if len(running) < self.at_once:
                story = self._next_story()
                task = asyncio.create_task(exchange.call(story))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(self._chance.uniform(0.0, 2 * self.gap_s))

    def _next_story(self) -> Story:
        chance, number = self._chance, str(_FIRST_NUMBER + len(self.stories))
        line = chance.choices(LINES, (4, 1))[0]
        kind = chance.choices(("answered", "declined", "given up"), (8, 1, 2))[0]
        plan = Plan(
            number=number,
            line=line.number,
            transport=chance.choices(("udp", "tcp"), (3, 1))[0],
            answers="" if kind == "given up" else chance.choice(line.phones),
            declines=kind == "declined",
            waits_s=chance.uniform(0.0, 0.4) if kind == "answered" else chance.uniform(0.0, 3.0),
            talks_s=chance.uniform(0.2, 4.0),
            phone_hangs_up=chance.random() < 0.4,
            deaf_s=chance.choice((0.0, 0.5, 3.0)),
        )
        story = Story(plan=plan, call_id=f"{number}-{self.seed}-{self.service.port}")
        self.stories.append(story)
        self._by_number[number] = story
        return story

    # Killing

    async def _kill_again_and_again(self) -> None:
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "any time": self._at_any_time,
            "opening": self._while_opening,
            "hanging up": self._while_hanging_up,
            "starting": self._while_starting,
            "book locked": self._while_locked,
            "sealing process": self._kill_sealing,
        }
        while self.answered_100 < self.calls:
            moment = self._chance.choices(list(_MOMENTS), list(_MOMENTS.values()))[0]
            await asyncio.sleep(self._chance.uniform(0.3, 2.0))
            await ways[moment]()
            self.kills[moment] += 1

    async def _at_any_time(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, 3.0))
        await self._kill()
        await self._start()

    async def _while_opening(self) -> None:
        await self._until_more(lambda: len(self.stories))
        await asyncio.sleep(self._chance.uniform(0.0, 0.03))
        await self._kill()
        await self._start()

    async def _while_hanging_up(self) -> None:
        await self._until_more(lambda: sum(story.hung_up_at is not None for story in self.stories))
        await asyncio.sleep(self._chance.uniform(0.0, 0.1))
        await self._kill()
        await self._start()

    async def _while_starting(self) -> None:
        """The second death comes while the traces of the first are being cleared away."""
        await self._kill()
        for _ in range(self._chance.randint(1, 3)):
            self.service.launch()
            await asyncio.sleep(self._chance.uniform(0.5, 2.0))
            await self._kill()
            self.kills["starting"] += 1
        await self._start()

    async def _while_locked(self) -> None:
        """The lines wait in the spool; death comes before, or while, they are written into the book."""
        path = self.service.settings.store_url.removeprefix("sqlite:///")
        locked_s = self._chance.uniform(2.0, 5.0)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)) as other:
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            await asyncio.sleep(locked_s)
            if self._chance.random() < 0.5:
                await self._kill()
            other.execute("ROLLBACK")
        if self.service.running:
            await asyncio.sleep(self._chance.uniform(0.0, 1.5))
            await self._kill()
        await self._start()

    async def _kill_sealing(self) -> None:
        """Only the helper that renders recordings, as soon as there is one at work."""
        await self._until_more(lambda: sum(story.hung_up_at is not None for story in self.stories))
        await asyncio.sleep(self._chance.uniform(0.0, 0.1))
        for child in children_of(self.service.pid(), "sealing_process"):
            os.kill(child, signal.SIGKILL)

    async def _until_more(self, count: Callable[[], int]) -> None:
        before = count()
        for _ in range(2500):
            if count() != before:
                return
            await asyncio.sleep(0.002)

    async def _kill(self) -> None:
        killed_at = time.monotonic()
        self.killed_at.append(killed_at)
        self.service.kill()
        await asyncio.sleep(0.03)  # what it had sent is heard
        for story in self.stories:
            if story.trying_at is not None and story.killed_at is None and not story.over.is_set():
                story.killed_at = killed_at

    async def _start(self) -> None:
        await asyncio.to_thread(self.service.start)

    def _finish(self) -> None:
        """An orderly end, and once more a start, so that nothing can hide in what the next start would mend."""
        if not self.service.running:
            self.service.start()
        time.sleep(1.0)
        self.service.stop()
        self.service.start()
        self.service.stop()


def children_of(pid: int, name: str) -> list[int]:
    """Process ids of the children of ``pid`` with ``name`` in their command line."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text("ascii").split())
    return [child for child in found if name.encode() in Path(f"/proc/{child}/cmdline").read_bytes()]
