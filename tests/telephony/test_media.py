"""Media between real UDP peers on loopback: no frame lost, doubled or disordered, every voice recorded bit for bit."""

import asyncio
import json
import random
import socket
import time
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from duty.domain.liveframes import LiveFrame
from duty.domain.transcripts import Speaker
from telephony.keys import How
from telephony.livefeed import LiveFeed
from telephony.media import MediaPlane, MediaSession
from telephony.media_errors import NoFreePortError, NoRemoteError, RecordingNotSealedError
from telephony.rtp import tones
from telephony.rtp.dtmf import Digit, press
from telephony.rtp.g711 import Law
from telephony.rtp.inband import InbandDetector
from telephony.rtp.packet import RtpPacket, parse_packet
from telephony.sealing import SealedRecording
from telephony.sip.security_description import MediaKeys

CALL = "0123456789abcdef0123456789abcdef"
NOISE = np.random.default_rng(3).integers(0, 256, 160_000, dtype=np.uint8).tobytes()
SPEED = 5
"""How much faster than a clock on the wall these calls run."""


def now() -> datetime:
    return datetime.now(UTC)


def fast_clock() -> float:
    return time.monotonic() * SPEED


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    host: str
    port: int
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


class Peer(asyncio.DatagramProtocol):
    """One remote with a socket of its own, a source of numbered packets and everything it ever received."""

    def __init__(self, law: Law = Law.PCMA, telephone_event: int | None = 101) -> None:
        self.law, self.telephone_event = law, telephone_event
        self.received: list[bytes] = []
        self.sent: list[bytes] = []
        self.ssrc = random.getrandbits(32)
        self.sequence = random.getrandbits(16)
        self.timestamp = random.getrandbits(32)

    async def open(self) -> "Peer":
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        return self

    @property
    def remote(self) -> Remote:
        host, port = self.transport.get_extra_info("sockname")
        return Remote(host=host, port=port, payload_type=self.law.value, telephone_event=self.telephone_event)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received.append(data)

    def say(self, to: tuple[str, int], payload: bytes, *, marker: bool = False) -> None:
        self.send(to, payload, self.law.value, marker)
        self.timestamp = (self.timestamp + len(payload)) & 0xFFFFFFFF

    def send(self, to: tuple[str, int], payload: bytes, payload_type: int, marker: bool = False) -> None:
        packet = RtpPacket(
            payload_type=payload_type,
            marker=marker,
            sequence=self.sequence,
            timestamp=self.timestamp,
            ssrc=self.ssrc,
            payload=payload,
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.sent.append(packet.serialize())
        self.transport.sendto(self.sent[-1], to)

    async def talk(self, to: tuple[str, int], data: bytes, *, speed: float = SPEED) -> None:
        begin = time.monotonic()
        for number, offset in enumerate(range(0, len(data), 160)):
            await asyncio.sleep(max(0.0, begin + number * 0.02 / speed - time.monotonic()))
            self.say(to, data[offset : offset + 160], marker=number == 0)

    @property
    def heard(self) -> list[RtpPacket]:
        return [parse_packet(data) for data in self.received]


@dataclass
class Room:
    """A plane with one session, and peers that are closed with it."""

    plane: MediaPlane
    session: MediaSession
    peers: list[Peer] = field(default_factory=list)

    async def peer(self, leg: Speaker | None, law: Law = Law.PCMA, telephone_event: int | None = 101) -> Peer:
        peer = await Peer(law, telephone_event).open()
        self.peers.append(peer)
        if leg is not None:
            self.session.set_remote(leg, peer.remote)
        return peer

    def at(self, leg: Speaker) -> tuple[str, int]:
        return self.session.address(leg)


def make_plane(root: Path, **options: object) -> MediaPlane:
    first = random.randrange(10_000, 30_000, 2)
    return MediaPlane(
        bind_host="127.0.0.1",
        advertised_host="127.0.0.1",
        port_range=(first, first + 199),
        recordings_root=root,
        **{"clock": fast_clock, **options},  # type: ignore[arg-type]
    )


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    plane = make_plane(tmp_path)
    room = Room(plane, plane.open(CALL, started_at=now()))
    yield room
    for peer in room.peers:
        peer.transport.close()
    await plane.aclose()


def events(sealed: SealedRecording, name: str) -> list[dict[str, object]]:
    lines = (sealed.directory / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def channel(sealed: SealedRecording, speaker: Speaker) -> bytes:
    return next(sealed.directory.glob(f"{speaker.value}.?law")).read_bytes()


def raw_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("caller.?law"))


def stereo(sealed: SealedRecording) -> np.ndarray:
    with wave.open(str(sealed.wav_path)) as wav:
        return np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2").reshape(-1, 2)


async def settle() -> None:
    await asyncio.sleep(0.05)


@pytest.mark.rule("6.1-d")
async def test_ten_seconds_pass_untouched_and_are_recorded_bit_for_bit(room: Room) -> None:
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.start_recording()
    room.session.bridge()
    left, right = NOISE[:80_000], NOISE[80_000:]
    await asyncio.gather(caller.talk(room.at(Speaker.CALLER), left), officer.talk(room.at(Speaker.OFFICER), right))
    await settle()
    assert officer.received == caller.sent
    assert caller.received == officer.sent
    sealed = await room.session.close()
    assert sealed is not None
    assert sealed.damaged is None
    sound = stereo(sealed)
    for number, (speaker, data) in enumerate([(Speaker.CALLER, left), (Speaker.OFFICER, right)]):
        raw = channel(sealed, speaker)
        assert len(raw) - 80_000 < 1600
        assert raw.endswith(data)
        sent = Law.PCMA.decode(data)
        recorded = sound[len(raw) - 80_000 : len(raw), number]
        assert np.corrcoef(sent, recorded)[0, 1] == pytest.approx(1.0, abs=1e-12)
        figures = room.session.statistics(speaker)
        assert (figures.stream.received, figures.stream.lost, figures.stray, figures.sent) == (500, 0, 0, 500)
    assert events(sealed, "loss") == events(sealed, "reanchor") == []


async def test_legs_of_different_laws_understand_each_other(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER, Law.PCMA)
    officer = await room.peer(Speaker.OFFICER, Law.PCMU, telephone_event=96)
    room.session.start_recording()
    room.session.bridge()
    await asyncio.gather(
        caller.talk(room.at(Speaker.CALLER), NOISE[:16_000]),
        officer.talk(room.at(Speaker.OFFICER), NOISE[16_000:32_000]),
    )
    await settle()
    assert b"".join(p.payload for p in officer.heard) == Law.PCMU.recode(NOISE[:16_000], Law.PCMA)
    assert b"".join(p.payload for p in caller.heard) == Law.PCMA.recode(NOISE[16_000:32_000], Law.PCMU)
    assert {p.payload_type for p in officer.heard} == {0}
    assert {p.payload_type for p in caller.heard} == {8}
    assert [p.sequence for p in officer.heard] == [parse_packet(data).sequence for data in caller.sent]
    sealed = await room.session.close()
    assert sealed is not None
    assert channel(sealed, Speaker.CALLER).endswith(NOISE[:16_000])
    assert channel(sealed, Speaker.OFFICER).endswith(NOISE[16_000:32_000])
    assert (sealed.directory / "officer.ulaw").exists()


async def test_an_announcement_and_then_the_officer_are_one_stream(tmp_path: Path) -> None:
    plane = make_plane(tmp_path, clock=time.monotonic)
    room = Room(plane, plane.open(CALL, started_at=now()))
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.start_recording()
    room.session.bridge()
    prompt = Law.PCMA.decode(NOISE[:8050])
    begin = time.monotonic()
    playback = room.session.play(Speaker.CALLER, prompt, announcement="no_answer")
    early = asyncio.create_task(officer.talk(room.at(Speaker.OFFICER), NOISE[8000:9600], speed=1))
    assert await playback.done
    assert time.monotonic() - begin == pytest.approx(1.02, abs=0.06)
    await early
    assert len(caller.received) == 51
    ringing = room.session.play(Speaker.CALLER, tones.ringback(), loop=True)
    await asyncio.sleep(0.2)
    ringing.stop()
    assert await ringing.done is False
    await officer.talk(room.at(Speaker.OFFICER), NOISE[9600:16_000], speed=1)
    await settle()
    heard = caller.heard
    assert len({packet.ssrc for packet in heard}) == 1
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairwise(heard))
    assert all(160 <= (b.timestamp - a.timestamp) & 0xFFFFFFFF < 2000 for a, b in pairwise(heard))
    assert b"".join(packet.payload for packet in heard[:51]) == NOISE[:8050] + Law.PCMA.encode(
        np.zeros(110, dtype=np.int16)
    )
    assert b"".join(packet.payload for packet in heard[-40:]) == NOISE[9600:16_000]
    markers = [number for number, packet in enumerate(heard) if packet.marker]
    assert markers == [0, 51, len(heard) - 40]
    sealed = await room.session.close()
    assert sealed is not None
    (noted,) = events(sealed, "announcement")
    assert (noted["channel"], noted["name"]) == ("officer", "no_answer")
    assert channel(sealed, Speaker.OFFICER).endswith(NOISE[9600:16_000])
    for peer in room.peers:
        peer.transport.close()
    await plane.aclose()


async def test_an_unanswered_call_has_its_announcement_on_record(tmp_path: Path) -> None:
    plane = make_plane(tmp_path, clock=time.monotonic)
    room = Room(plane, plane.open(CALL, started_at=now()))
    caller = await room.peer(Speaker.CALLER)
    room.session.start_recording()
    playback = room.session.play(Speaker.CALLER, Law.PCMA.decode(NOISE[:4800]), announcement="no_answer")
    await playback.done
    await settle()
    assert len(caller.received) == 30
    sealed = await room.session.close()
    assert sealed is not None
    (noted,) = events(sealed, "announcement")
    position = noted["position"]
    assert isinstance(position, int)
    assert channel(sealed, Speaker.OFFICER)[position : position + 4800] == NOISE[:4800]
    caller.transport.close()
    await plane.aclose()


async def test_packets_of_strangers_are_dropped_and_counted(room: Room) -> None:
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    stranger = await room.peer(None)
    room.session.start_recording()
    room.session.bridge()
    await asyncio.gather(
        caller.talk(room.at(Speaker.CALLER), NOISE[:8000]),
        stranger.talk(room.at(Speaker.CALLER), NOISE[8000:16_000]),
    )
    await settle()
    assert officer.received == caller.sent
    assert room.session.statistics(Speaker.CALLER).stray == 50
    sealed = await room.session.close()
    assert sealed is not None
    assert channel(sealed, Speaker.CALLER).endswith(NOISE[:8000])
    assert room.plane.statistics.stray == 50


async def test_latching_takes_the_first_port_and_no_other(room: Room) -> None:
    caller, officer = await room.peer(None), await room.peer(Speaker.OFFICER)
    other = await room.peer(None)
    told = Remote(host="127.0.0.1", port=9)
    room.session.set_remote(Speaker.CALLER, told, latch=True)
    room.session.bridge()
    await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await other.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await officer.talk(room.at(Speaker.OFFICER), NOISE[:1600])
    await settle()
    assert officer.received == caller.sent
    assert caller.received == officer.sent
    assert other.received == []
    assert room.session.statistics(Speaker.CALLER).stray == 10
    room.session.set_remote(Speaker.CALLER, told, latch=True)
    await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await settle()
    assert officer.received == caller.sent


async def test_the_told_port_takes_over_from_an_earlier_call_of_the_same_host(room: Room) -> None:
    """After a crash the other ends of the broken calls talk on to ports that are lent again."""
    caller, officer = await room.peer(None), await room.peer(Speaker.OFFICER)
    earlier = await room.peer(None)
    room.session.set_remote(Speaker.CALLER, caller.remote, latch=True)
    room.session.start_recording()
    room.session.bridge()
    await earlier.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await asyncio.gather(
        caller.talk(room.at(Speaker.CALLER), NOISE[8000:16_000]),
        earlier.talk(room.at(Speaker.CALLER), NOISE[1600:9600]),
        officer.talk(room.at(Speaker.OFFICER), NOISE[:8000]),
    )
    await settle()
    assert caller.received[-1] == officer.sent[-1]
    assert b"".join(packet.payload for packet in officer.heard[-50:]) == NOISE[8000:16_000]
    sealed = await room.session.close()
    assert sealed is not None
    assert channel(sealed, Speaker.CALLER).endswith(NOISE[8000:16_000])


@pytest.mark.rule("6.6-b")
async def test_a_key_is_relayed_with_the_others_number_and_reported_once(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    officer = await room.peer(Speaker.OFFICER, telephone_event=96)
    digits: list[tuple[Speaker, str, int]] = []
    room.session.on_dtmf = lambda *digit: digits.append(digit)
    room.session.start_recording()
    room.session.bridge()
    await officer.talk(room.at(Speaker.OFFICER), NOISE[:1600])
    for digit in "4#":
        for packet in press(digit, duration_ms=120):
            officer.send(room.at(Speaker.OFFICER), packet.payload, 96, packet.marker)
        officer.timestamp += 1600
    await settle()
    assert digits == [(Speaker.OFFICER, "4", 120), (Speaker.OFFICER, "#", 120)]
    relayed = [packet for packet in caller.heard if packet.payload_type == 101]
    assert [p.payload for p in relayed] == [p.payload for d in "4#" for p in press(d, duration_ms=120)]
    assert len(caller.received) == 10 + len(relayed)
    sealed = await room.session.close()
    assert sealed is not None
    assert [event["digit"] for event in events(sealed, "dtmf")] == ["4", "#"]


@pytest.mark.rule("6.1-d")
async def test_a_sender_that_begins_anew_is_recorded_whole_and_a_stray_packet_moves_nothing(room: Room) -> None:
    """Ten frames, one from anywhere, ten more, then a restart of the numbers: all twenty of each and nothing else."""
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.start_recording()
    room.session.bridge()
    at = room.at(Speaker.CALLER)
    await caller.talk(at, NOISE[:1600])
    sequence, timestamp = caller.sequence, caller.timestamp
    caller.sequence, caller.timestamp = (sequence - 5000) & 0xFFFF, (timestamp - 5000 * 160) & 0xFFFFFFFF
    caller.say(at, b"\x00" * 160)
    caller.sequence, caller.timestamp = sequence, timestamp
    await caller.talk(at, NOISE[1600:3200])
    caller.sequence = (caller.sequence + 20_000) & 0xFFFF
    await caller.talk(at, NOISE[3200:4800])
    await settle()
    assert room.session.statistics(Speaker.CALLER).stream.lost == 0
    sealed = await room.session.close()
    assert sealed is not None
    raw = channel(sealed, Speaker.CALLER)
    assert NOISE[:3200] in raw
    assert raw.endswith(NOISE[3200:4800])
    assert b"\x00" * 160 not in raw
    assert [event["times"] for event in events(sealed, "reanchor")] == [1]
    assert len(officer.received) == 31


@pytest.mark.rule("6.1-e")
async def test_a_press_that_is_refused_at_its_beginning_is_reported_and_not_relayed(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    officer = await room.peer(Speaker.OFFICER)
    digits: list[str] = []
    asked: list[tuple[Speaker, str, How]] = []
    room.session.on_dtmf = lambda _leg, digit, _ms: digits.append(digit)

    def may(leg: Speaker, key: str, how: How) -> bool:
        asked.append((leg, key, how))
        return key not in "*!"

    room.session.on_key = may
    room.session.bridge()
    await officer.talk(room.at(Speaker.OFFICER), NOISE[:160])
    for digit in "4*7":
        for packet in press(digit, duration_ms=120):
            officer.send(room.at(Speaker.OFFICER), packet.payload, 101, packet.marker)
        officer.timestamp += 1600
    flash = bytes((16, 0x8A, 0x03, 0x20))
    officer.send(room.at(Speaker.OFFICER), flash, 101, True)
    officer.send(room.at(Speaker.OFFICER), b"\x01\x02", 101, True)  # no event at all: passed on to nobody
    await settle()
    assert digits == ["4", "*", "7"]
    assert asked == [(Speaker.OFFICER, key, How.EVENT) for key in "4*7!"]
    relayed = [packet.payload for packet in caller.heard if packet.payload_type == 101]
    assert relayed == [p.payload for d in "47" for p in press(d, duration_ms=120)]


@pytest.mark.rule("6.6-b")
@pytest.mark.parametrize("reads_events", [True, False])
async def test_a_key_by_signalling_is_noted_once_and_pressed_to_the_other_side(room: Room, reads_events: bool) -> None:
    caller = await room.peer(Speaker.CALLER, telephone_event=101 if reads_events else None)
    officer = await room.peer(Speaker.OFFICER)
    digits: list[str] = []
    room.session.on_dtmf = lambda _leg, digit, _ms: digits.append(digit)
    room.session.bridge()
    for digit in "58":
        room.session.tell_key(Speaker.OFFICER, Digit(digit=digit, duration_ms=100), passes=True)
    for packet in press("5", duration_ms=120):  # the phone sends an event for the same press, too
        officer.send(room.at(Speaker.OFFICER), packet.payload, 101, packet.marker)
    room.session.tell_key(Speaker.OFFICER, Digit(digit="9", duration_ms=100), passes=False)
    await asyncio.sleep(1.0)
    assert digits == ["5", "8", "9"]
    if reads_events:
        starts = dict.fromkeys((p.timestamp, p.payload[0]) for p in caller.heard if p.payload_type == 101)
        assert [code for _, code in starts if code != 9] in ([5, 8], [5, 5, 8])
    else:
        heard = Law.PCMA.decode(b"".join(p.payload for p in caller.heard if p.payload_type == 8))
        assert [found.digit for found in InbandDetector().receive(np.pad(heard, (0, 800)))] == ["5", "8"]


async def test_a_key_for_a_remote_without_telephone_events_is_counted(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    officer = await room.peer(Speaker.OFFICER, telephone_event=None)
    room.session.bridge()
    packets = list(press("1", duration_ms=60))
    for packet in packets:
        caller.send(room.at(Speaker.CALLER), packet.payload, 101, packet.marker)
    await settle()
    assert officer.received == []
    assert room.session.statistics(Speaker.CALLER).unheard == len(packets)


@pytest.mark.rule("5-a")
async def test_a_fax_is_reported_once(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    heard: list[tuple[Speaker, str]] = []
    room.session.on_tone = lambda *tone: heard.append(tone)
    tone = np.concatenate([tones.cng()[:6000], tones.cng()[:6000]])
    await caller.talk(room.at(Speaker.CALLER), Law.PCMA.encode(tone))
    await settle()
    assert heard == [(Speaker.CALLER, "cng")]


async def test_on_hold_nobody_hears_and_everything_is_recorded(room: Room) -> None:
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.start_recording()
    room.session.bridge()
    room.session.hold(Speaker.OFFICER)
    await caller.talk(room.at(Speaker.CALLER), NOISE[:8000])
    await settle()
    assert officer.received == []
    room.session.resume(Speaker.OFFICER)
    await caller.talk(room.at(Speaker.CALLER), NOISE[8000:16_000])
    await settle()
    assert officer.received == caller.sent[50:]
    sealed = await room.session.close()
    assert sealed is not None
    raw = channel(sealed, Speaker.CALLER)
    assert NOISE[:8000] in raw
    assert raw.endswith(NOISE[8000:16_000])
    assert [len(events(sealed, name)) for name in ("hold", "resume")] == [1, 1]


@pytest.mark.parametrize(
    "change", [{"direction": "recvonly"}, {"direction": "inactive"}, {"host": "0.0.0.0"}, {"port": 0}]
)
async def test_a_remote_that_wants_nothing_gets_nothing_but_is_recorded(room: Room, change: dict[str, object]) -> None:
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.bridge()
    room.session.start_recording()
    said = {"host": officer.remote.host, "port": officer.remote.port, **change}
    room.session.set_remote(Speaker.OFFICER, Remote(**said))  # type: ignore[arg-type]
    await asyncio.gather(
        caller.talk(room.at(Speaker.CALLER), NOISE[:1600]), officer.talk(room.at(Speaker.OFFICER), NOISE[:1600])
    )
    held = room.session.play(Speaker.OFFICER, tones.ringback()[:1600])
    assert await held.done
    await settle()
    assert officer.received == []
    assert caller.received == officer.sent
    sealed = await room.session.close()
    assert sealed is not None
    assert channel(sealed, Speaker.OFFICER).endswith(NOISE[:1600])


async def test_a_re_invite_may_move_the_remote_and_change_the_law(room: Room) -> None:
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.bridge()
    await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await settle()
    moved = await room.peer(Speaker.OFFICER, Law.PCMU)
    await caller.talk(room.at(Speaker.CALLER), NOISE[1600:3200])
    await settle()
    assert len(officer.received) == 10
    assert b"".join(p.payload for p in moved.heard) == Law.PCMU.recode(NOISE[1600:3200], Law.PCMA)
    last, first = parse_packet(officer.received[-1]), moved.heard[0]
    assert (first.sequence - last.sequence) & 0xFFFF == 1


async def test_rubbish_is_counted_and_the_call_goes_on(room: Room) -> None:
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.bridge()
    room.session.start_recording()
    rng = random.Random(5)
    for _ in range(300):
        caller.transport.sendto(rng.randbytes(rng.randrange(80)), room.at(Speaker.CALLER))
    caller.transport.sendto(b"\x80\x08" + bytes(4000), room.at(Speaker.CALLER))
    await settle()
    officer.received.clear()
    await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await settle()
    assert [p.payload for p in officer.heard] == [parse_packet(data).payload for data in caller.sent]
    figures = room.session.statistics(Speaker.CALLER)
    assert figures.malformed > 200
    sealed = await room.session.close()
    assert sealed is not None
    assert channel(sealed, Speaker.CALLER).endswith(NOISE[:1600])


async def test_silence_is_reported_once_until_it_ends(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    silences: list[Speaker] = []
    room.session.on_silence = lambda leg, _seconds: silences.append(leg)
    room.session.silence_after_s = 2.0
    assert room.session.last_packet_at(Speaker.CALLER) is None
    await asyncio.sleep(1.2)
    assert silences == [Speaker.CALLER]
    await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
    assert fast_clock() - (room.session.last_packet_at(Speaker.CALLER) or 0) < 1.0
    await asyncio.sleep(1.2)
    assert silences == [Speaker.CALLER] * 2


async def test_a_fault_in_one_call_keeps_no_recording_from_the_disk(room: Room, tmp_path: Path) -> None:
    caller = await room.peer(Speaker.CALLER)
    heard: list[Speaker] = []

    def fault(_leg: Speaker) -> None:
        raise LookupError("a fault that nobody thought of")

    room.session.on_voice = fault
    room.session.start_recording()
    other = room.plane.open("f" * 32, started_at=now())
    other.on_voice = heard.append
    second = await room.peer(None)
    other.set_remote(Speaker.CALLER, second.remote)
    await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await asyncio.sleep(0.3)
    await second.talk(other.address(Speaker.CALLER), NOISE[:1600])
    await caller.talk(room.at(Speaker.CALLER), NOISE[:8000])
    await asyncio.sleep(0.6)
    assert heard == [Speaker.CALLER]
    assert raw_bytes(tmp_path) > 8000


async def test_the_silence_of_a_side_that_holds_is_no_fault(room: Room) -> None:
    await room.peer(Speaker.CALLER)
    silences: list[Speaker] = []
    room.session.on_silence = lambda leg, _seconds: silences.append(leg)
    room.session.silence_after_s = 2.0
    room.session.hold(Speaker.CALLER)
    await asyncio.sleep(1.2)
    assert silences == []
    room.session.resume(Speaker.CALLER)
    await asyncio.sleep(0.3)
    assert silences == []  # it has only just come back
    await asyncio.sleep(1.2)
    assert silences == [Speaker.CALLER]


async def test_frames_go_to_the_live_feed_with_their_positions(tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.setblocking(False)
        plane = make_plane(tmp_path, live=LiveFeed(path, clock=fast_clock))
        room = Room(plane, plane.open(CALL, started_at=now()))
        caller = await room.peer(Speaker.CALLER)
        room.session.start_recording()
        frames: list[LiveFrame] = []
        loop = asyncio.get_running_loop()
        loop.add_reader(listener.fileno(), lambda: frames.append(LiveFrame.unpack(listener.recv(4096))))
        await caller.talk(room.at(Speaker.CALLER), NOISE[:8000])
        # Closing takes what has arrived and was not read yet.
        await room.session.close()
        await settle()
        loop.remove_reader(listener.fileno())
    assert b"".join(frame.payload for frame in frames) == NOISE[:8000]
    audio = [frame for frame in frames if frame.codec is not None]
    assert all(b.position - a.position == len(a.payload) for a, b in pairwise(audio))
    assert [frame.codec for frame in frames[-2:]] == [None, None]
    caller.transport.close()
    await plane.aclose()


async def test_ports_are_even_odd_pairs_that_rest_after_a_call(tmp_path: Path) -> None:
    """A pair rests while another is free; with none free it is lent early, for a call without media would be worse."""
    clock = [0.0]
    first = random.randrange(30_001, 50_001, 2)
    plane = MediaPlane(
        bind_host="127.0.0.1",
        advertised_host="198.51.100.7",
        port_range=(first, first + 9),
        recordings_root=tmp_path,
        clock=lambda: clock[0],
        port_rest_s=5.0,
    )
    session = plane.open(CALL, started_at=now())
    host, port = session.address(Speaker.CALLER)
    used = {session.address(leg)[1] for leg in Speaker}
    assert (host, port % 2) == ("198.51.100.7", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port + 1))
    assert await session.close() is None
    assert await session.close() is None
    clock[0] += 4.9
    second = plane.open("e" * 32, started_at=now())
    assert not used & {second.address(leg)[1] for leg in Speaker}
    third = plane.open("f" * 32, started_at=now())
    assert used == {third.address(leg)[1] for leg in Speaker}
    with pytest.raises(NoFreePortError):
        plane.open("a" * 32, started_at=now())
    assert plane.statistics.sessions == 2
    await second.close()
    await third.close()
    await plane.aclose()
    assert plane.statistics.sessions == 0


async def test_playing_needs_a_remote(room: Room) -> None:
    with pytest.raises(NoRemoteError):
        room.session.play(Speaker.CALLER, tones.busy())
    await room.peer(Speaker.CALLER)
    with pytest.raises(ValueError, match="nothing to play"):
        room.session.play(Speaker.CALLER, tones.busy()[:0])
    with pytest.raises(ValueError, match="name"):
        room.session.set_remote(Speaker.CALLER, Remote(host="name.invalid", port=4000))
    with pytest.raises(ValueError, match="3"):
        room.session.set_remote(Speaker.CALLER, Remote(host="127.0.0.1", port=4000, payload_type=3))


async def test_a_recording_the_disk_refuses_is_sealed_when_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telephony.recording_threads._RETRY_SEAL_S", 1.0)
    root = tmp_path / "root"
    root.write_text("in the way")
    late: list[SealedRecording] = []
    plane = make_plane(root, on_late_seal=late.append)
    room = Room(plane, plane.open(CALL, started_at=now()))
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.start_recording()
    room.session.bridge()
    await caller.talk(room.at(Speaker.CALLER), NOISE[:16_000])
    await settle()
    assert officer.received == caller.sent
    assert room.session.damaged is not None
    assert plane.statistics.failing_recordings == 1
    with pytest.raises(RecordingNotSealedError):
        await room.session.close()
    root.unlink()
    for _ in range(40):
        if late:
            break
        await asyncio.sleep(0.1)
    (sealed,) = late
    assert sealed.damaged is None
    assert channel(sealed, Speaker.CALLER).endswith(NOISE[:16_000])
    assert plane.statistics.unsealed == 0
    for peer in room.peers:
        peer.transport.close()
    await plane.aclose()


async def test_closing_the_plane_seals_what_still_runs(room: Room, tmp_path: Path) -> None:
    caller = await room.peer(Speaker.CALLER)
    room.session.start_recording()
    await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await settle()
    await room.plane.aclose()
    assert len(list(tmp_path.rglob("recording.wav"))) == 1  # noqa: ASYNC240
