"""How many recorded two-way calls one media plane carries, beside rtpengine: real sockets, the load in a process of its
own, and each frame looked for again on the other side and in the recording.

``python -m tests.bench.bench_media --calls 100 200 --rounds 3`` runs both in turn and prints a line of JSON per run and
a table; ``--busy`` adds processes that compute at low priority, as transcription does, one for each core. Figures and
machine are in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from duty.domain.transcripts import Speaker
from telephony.media import MediaPlane
from telephony.media_session import MediaSession
from telephony.sealing import SealedRecording
from telephony.sip.security_description import MediaKeys
from tests.bench.rtp_load import MAGIC, STAMP
from tests.bench.rtpengine import Rtpengine

_COMPUTE = "while True: sum(number * number for number in range(100_000))"
_ROOT = Path(__file__).parents[2]
_FRAME = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A target of the load."""

    port: int
    host: str = "127.0.0.1"
    payload_type: int = 8
    telephone_event: int | None = 101
    direction: str = "sendrecv"
    keys: MediaKeys | None = None
    rtcp_mux: bool = False

    @property
    def wire_payload_type(self) -> int:
        return self.payload_type

    @property
    def rtcp_port(self) -> int:
        return self.port if self.rtcp_mux else self.port + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFigures:
    """One load. ``lost_relay`` and ``lost_file`` count frames of 20 ms; ``cpu_us_per_packet`` is the relay process's
    whole CPU time, threads included, per packet taken and passed on; ``generator_core`` tells whether the load itself
    was at its limit (1.0 is a whole core)."""

    system: str
    busy: int
    calls: int
    seconds: float
    frames: int
    lost_relay: int
    disordered: int
    lost_file: int
    gaps: int
    within_5_ms: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    relay_core: float
    cpu_us_per_packet: float
    core_percent_per_call: float
    memory_kib_per_call: float
    generator_core: float
    close_s: float


class Relay(ABC):
    """What carries the calls: a media plane of ours or a peer's."""

    name: str

    @abstractmethod
    def open(self, remotes: list[int]) -> list[int]:
        """Calls between the ports ``remotes``, caller and phone in turn; the relay's port for each of them."""

    @abstractmethod
    def cpu_s(self) -> float:
        """Processor time until now, all threads."""

    @abstractmethod
    def resident_kib(self) -> float:
        """Resident memory now."""

    @abstractmethod
    async def close(self, sent: list[int]) -> tuple[int, int]:
        """Ends the calls; of the ``sent`` frames of each leg, those that are not in the recordings, and the gaps that
        these tell of."""


class Ours(Relay):
    """The media plane in this process."""

    name = "dutyline"

    def __init__(self, plane: MediaPlane) -> None:
        self._plane = plane
        self._sessions: list[MediaSession] = []

    def open(self, remotes: list[int]) -> list[int]:
        pairs = zip(remotes[::2], remotes[1::2], strict=True)
        self._sessions = [_session(self._plane, list(pair)) for pair in pairs]
        return [session.address(speaker)[1] for session in self._sessions for speaker in Speaker]

    def cpu_s(self) -> float:
        return time.process_time()

    def resident_kib(self) -> float:
        return _resident_kib()

    async def close(self, sent: list[int]) -> tuple[int, int]:
        sealed = await asyncio.gather(*(session.close() for session in self._sessions))
        lost = sum(_missing(of, call, sent) for call, of in enumerate(sealed))
        return lost, sum(len(_inner_gaps(of)) for of in sealed)


class Theirs(Relay):
    """rtpengine."""

    name = "rtpengine"

    def __init__(self, daemon: Rtpengine) -> None:
        self._daemon = daemon
        self._calls = 0

    def open(self, remotes: list[int]) -> list[int]:
        self._calls = len(remotes) // 2
        pairs = enumerate(zip(remotes[::2], remotes[1::2], strict=True))
        return [port for call, (caller, phone) in pairs for port in self._daemon.open(call, caller, phone)]

    def cpu_s(self) -> float:
        return self._daemon.cpu_s()

    def resident_kib(self) -> float:
        return self._daemon.resident_kib()

    async def close(self, sent: list[int]) -> tuple[int, int]:
        for call in range(self._calls):
            self._daemon.close(call)
        recorded = self._daemon.recorded()
        return sum((leg, number) not in recorded for leg, count in enumerate(sent) for number in range(count)), 0


async def measure(calls: int, seconds: float, root: Path, *, busy: int = 0, peer: bool = False) -> MediaFigures:
    """Runs ``calls`` calls for ``seconds`` and looks for every frame, through rtpengine where ``peer`` says so, while
    ``busy`` processes compute at low priority."""
    with _computing(busy):
        if peer:
            with Rtpengine(root / "rtpengine") as daemon:
                return await _measure(Theirs(daemon), calls, seconds, busy)
        plane = MediaPlane(
            bind_host="127.0.0.1", advertised_host="127.0.0.1", port_range=(30_000, 59_999), recordings_root=root
        )
        try:
            return await _measure(Ours(plane), calls, seconds, busy)
        finally:
            await plane.aclose()


@contextmanager
def _computing(processes: int) -> Iterator[None]:
    """As low in priority as transcription, whatever priority the bench itself has."""
    program = ["chrt", "--other", "0", "nice", "-n", "10", sys.executable, "-c", _COMPUTE]
    hogs = [subprocess.Popen(program) for _ in range(processes)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


async def _measure(relay: Relay, calls: int, seconds: float, busy: int) -> MediaFigures:
    load = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.rtp_load", str(2 * calls), str(seconds), cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
    )  # fmt: skip
    assert load.stdin is not None
    assert load.stdout is not None
    remotes = json.loads(await load.stdout.readline())
    before = relay.resident_kib()
    ports = relay.open(remotes)
    load.stdin.write(json.dumps(ports).encode() + b"\n")
    cpu, begin = relay.cpu_s(), time.monotonic()
    result = json.loads(await load.stdout.readline())
    cpu, wall = relay.cpu_s() - cpu, time.monotonic() - begin
    memory = relay.resident_kib() - before
    await load.wait()
    begin = time.monotonic()
    lost_file, gaps = await relay.close(result["sent"])
    sent = sum(result["sent"])
    return MediaFigures(
        system=relay.name,
        busy=busy,
        calls=calls,
        seconds=seconds,
        frames=sent,
        lost_relay=sent - sum(result["received"]),
        disordered=result["disordered"],
        lost_file=lost_file,
        gaps=gaps,
        within_5_ms=result["within_5_ms"],
        p50_ms=result["p50_ms"],
        p99_ms=result["p99_ms"],
        p999_ms=result["p999_ms"],
        max_ms=result["max_ms"],
        relay_core=cpu / wall,
        cpu_us_per_packet=cpu / sent * 1e6,
        core_percent_per_call=cpu / wall / calls * 100,
        memory_kib_per_call=memory / calls,
        generator_core=result["cpu_s"] / wall,
        close_s=time.monotonic() - begin,
    )


def _session(plane: MediaPlane, ports: list[int]) -> MediaSession:
    session = plane.open(uuid.uuid4().hex, started_at=datetime.now(UTC))
    for speaker, port in zip(Speaker, ports, strict=True):
        session.set_remote(speaker, Remote(port=port))
    session.start_recording()
    session.bridge()
    return session


def _missing(sealed: SealedRecording | None, call: int, sent: list[int]) -> int:
    """Frames of one call that are not in their channel's raw file, each at its place after the one before."""
    assert sealed is not None
    missing = 0
    for channel, speaker in enumerate(Speaker):
        leg = 2 * call + channel
        raw = (sealed.directory / f"{speaker.value}.alaw").read_bytes()
        at = raw.find(MAGIC)
        frames = (len(raw) - at) // _FRAME if at >= 0 else 0
        blocks = np.frombuffer(raw, np.uint8, frames * _FRAME, max(at, 0)).reshape(-1, _FRAME)
        stamps = [STAMP.unpack_from(block.tobytes())[:3] for block in blocks]
        missing += sent[leg] - sum(stamp == (MAGIC, leg, number) for number, stamp in enumerate(stamps))
    return missing


def _inner_gaps(sealed: SealedRecording | None) -> list[tuple[int, int]]:
    """Gaps other than the beginning before and the end after the talk."""
    assert sealed is not None
    return [
        gap
        for speaker, gaps in sealed.gaps.items()
        for gap in gaps
        if gap[0] != 0 and sum(gap) < sealed.raw_samples[speaker]
    ]


def _resident_kib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


def run(work: Coroutine[Any, Any, MediaFigures], *, uvloop: bool) -> MediaFigures:
    """On uvloop where asked for, else on the loop of the standard library."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if uvloop:
        import uvloop as fast

        factory = fast.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def table(runs: Sequence[MediaFigures]) -> str:
    """Every load of every system: the worst of its runs, since a call has only one."""
    head = (
        "system",
        "busy",
        "calls",
        "lost relay/file",
        "within 5 ms",
        "p50",
        "p99.9",
        "core",
        "µs/packet",
        "KiB/call",
    )
    rows = [head]
    for key in dict.fromkeys((run.calls, run.busy, run.system) for run in runs):
        same = [run for run in runs if (run.calls, run.busy, run.system) == key]
        rows.append((
            key[2], str(key[1]), str(key[0]),
            f"{max(run.lost_relay for run in same)} / {max(run.lost_file for run in same)}",
            " ".join(f"{100 * run.within_5_ms:.2f}" for run in same),
            f"{max(run.p50_ms for run in same):.2f} ms",
            f"{max(run.p999_ms for run in same):.1f} ms",
            f"{100 * max(run.relay_core for run in same):.0f} %",
            f"{max(run.cpu_us_per_packet for run in same):.0f}",
            f"{max(run.memory_kib_per_call for run in same):.0f}",
        ))  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows[1:]))


def main() -> None:
    """Prints one line of JSON per run, and a table at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--busy", action="store_true", help="while low-priority processes compute on every core")
    parser.add_argument("--alone", action="store_true", help="without rtpengine")
    parser.add_argument("--json", type=Path, default=None, help="a file for all figures")
    parser.add_argument("--uvloop", action="store_true")
    given = parser.parse_args()
    busy = (os.cpu_count() or 1) if given.busy else 0
    runs = []
    for number in range(given.rounds):
        for calls in given.calls:
            for peer in (False,) if given.alone else ((False, True), (True, False))[number % 2]:
                with tempfile.TemporaryDirectory() as root:
                    work = measure(calls, given.seconds, Path(root), busy=busy, peer=peer)
                    runs.append(run(work, uvloop=given.uvloop))
                shown = {name: round(of, 4) if isinstance(of, float) else of for name, of in asdict(runs[-1]).items()}
                print(json.dumps(shown), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(one) for one in runs], indent=1) + "\n", "utf-8")
    print(table(runs))


if __name__ == "__main__":
    main()
