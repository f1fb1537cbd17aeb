"""SRTP on real sockets: each side by its own keys, the recording in clear, and nothing heard that was not sealed."""

import dataclasses
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from duty.domain.transcripts import Speaker
from telephony.media_cipher import MediaCipher, UnauthenticError
from telephony.rtp.g711 import Law
from telephony.rtp.packet import HEADER, parse_packet
from telephony.rtp.rtcp import Goodbye, Report, parse_compound, source_description
from telephony.sip.security_description import AES_32, AES_80, GCM_128, GCM_256, KEY_BYTES, MediaKeys
from tests.telephony.test_media import CALL, NOISE, Peer, Room, channel, make_plane, now, settle

PROFILES = {
    AES_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    AES_32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    GCM_128: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    GCM_256: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def fresh(suite: str = AES_80) -> MediaKeys:
    """As our side has them."""
    return MediaKeys(suite=suite, send=os.urandom(KEY_BYTES[suite]), receive=os.urandom(KEY_BYTES[suite]))


def session(suite: str, key: bytes, kind: int) -> Session:
    return Session(Policy(key=key, ssrc_type=kind, srtp_profile=PROFILES[suite]))


def packet(sequence: int, *, ssrc: int = 7, payload: bytes = NOISE[:160]) -> bytes:
    return HEADER.pack(0x80, 8, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, ssrc) + payload


class SecretPeer(Peer):
    """A remote that seals what it sends and opens what it gets, by libsrtp itself."""

    def __init__(self, keys: MediaKeys, law: Law = Law.PCMA) -> None:
        super().__init__(law)
        self.wire: list[bytes] = []
        self.refused = 0
        self.agree(keys)

    def agree(self, keys: MediaKeys) -> None:
        self.keys = keys
        self.sealer = session(keys.suite, keys.receive, Policy.SSRC_ANY_OUTBOUND)
        self.opener = session(keys.suite, keys.send, Policy.SSRC_ANY_INBOUND)

    def send(self, to: tuple[str, int], payload: bytes, payload_type: int, marker: bool = False) -> None:
        transport, self.transport = self.transport, _Sealing(self)  # type: ignore[assignment]
        try:
            super().send(to, payload, payload_type, marker)
        finally:
            self.transport = transport
        self.transport.sendto(self.wire[-1], to)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received.append(self.opener.unprotect(data))


class _Sealing:
    def __init__(self, peer: SecretPeer) -> None:
        self._peer = peer

    def sendto(self, data: bytes, to: object) -> None:
        self._peer.wire.append(self._peer.sealer.protect(data))


async def secret_peer(room: Room, leg: Speaker, keys: MediaKeys, law: Law = Law.PCMA) -> SecretPeer:
    peer = SecretPeer(keys, law)
    await peer.open()
    room.peers.append(peer)
    room.session.set_remote(leg, dataclasses.replace(peer.remote, keys=keys), latch=True)
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
@pytest.mark.parametrize("suite", sorted(KEY_BYTES))
async def test_an_encrypted_phone_and_a_plain_caller_hear_each_other_and_the_recording_is_clear(
    room: Room, suite: str
) -> None:
    caller = await room.peer(Speaker.CALLER)
    officer = await secret_peer(room, Speaker.OFFICER, fresh(suite))
    await caller.talk(room.at(Speaker.CALLER), NOISE[:32_000])
    await officer.talk(room.at(Speaker.OFFICER), NOISE[32_000:64_000])
    await settle()
    assert b"".join(each.payload for each in officer.heard) == NOISE[:32_000]
    assert b"".join(each.payload for each in caller.heard) == NOISE[32_000:64_000]
    summary = room.session.summary()
    assert [summary[side]["encryption"] for side in ("caller", "officer")] == ["", suite]
    assert [summary[side]["undeciphered"] for side in ("caller", "officer")] == [0, 0]
    sealed = await room.session.close()
    assert sealed is not None
    assert channel(sealed, Speaker.CALLER).endswith(NOISE[:32_000])
    assert channel(sealed, Speaker.OFFICER).endswith(NOISE[32_000:64_000])
    for file in sealed.directory.iterdir():
        for key in (officer.keys.send, officer.keys.receive):
            assert key not in file.read_bytes()


async def test_both_sides_encrypted_by_keys_of_their_own(room: Room) -> None:
    caller = await secret_peer(room, Speaker.CALLER, fresh(GCM_256))
    officer = await secret_peer(room, Speaker.OFFICER, fresh(AES_32), Law.PCMU)
    await caller.talk(room.at(Speaker.CALLER), NOISE[:16_000])
    await settle()
    assert b"".join(each.payload for each in officer.heard) == Law.PCMU.recode(NOISE[:16_000], Law.PCMA)
    assert officer.wire == []
    assert not {each[12:40] for each in caller.wire} & {each[12:40] for each in officer.received}


async def test_wrong_keys_repeats_fragments_and_plain_packets_are_counted_and_never_heard(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    officer = await secret_peer(room, Speaker.OFFICER, fresh())
    to = room.at(Speaker.OFFICER)
    await officer.talk(to, NOISE[:1600])
    await settle()
    good = officer.wire[-1]
    foreign = session(AES_80, os.urandom(30), Policy.SSRC_ANY_OUTBOUND).protect(packet(officer.sequence))
    bad = [
        good,
        foreign,
        good[:-1],
        good[:20],
        good[:11],
        b"\x80",
        packet(officer.sequence + 1),
        b"\x80\xc8" + good[2:],
    ]
    for datagram in bad:
        officer.transport.sendto(datagram, to)
    await settle()
    assert len(caller.heard) == 10
    figures = room.session.statistics(Speaker.OFFICER)
    assert (figures.undeciphered, figures.stream.received, figures.malformed) == (len(bad), 10, 0)
    await officer.talk(to, NOISE[1600:3200])
    await settle()
    assert b"".join(each.payload for each in caller.heard) == NOISE[:3200]


async def test_a_stranger_costs_no_deciphering_and_cannot_take_the_stream_over(room: Room) -> None:
    """Whoever is first from the right address but lacks the key is not taken for the phone."""
    caller = await room.peer(Speaker.CALLER)
    officer = await secret_peer(room, Speaker.OFFICER, fresh())
    intruder = await room.peer(None)
    intruder.say(room.at(Speaker.OFFICER), NOISE[:160])
    await settle()
    await officer.talk(room.at(Speaker.OFFICER), NOISE[:1600])
    await settle()
    assert b"".join(each.payload for each in caller.heard) == NOISE[:1600]


async def test_media_that_overtake_the_answer_are_opened_when_it_comes(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    keys = fresh()
    officer = SecretPeer(keys)
    await officer.open()
    room.peers.append(officer)
    for at in range(0, 800, 160):
        officer.say(room.at(Speaker.OFFICER), NOISE[at : at + 160])
    await settle()
    room.session.set_remote(Speaker.OFFICER, dataclasses.replace(officer.remote, keys=keys), latch=True)
    await settle()
    assert b"".join(each.payload for each in caller.heard) == NOISE[:800]


async def test_a_new_key_by_re_invite_loses_nothing_of_the_old_one(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    keys = fresh()
    officer = await secret_peer(room, Speaker.OFFICER, keys)
    await officer.talk(room.at(Speaker.OFFICER), NOISE[:1600])
    await settle()
    changed = dataclasses.replace(keys, receive=os.urandom(30))
    room.session.set_remote(Speaker.OFFICER, dataclasses.replace(officer.remote, keys=changed), latch=True)
    await officer.talk(room.at(Speaker.OFFICER), NOISE[1600:3200])
    await settle()
    former = officer.wire[-1]
    officer.sealer = session(AES_80, changed.receive, Policy.SSRC_ANY_OUTBOUND)
    await officer.talk(room.at(Speaker.OFFICER), NOISE[3200:4800])
    officer.transport.sendto(former, room.at(Speaker.OFFICER))
    await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
    await settle()
    assert b"".join(each.payload for each in caller.heard) == NOISE[:4800]
    assert b"".join(each.payload for each in officer.heard) == NOISE[:1600]
    assert room.session.statistics(Speaker.OFFICER).undeciphered == 1


async def test_hold_with_the_same_keys_goes_on_counting(room: Room) -> None:
    caller = await room.peer(Speaker.CALLER)
    keys = fresh()
    officer = await secret_peer(room, Speaker.OFFICER, keys)
    for direction in ("sendrecv", "recvonly", "sendrecv"):
        told = dataclasses.replace(officer.remote, keys=keys, direction=direction)
        room.session.set_remote(Speaker.OFFICER, told, latch=True)
        await caller.talk(room.at(Speaker.CALLER), NOISE[:1600])
        await settle()
    assert b"".join(each.payload for each in officer.heard) == NOISE[:1600] * 2


@pytest.mark.parametrize("mux", [False, True])
async def test_reports_are_encrypted_too(tmp_path: Path, mux: bool) -> None:
    plane = make_plane(tmp_path, clock=time.monotonic)
    room = Room(plane, plane.open(CALL, started_at=now()))
    room.session.bridge()
    keys = fresh()
    officer = SecretPeer(keys)
    await officer.open()
    reports: list[bytes] = []
    if mux:
        officer.datagram_received = (  # type: ignore[method-assign]
            lambda data, _: reports.append(data) if data[1] in range(192, 224) else officer.received.append(data)
        )
        told = dataclasses.replace(officer.remote, keys=keys, rtcp_mux=True)
    else:
        listener = SecretPeer(keys)
        listener.datagram_received = lambda data, _: reports.append(data)  # type: ignore[method-assign]
        await listener.open()
        room.peers.append(listener)
        told = _with_rtcp(officer, listener, keys)
    room.peers.append(officer)
    room.session.set_remote(Speaker.OFFICER, told)
    caller = await room.peer(Speaker.CALLER)
    host, port = room.at(Speaker.OFFICER)
    own = Report(ssrc=officer.ssrc, sender=None, blocks=()).serialize() + source_description(officer.ssrc, "phone")
    sealed = officer.sealer.protect_rtcp(own)
    sender = officer if mux else room.peers[0]
    for datagram in (sealed, sealed, own):
        sender.transport.sendto(datagram, (host, port if mux else port + 1))
    await caller.talk(room.at(Speaker.CALLER), NOISE[:64_000], speed=2)
    await room.session.close()
    await settle()
    figures = room.session.statistics(Speaker.OFFICER)
    assert (figures.rtcp, figures.undeciphered, figures.rtcp_refused) == (1, *((2, 0) if mux else (0, 2)))
    opened = [parse_compound(officer.opener.unprotect_rtcp(data)) for data in reports]
    assert isinstance(opened[0][0], Report)
    assert any(isinstance(each, Goodbye) for each in opened[-1])
    for peer in room.peers:
        peer.transport.close()
    await plane.aclose()


def _with_rtcp(officer: Peer, listener: Peer, keys: MediaKeys) -> object:
    class Told:
        host, port = officer.remote.host, officer.remote.port
        payload_type = wire_payload_type = 8
        telephone_event, direction, rtcp_mux = 101, "sendrecv", False
        rtcp_port = listener.remote.port

    Told.keys = keys  # type: ignore[attr-defined]
    return Told()


def test_the_counter_runs_over_and_a_peer_may_go_on_counting_under_a_new_key() -> None:
    ours, keys = MediaCipher(), fresh()
    ours.set_keys(keys)
    sealer = session(AES_80, keys.receive, Policy.SSRC_ANY_OUTBOUND)
    for index in range(60_000, 60_000 + 3 * 65_536, 8000):
        assert ours.open(sealer.protect(packet(index))) == packet(index)
    changed = dataclasses.replace(keys, receive=os.urandom(30))
    counting = session(AES_80, changed.receive, Policy.SSRC_ANY_OUTBOUND)
    # The peer's counter stands at its third round: its session is led there by packets that nobody sees.
    for step in range(60_000, index + 1, 8000):
        counting.protect(packet(step))
    ours.set_keys(changed)
    for step in range(index + 1, index + 20):
        assert ours.open(counting.protect(packet(step))) == packet(step)
    anew = dataclasses.replace(keys, receive=os.urandom(30))
    ours.set_keys(anew)
    fresh_counter = session(AES_80, anew.receive, Policy.SSRC_ANY_OUTBOUND)
    for step in range(index + 20, index + 40):
        assert ours.open(fresh_counter.protect(packet(step))) == packet(step)


def test_ever_new_sources_do_not_fill_the_memory() -> None:
    ours, keys = MediaCipher(), fresh()
    ours.set_keys(keys)
    sealer = session(AES_80, keys.receive, Policy.SSRC_ANY_OUTBOUND)
    for ssrc in range(1, 200):
        ours.open(sealer.protect(packet(5, ssrc=ssrc)))
    with pytest.raises(UnauthenticError):
        ours.open(sealer.protect(packet(6, ssrc=199))[:-1])
    assert len(ours._sources) == 16


def test_reports_of_ever_new_senders_do_not_fill_the_memory_and_who_speaks_is_kept() -> None:
    """libsrtp forgets them: the first one's report, repeated, opens again, while a repeat of the voice never does."""
    ours, keys = MediaCipher(), fresh()
    ours.set_keys(keys)
    sealer = session(AES_80, keys.receive, Policy.SSRC_ANY_OUTBOUND)
    voice = sealer.protect(packet(5, ssrc=7))
    assert ours.open(voice) == packet(5, ssrc=7)
    reports = [sealer.protect_rtcp(Report(ssrc=ssrc, sender=None, blocks=()).serialize()) for ssrc in range(100, 300)]
    for report in reports:
        ours.open_report(report)
    assert len(ours._sources) == 16
    assert 7 in ours._sources
    with pytest.raises(UnauthenticError):
        ours.open_report(reports[-1])
    ours.open_report(reports[0])
    with pytest.raises(UnauthenticError):
        ours.open(voice)


def test_a_counter_that_jumped_too_far_is_not_followed_into_a_new_key() -> None:
    """A peer may claim nearly half a round of numbers with each packet; the way there would hold up everybody."""
    ours, keys = MediaCipher(), fresh()
    ours.set_keys(keys)
    sealer = session(AES_80, keys.receive, Policy.SSRC_ANY_OUTBOUND)
    for index in range(0, 1200 * 0x7000, 0x7000):
        ours.open(sealer.protect(packet(index)))
    assert ours._index > 1 << 23
    began = time.perf_counter()
    for _ in range(5):
        keys = dataclasses.replace(keys, receive=os.urandom(30))
        ours.set_keys(keys)
    assert len(ours._others) == 1, "the former key alone"
    assert time.perf_counter() - began < 0.05
    anew = session(AES_80, keys.receive, Policy.SSRC_ANY_OUTBOUND)
    assert ours.open(anew.protect(packet(3))) == packet(3)


@given(st.binary(max_size=1800), st.sampled_from(sorted(KEY_BYTES)))
def test_no_bytes_do_more_than_be_refused(data: bytes, suite: str) -> None:
    cipher = MediaCipher()
    cipher.set_keys(fresh(suite))
    for read in (cipher.open, cipher.open_report):
        with pytest.raises(UnauthenticError):
            read(data)
    assert cipher.refused == 2


def test_a_repeat_is_not_sealed_again() -> None:
    """The same number under the same key would tell a listener the difference of two voices."""
    cipher = MediaCipher()
    cipher.set_keys(fresh())
    cipher.seal(packet(1))
    for bad in (packet(1), packet(2, payload=bytes(1500))):
        with pytest.raises(OSError, match="not sealed"):
            cipher.seal(bad)
    assert parse_packet(packet(3)).sequence == 3
