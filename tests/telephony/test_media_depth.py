"""Media beyond the plain call: reports between the parties, a loop that stood still, faults told in the summary."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from duty.domain.transcripts import Speaker
from telephony.media_poll import MediaPoll
from telephony.rtp.g711 import Law
from telephony.rtp.inband import key_tone
from telephony.rtp.packet import HEADER
from telephony.rtp.rtcp import Goodbye, Report, ReportBlock, SenderInfo, parse_compound, source_description
from tests.telephony.test_media import CALL, NOISE, Remote, Room, channel, events, make_plane, now, settle


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    plane = make_plane(tmp_path, clock=time.monotonic)
    room = Room(plane, plane.open(CALL, started_at=now()))
    yield room
    for peer in room.peers:
        peer.transport.close()
    await plane.aclose()


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    """The remote's sockets for RTP and RTCP, at neighbouring ports."""
    for port in range(20_000, 29_000, 2):
        rtp, rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        try:
            rtp.bind(("127.0.0.1", port))
            rtcp.bind(("127.0.0.1", port + 1))
        except OSError:
            rtp.close()
            rtcp.close()
            continue
        rtp.setblocking(False)
        rtcp.setblocking(False)
        return rtp, rtcp
    raise AssertionError("no pair of ports")


async def test_both_sides_of_a_leg_report(room: Room, pair: tuple[socket.socket, socket.socket]) -> None:
    rtp, rtcp = pair
    caller = await room.peer(Speaker.CALLER)
    room.session.set_remote(Speaker.OFFICER, Remote(host="127.0.0.1", port=rtp.getsockname()[1]))
    room.session.bridge()
    host, port = room.at(Speaker.OFFICER)
    media, began = asyncio.create_task(caller.talk(room.at(Speaker.CALLER), NOISE[:40_000], speed=1)), time.monotonic()
    got: list[tuple[Report | Goodbye, ...]] = []
    sent = 0
    while time.monotonic() - began < 5.2 and not got:
        rtp.sendto(HEADER.pack(0x80, 8, sent + sent // 10, sent * 160, 77) + NOISE[:160], (host, port))
        sent += 1
        await asyncio.sleep(0.02)
        try:
            got.append(parse_compound(rtcp.recv(2048)))
        except BlockingIOError:
            continue
    (report,) = got[0]
    assert isinstance(report, Report)
    assert report.sender is not None
    assert 0 < report.sender.packets <= len(caller.sent)
    assert report.sender.octets == report.sender.packets * 160
    (block,) = report.blocks
    assert block.ssrc == 77
    assert block.lost == pytest.approx(sent // 10, abs=1)
    assert block.fraction_lost / 256 == pytest.approx(1 / 11, abs=0.03)
    view = ReportBlock(
        ssrc=report.ssrc, fraction_lost=0, lost=3, highest_sequence=0, jitter=16,
        last_report=report.sender.ntp >> 16 & 0xFFFFFFFF, delay=0,
    )  # fmt: skip
    info = SenderInfo(ntp=1 << 40, timestamp=0, packets=sent, octets=sent * 160)
    answer = Report(ssrc=77, sender=info, blocks=(view,)).serialize() + source_description(77, "phone")
    rtcp.sendto(answer, (host, port + 1))
    await media
    await settle()
    summary = room.session.summary()["officer"]
    assert (summary["remote_lost"], summary["remote_jitter_ms"]) == (3, 2.0)
    assert isinstance(summary["round_trip_ms"], float)
    assert 0 <= summary["round_trip_ms"] < 200
    rtp.sendto(answer, (host, port))
    await settle()
    figures = room.session.statistics(Speaker.OFFICER)
    assert (figures.rtcp, figures.unknown_payload, figures.stream.received) == (2, 0, sent)
    await room.session.close()
    farewell = [packet for packet in parse_compound(rtcp.recv(2048)) if isinstance(packet, Goodbye)]
    assert farewell == [Goodbye(ssrcs=(report.ssrc,))]
    rtp.close()
    rtcp.close()


@pytest.mark.rule("6.1-d")
async def test_a_loop_that_stood_still_leaves_no_mark_on_the_recording(room: Room) -> None:
    """Packets keep coming on time for three seconds in which nobody reads them."""
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.start_recording()
    room.session.bridge()
    await caller.talk(room.at(Speaker.CALLER), NOISE[:8000], speed=1)
    begin = time.monotonic()
    for number in range(150):
        time.sleep(max(0.0, begin + number * 0.02 - time.monotonic()))  # noqa: ASYNC251 - the stall under test
        at = 8000 + number * 160
        caller.transport.sendto(
            HEADER.pack(0x80, 8, caller.sequence, caller.timestamp, caller.ssrc) + NOISE[at : at + 160],
            room.at(Speaker.CALLER),
        )
        caller.sequence = (caller.sequence + 1) & 0xFFFF
        caller.timestamp = (caller.timestamp + 160) & 0xFFFFFFFF
    await asyncio.sleep(0.1)
    await caller.talk(room.at(Speaker.CALLER), NOISE[32_000:40_000], speed=1)
    await settle()
    assert len(officer.received) == 250
    sealed = await room.session.close()
    assert sealed is not None
    assert channel(sealed, Speaker.CALLER).endswith(NOISE[:40_000])
    assert events(sealed, "reanchor") == []
    spoken = range(sealed.raw_samples[Speaker.CALLER] - 40_000, sealed.raw_samples[Speaker.CALLER])
    assert not [start for start, _ in sealed.gaps[Speaker.CALLER] if start in spoken]
    assert room.session.summary()["caller"]["jitter_ms"] < 50  # type: ignore[operator]


async def test_one_way_audio_and_silence_are_told(room: Room) -> None:
    room.session.silence_after_s = 1.0
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.bridge()
    await officer.talk(room.at(Speaker.OFFICER), Law.PCMA.silence * 26_400, speed=1)
    await settle()
    summary = room.session.summary()
    assert (summary["caller"]["one_way"], summary["officer"]["one_way"]) == (True, False)
    assert summary["caller"]["silent_s"] == pytest.approx(3.3, abs=0.6)
    assert (summary["officer"]["audible"], summary["officer"]["packets"]) == (False, 165)
    await caller.talk(room.at(Speaker.CALLER), NOISE[:3200], speed=1)
    await settle()
    await room.session.close()
    summary = room.session.summary()
    assert (summary["caller"]["one_way"], summary["caller"]["audible"]) == (False, True)
    assert (summary["caller"]["codec"], summary["caller"]["lost"], summary["caller"]["strays"]) == ("PCMA", 0, 0)


async def test_a_key_in_the_voice_counts_where_no_telephone_event_was_agreed(room: Room) -> None:
    voice = Law.PCMA.encode(np.concatenate([key_tone("7", 0.1), np.zeros(800, dtype=np.int16)] * 2))
    digits: list[tuple[Speaker, str, int]] = []
    room.session.on_dtmf = lambda *digit: digits.append(digit)
    room.session.redact_dtmf = True
    room.session.start_recording()
    caller = await room.peer(Speaker.CALLER)
    officer = await room.peer(Speaker.OFFICER, telephone_event=None)
    await asyncio.gather(
        caller.talk(room.at(Speaker.CALLER), voice, speed=1), officer.talk(room.at(Speaker.OFFICER), voice, speed=1)
    )
    await settle()
    sealed = await room.session.close()
    assert [(speaker, digit) for speaker, digit, _ in digits] == [(Speaker.OFFICER, "7")] * 2
    assert sealed is not None
    assert [event["digit"] for event in events(sealed, "dtmf")] == ["redacted"] * 2


async def test_comfort_noise_is_no_unknown_payload(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    caller.send(room.at(Speaker.CALLER), b"\x40", 13)
    await settle()
    figures = room.session.statistics(Speaker.CALLER)
    assert (figures.comfort_noise, figures.unknown_payload) == (1, 0)


async def test_what_is_no_media_latches_nobody(room: Room) -> None:
    stranger, caller = await room.peer(None), await room.peer(None)
    room.session.set_remote(Speaker.CALLER, Remote(host="127.0.0.1", port=9), latch=True)
    stranger.transport.sendto(bytes(200), room.at(Speaker.CALLER))
    stranger.transport.sendto(source_description(1, "report"), room.at(Speaker.CALLER))
    await settle()
    await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await settle()
    figures = room.session.statistics(Speaker.CALLER)
    assert (figures.stream.received, figures.stray) == (10, 2)


async def test_after_an_announcement_the_voice_is_passed_on_shifted_and_whole(room: Room) -> None:
    """More than the 128 packets after which the quick way is taken."""
    caller, officer = await room.peer(Speaker.CALLER), await room.peer(Speaker.OFFICER)
    room.session.bridge()
    playback = room.session.play(Speaker.CALLER, Law.PCMA.decode(NOISE[:1600]))
    await playback.done
    await officer.talk(room.at(Speaker.OFFICER), NOISE[:48_000])
    await settle()
    again = room.session.play(Speaker.CALLER, Law.PCMA.decode(NOISE[:1600]))
    await again.done
    await officer.talk(room.at(Speaker.OFFICER), NOISE[48_000:56_000])
    await settle()
    heard = caller.heard
    said = NOISE[:1600] + NOISE[:48_000] + NOISE[:1600] + NOISE[48_000:56_000]
    assert b"".join(packet.payload for packet in heard) == said
    assert len({packet.ssrc for packet in heard}) == 1
    first = heard[0].sequence
    assert [(packet.sequence - first) & 0xFFFF for packet in heard] == list(range(len(heard)))
    assert room.session.statistics(Speaker.CALLER).sent == len(heard)


async def test_a_burst_is_taken_at_once_and_a_flood_does_not_hold_the_loop() -> None:
    poll = MediaPoll(asyncio.get_running_loop(), clock=time.monotonic)
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.setblocking(False)
    other.setblocking(False)
    read: list[float] = []

    def take(_late: bool) -> bool:
        try:
            one.recv(100)
        except BlockingIOError:
            return False
        read.append(time.monotonic())
        return True

    poll.add(one, take)
    await asyncio.sleep(0.02)
    for _ in range(10):
        other.send(b"x")
    await asyncio.sleep(0.05)
    assert len(read) == 10
    assert read[-1] - read[0] < 0.02
    flooding = True

    async def flood() -> None:
        while flooding:
            with contextlib.suppress(BlockingIOError):
                for _ in range(8):
                    other.send(b"x")
            await asyncio.sleep(0)

    task = asyncio.create_task(flood())
    begin = time.monotonic()
    await asyncio.sleep(0.2)
    assert time.monotonic() - begin < 0.6
    flooding = False
    await task
    poll.remove(one)
    poll.close()
    one.close()
    other.close()


async def test_work_that_can_wait_is_kept_once_and_done_under_a_flood() -> None:
    """Sockets that are never empty: what was asked for a thousand times waits once, and is done in the next turn."""
    done: list[str] = []
    poll = MediaPoll(asyncio.get_running_loop(), clock=time.monotonic)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flooded,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        flooded.bind(("127.0.0.1", 0))
        flooded.setblocking(False)

        class Works:
            def one(self) -> None:
                done.append("one")

            def two(self) -> None:
                done.append("two")

        works = Works()

        def read(_late: bool) -> bool:
            """Never emptier than before: another datagram for each that is taken."""
            flooded.recv(100)
            sender.sendto(b"x", flooded.getsockname())
            for _ in range(50):
                poll.later(works.one)
                poll.later(works.two)
            return True

        poll.add(flooded, read)
        try:
            sender.sendto(b"x", flooded.getsockname())
            await asyncio.sleep(0.1)
            assert len(poll._later) <= 2
            assert {"one", "two"} <= set(done)
        finally:
            poll.remove(flooded)
            poll.close()
