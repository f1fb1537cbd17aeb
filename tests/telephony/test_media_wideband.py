"""G.722 on one side or both: passed on untouched, transcoded where it must be, recorded as telephone sound."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from G722 import G722

from duty.domain.transcripts import Speaker
from telephony.rtp import tones
from telephony.rtp.dtmf import press
from telephony.rtp.g711 import Law, Samples
from tests.peers.audio import align
from tests.telephony.test_media import CALL, Peer, Room, channel, make_plane, now, settle

WIDE = 9
SPEECH_S = 4


def melody(rate: int, *, late_s: float = 0.0) -> Samples:
    """Something without two like stretches, all below 3.4 kHz."""
    at = np.arange(SPEECH_S * rate) / rate - late_s
    sweep = np.sin(2 * np.pi * (300 * at + 300 * at**2))
    return (6000 * sweep * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * at))).astype(np.int16)


def likeness(heard: Samples, *, seconds: float = SPEECH_S) -> float:
    """Correlation with the melody; the filters' delay is no whole number of samples at 8 kHz."""
    said = (melody(8000, late_s=part / 32_000)[: round(seconds * 8000)] for part in range(4))
    return max(align(each, heard).correlation for each in said)


def coded(samples: Samples) -> bytes:
    payload: bytes = G722(16000, 64000).encode(samples)
    return payload


def narrow(payload: bytes) -> Samples:
    """What an ear at 8 kHz hears of G.722; the test's own way."""
    wide = np.frombuffer(G722(16000, 64000).decode(payload), dtype=np.int16)
    return (wide[::2] // 2 + wide[1::2] // 2).astype(np.int16)


SPEECH = coded(melody(16000))


class WidePeer(Peer):
    """A remote that speaks G.722 only."""

    def say(self, to: tuple[str, int], payload: bytes, *, marker: bool = False) -> None:
        self.send(to, payload, WIDE, marker)
        self.timestamp = (self.timestamp + len(payload)) & 0xFFFFFFFF


async def wide_peer(room: Room, leg: Speaker) -> WidePeer:
    peer = WidePeer()
    await peer.open()
    room.peers.append(peer)
    room.session.set_remote(leg, dataclasses.replace(peer.remote, payload_type=WIDE))
    return peer


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    plane = make_plane(tmp_path)
    room = Room(plane, plane.open(CALL, started_at=now()))
    room.session.start_recording()
    room.session.bridge()
    yield room
    for peer in room.peers:
        peer.transport.close()
    await plane.aclose()


@pytest.mark.rule("6.1-d")
async def test_between_two_wideband_sides_nothing_is_touched_and_the_recording_is_what_was_said(room: Room) -> None:
    caller, officer = await wide_peer(room, Speaker.CALLER), await wide_peer(room, Speaker.OFFICER)
    await caller.talk(room.at(Speaker.CALLER), SPEECH)
    await settle()
    assert officer.received == caller.sent
    assert room.session.summary()["caller"]["codec"] == "G722"
    sealed = await room.session.close()
    assert sealed is not None
    recorded = channel(sealed, Speaker.CALLER)
    assert len(recorded) - len(SPEECH) < 1600
    assert sealed.gaps[Speaker.CALLER][:1] in ((), ((0, len(recorded) - len(SPEECH)),))
    assert likeness(Law.PCMA.decode(recorded)) >= 0.99


@pytest.mark.parametrize("law", list(Law))
async def test_a_wideband_caller_and_a_plain_phone_understand_each_other(room: Room, law: Law) -> None:
    caller = await wide_peer(room, Speaker.CALLER)
    officer = await room.peer(Speaker.OFFICER, law)
    said = melody(8000)
    await caller.talk(room.at(Speaker.CALLER), SPEECH)
    await officer.talk(room.at(Speaker.OFFICER), law.encode(said))
    await settle()
    assert {(each.payload_type, len(each.payload)) for each in officer.heard} == {(law.value, 160)}
    assert {(each.payload_type, len(each.payload)) for each in caller.heard} == {(WIDE, 160)}
    assert [each.sequence for each in officer.heard] == [(caller.sequence - 200 + n) & 0xFFFF for n in range(200)]
    assert likeness(law.decode(b"".join(each.payload for each in officer.heard))) >= 0.99
    assert likeness(narrow(b"".join(each.payload for each in caller.heard))) >= 0.99


async def test_losses_and_repeats_of_wideband_are_counted_as_ever(room: Room) -> None:
    caller = await wide_peer(room, Speaker.CALLER)
    officer = await room.peer(Speaker.OFFICER)
    to = room.at(Speaker.CALLER)
    for number in range(100):
        if number in (40, 41, 42):
            caller.sequence, caller.timestamp = caller.sequence + 1 & 0xFFFF, caller.timestamp + 160 & 0xFFFFFFFF
            continue
        caller.say(to, SPEECH[number * 160 : number * 160 + 160])
        if number == 60:
            caller.transport.sendto(caller.sent[-1], to)
        if number % 10 == 9:
            await settle()
    figures = room.session.statistics(Speaker.CALLER)
    assert (figures.stream.received, figures.stream.lost, figures.stream.duplicated) == (98, 3, 1)
    assert len(officer.heard) == 97
    sealed = await room.session.close()
    assert sealed is not None
    assert 480 in [samples for _, samples in sealed.gaps[Speaker.CALLER]]


@pytest.mark.rule("6.1-a")
async def test_announcement_and_keys_reach_a_wideband_caller(room: Room) -> None:
    caller, officer = await wide_peer(room, Speaker.CALLER), await room.peer(Speaker.OFFICER)
    sound = melody(8000)[:16_000]
    playback = room.session.play(Speaker.CALLER, sound, announcement="no_answer")
    assert await playback.done
    await settle()
    assert {each.payload_type for each in caller.heard} == {WIDE}
    assert likeness(narrow(b"".join(each.payload for each in caller.heard)), seconds=2) >= 0.99
    pressed: list[str] = []
    room.session.on_dtmf = lambda _leg, digit, _ms: pressed.append(digit)
    for event in press("5", duration_ms=100):
        caller.send(room.at(Speaker.CALLER), event.payload, 101, event.marker)
    await settle()
    assert pressed == ["5"]
    assert len({parse.timestamp for parse in officer.heard if parse.payload_type == 101}) == 1


@pytest.mark.rule("5-a")
async def test_a_fax_tone_is_heard_through_wideband(room: Room) -> None:
    caller = await wide_peer(room, Speaker.CALLER)
    heard: list[str] = []
    room.session.on_tone = lambda _leg, name: heard.append(name)
    wide = np.repeat(np.concatenate([tones.cng(), np.zeros(4000, dtype=np.int16)]), 2)
    await caller.talk(room.at(Speaker.CALLER), coded(wide))
    await settle()
    room.session.tick(room.plane.clock())
    assert heard == ["cng"]
