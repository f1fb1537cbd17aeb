"""Both channels on one clock: what is said at one moment stands at one place, whatever the senders' clocks and the
network do, and where it does not the sidecar says by how much."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from duty.domain.transcripts import Speaker
from telephony.media_track import Track
from telephony.recorder import Recorder
from telephony.recording_clock import Mark, drift_ppm, marks, on_the_clock
from telephony.recording_files import read_sidecar
from telephony.rtp.g711 import Law
from telephony.rtp.sequence import SequenceWindow
from telephony.sealing import SealedRecording

pytestmark = pytest.mark.rule("6.1-d")

CALL = "0123456789abcdef0123456789abcdef"
FRAME = 160
QUIET, CLICK = b"\xd5" * FRAME, b"\x2a" * FRAME
CLICK_EVERY_S = 5


@dataclass
class Sender:
    """A phone: its clock runs ``ppm`` fast, its packets take ``delay`` s; it may restart or lose packets. A click is
    said by it in the 20 ms in which a multiple of five seconds of true time falls."""

    ppm: float = 0.0
    delay: Callable[[int], float] = lambda _number: 0.0
    ssrc: int = 1
    sequence: int = 100
    timestamp: int = 5000
    lost: frozenset[int] = frozenset()
    events: dict[int, Callable[[Sender], float]] = field(default_factory=dict)

    def packets(self, seconds: float) -> Iterator[tuple[float, int, int, int, bytes]]:
        """Arrival, SSRC, sequence number, timestamp, payload of each."""
        step, now = FRAME / 8000 / (1 + self.ppm / 1e6), 0.0
        clicked = 0
        number = 0
        while now < seconds:
            now += self.events[number](self) if number in self.events else 0.0
            begins, now = now, now + step
            click = int(now / CLICK_EVERY_S) > clicked
            clicked = int(now / CLICK_EVERY_S)
            if number not in self.lost:
                yield now + self.delay(number), self.ssrc, self.sequence, self.timestamp, CLICK if click else QUIET
            self.sequence, self.timestamp = (self.sequence + 1) & 0xFFFF, (self.timestamp + FRAME) & 0xFFFFFFFF
            number += 1
            assert begins < now


class Desk:
    """A recorder with its two tracks on a virtual clock."""

    def __init__(self, root: Path) -> None:
        self.recorder = Recorder(root=root, call_id=CALL, started_at=datetime(2026, 5, 1, tzinfo=UTC))
        self.tracks = {
            speaker: Track(speaker=speaker, recorder=self.recorder, live=None, zero=0.0) for speaker in Speaker
        }

    def record(self, senders: dict[Speaker, Sender], seconds: float) -> SealedRecording:
        windows = {speaker: SequenceWindow() for speaker in senders}
        stream = sorted(
            (arrival, speaker.value, ssrc, sequence, timestamp, payload)
            for speaker, sender in senders.items()
            for arrival, ssrc, sequence, timestamp, payload in sender.packets(seconds)
        )
        ticked = 0.0
        for arrival, name, ssrc, sequence, timestamp, payload in stream:
            speaker = Speaker(name)
            order = windows[speaker].receive(ssrc, sequence)
            self.tracks[speaker].take(order=order, timestamp=timestamp, payload=payload, law=Law.PCMA, now=arrival)
            if arrival - ticked >= 0.25:
                ticked = arrival
                for track in self.tracks.values():
                    track.tick(lost=0, now=arrival)
                self.recorder.tick(arrival)
        for track in self.tracks.values():
            track.tick(lost=0, now=seconds)
        return self.recorder.seal(end=int(seconds * 8000))


def clicks(sealed: SealedRecording, speaker: Speaker) -> list[int]:
    """Where each click begins."""
    raw = np.frombuffer((sealed.directory / f"{speaker.value}.alaw").read_bytes(), dtype=np.uint8)
    loud = np.flatnonzero(raw == CLICK[0])
    return [int(at) for at in loud[np.insert(np.diff(loud) > FRAME, 0, True)]] if loud.size else []


def marked(sealed: SealedRecording, speaker: Speaker) -> list[Mark]:
    return marks(read_sidecar(sealed.directory).events, speaker)


def jitter(seed: int, most_s: float) -> Callable[[int], float]:
    dice = random.Random(seed)
    return lambda _number: dice.uniform(0.0, most_s)


def test_ten_minutes_of_drift_lose_nothing_and_are_known_to_the_millisecond(tmp_path: Path) -> None:
    """One clock 100 ppm fast, the other 100 ppm slow: after ten minutes what was said at once stands 120 ms apart."""
    senders = {
        Speaker.CALLER: Sender(ppm=100, delay=jitter(1, 0.03)),
        Speaker.OFFICER: Sender(ppm=-100, delay=jitter(2, 0.03), timestamp=0xFFFF0000),
    }
    sealed = Desk(tmp_path).record(senders, 600)
    for speaker, ppm in ((Speaker.CALLER, 100), (Speaker.OFFICER, -100)):
        assert [gap for gap in sealed.gaps[speaker] if gap[0] > 400 and sum(gap) < 599 * 8000] == []
        assert drift_ppm(marked(sealed, speaker)) == pytest.approx(ppm, abs=12)
        assert len(marked(sealed, speaker)) >= 59
    pairs = list(zip(clicks(sealed, Speaker.CALLER), clicks(sealed, Speaker.OFFICER), strict=True))
    assert len(pairs) >= 119
    assert 0.085 * 8000 < pairs[-1][0] - pairs[-1][1] < 0.155 * 8000, "the drift is there, and nothing hides it"
    known = {speaker: marked(sealed, speaker) for speaker in Speaker}
    for caller, officer in pairs:
        apart = on_the_clock(caller, known[Speaker.CALLER]) - on_the_clock(officer, known[Speaker.OFFICER])
        assert abs(apart) <= 0.025 * 8000


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda phone: _set(phone, timestamp=0x9000_0000), id="the timestamp jumps"),
        pytest.param(lambda phone: _set(phone, timestamp=phone.timestamp - 40_000), id="the timestamp jumps back"),
        pytest.param(lambda phone: _set(phone, ssrc=77, sequence=9, timestamp=1), id="the source changes"),
        pytest.param(lambda phone: _set(phone, sequence=60_000), id="the numbers begin anew"),
    ],
)
def test_a_stream_that_begins_anew_stays_in_its_place(tmp_path: Path, change: Callable[[Sender], float]) -> None:
    senders = {Speaker.CALLER: Sender(events={1003: change}), Speaker.OFFICER: Sender()}
    sealed = Desk(tmp_path).record(senders, 40)
    both = clicks(sealed, Speaker.CALLER), clicks(sealed, Speaker.OFFICER)
    assert len(both[0]) == len(both[1]) >= 7
    assert all(abs(caller - officer) <= FRAME for caller, officer in zip(*both, strict=True))
    assert sum(length for start, length in sealed.gaps[Speaker.CALLER] if 0 < start < 39 * 8000) <= FRAME


def _set(phone: Sender, pause: float = 0.0, **values: int) -> float:
    for name, value in values.items():
        setattr(phone, name, value)
    return pause


def test_a_phone_that_starts_again_leaves_a_gap_as_long_as_it_was_away(tmp_path: Path) -> None:
    restart = {1003: lambda phone: _set(phone, 3.0, ssrc=9, sequence=1, timestamp=7)}
    sealed = Desk(tmp_path).record({Speaker.CALLER: Sender(events=restart), Speaker.OFFICER: Sender()}, 40)
    [(start, length)] = [gap for gap in sealed.gaps[Speaker.CALLER] if 0 < gap[0] < 39 * 8000 and gap[1] > FRAME]
    assert start == pytest.approx(1003 * FRAME + FRAME, abs=FRAME)
    assert length == pytest.approx(3 * 8000, abs=2 * FRAME)
    officer = clicks(sealed, Speaker.OFFICER)
    for caller in clicks(sealed, Speaker.CALLER):
        assert min(abs(caller - other) for other in officer) <= 3 * FRAME or start <= caller <= start + length + FRAME
    known = marked(sealed, Speaker.CALLER)
    assert any(mark.position >= start + length and mark.timestamp < 100_000 for mark in known), "the new stream's mark"


def test_packets_that_come_late_find_their_place_or_leave_their_gap(tmp_path: Path) -> None:
    """Every tenth comes half a second late; one comes after more than two seconds and has lost its place."""
    late = dict.fromkeys(range(100, 1900, 10), 0.5) | {1003: 2.4}
    sender = Sender(delay=lambda number: late.get(number, 0.0), lost=frozenset({1503}))
    sealed = Desk(tmp_path).record({Speaker.CALLER: sender, Speaker.OFFICER: Sender()}, 40)
    within = [gap for gap in sealed.gaps[Speaker.CALLER] if 0 < gap[0] < 39 * 8000]
    anchor = FRAME
    assert within == [(1003 * FRAME + anchor, FRAME), (1503 * FRAME + anchor, FRAME)]
    assert clicks(sealed, Speaker.CALLER) == clicks(sealed, Speaker.OFFICER)
    told = [event for event in read_sidecar(sealed.directory).events if event["event"] == "refused"]
    assert [event["packets"] for event in told] == [1]


def test_a_first_packet_that_was_held_up_is_seen_by_those_after_it(tmp_path: Path) -> None:
    """The whole stream then stands 200 ms late, and the marks say so."""
    sender = Sender(delay=lambda number: max(0.0, 0.2 - number * 0.0199))
    sealed = Desk(tmp_path).record({Speaker.CALLER: sender, Speaker.OFFICER: Sender()}, 40)
    known = {speaker: marked(sealed, speaker) for speaker in Speaker}
    for caller, officer in list(zip(clicks(sealed, Speaker.CALLER), clicks(sealed, Speaker.OFFICER), strict=True))[3:]:
        assert caller - officer == pytest.approx(0.2 * 8000, abs=FRAME)
        apart = on_the_clock(caller, known[Speaker.CALLER]) - on_the_clock(officer, known[Speaker.OFFICER])
        assert abs(apart) <= FRAME


def test_without_marks_nothing_is_known() -> None:
    assert on_the_clock(800, []) == 800
    assert drift_ppm([]) is None
    assert marks([{"event": "clock", "channel": "caller", "position": "x"}], Speaker.CALLER) == []
