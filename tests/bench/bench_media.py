"""How many recorded two-way calls one media plane carries: real sockets, the load in a process of its own, and each
frame looked for again on the other side and in the file.

``python -m tests.bench.bench_media --calls 100 200`` prints one line per load; figures and machine are in
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine
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
    seal_s: float


async def measure(calls: int, seconds: float, root: Path) -> MediaFigures:
    """Runs ``calls`` calls for ``seconds`` and looks for every frame."""
    plane = MediaPlane(
        bind_host="127.0.0.1", advertised_host="127.0.0.1", port_range=(30_000, 59_999), recordings_root=root
    )
    try:
        return await _measure(plane, calls, seconds)
    finally:
        await plane.aclose()


async def _measure(plane: MediaPlane, calls: int, seconds: float) -> MediaFigures:
    load = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.rtp_load", str(2 * calls), str(seconds), cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
    )  # fmt: skip
    assert load.stdin is not None
    assert load.stdout is not None
    remotes = json.loads(await load.stdout.readline())
    before = _resident_kib()
    sessions = [_session(plane, remotes[2 * call : 2 * call + 2]) for call in range(calls)]
    ports = [session.address(speaker)[1] for session in sessions for speaker in Speaker]
    load.stdin.write(json.dumps(ports).encode() + b"\n")
    cpu, begin = time.process_time(), time.monotonic()
    result = json.loads(await load.stdout.readline())
    cpu, wall = time.process_time() - cpu, time.monotonic() - begin
    memory = _resident_kib() - before
    await load.wait()
    begin = time.monotonic()
    sealed = await asyncio.gather(*(session.close() for session in sessions))
    seal_s = time.monotonic() - begin
    sent = sum(result["sent"])
    return MediaFigures(
        calls=calls,
        seconds=seconds,
        frames=sent,
        lost_relay=sent - sum(result["received"]),
        disordered=result["disordered"],
        lost_file=sum(_missing(of, call, result["sent"]) for call, of in enumerate(sealed)),
        gaps=sum(len(_inner_gaps(of)) for of in sealed),
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
        seal_s=seal_s,
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


def main() -> None:
    """Prints one line of JSON per load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--uvloop", action="store_true")
    given = parser.parse_args()
    for calls in given.calls:
        with tempfile.TemporaryDirectory() as root:
            figures = run(measure(calls, given.seconds, Path(root)), uvloop=given.uvloop)
        shown = {name: round(value, 4) for name, value in asdict(figures).items()}
        print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
