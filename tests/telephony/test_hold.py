"""Hold and resume: what the book says, and what the party hears who is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from duty.domain.transcripts import Speaker
from telephony.actions import Hold, Resume
from telephony.rtp.g711 import SAMPLE_RATE, Law
from telephony.rtp.inband import InbandDetector
from telephony.rtp.music import hold_music
from telephony.rtp.tones import FaxDetector
from telephony.sip import sdp
from tests.telephony.world import DESK, Peer, World, audio, line

MUSIC_TO_THE_CALLER = ("hold", Speaker.OFFICER, True)
MUSIC_TO_THE_OFFICER = ("hold", Speaker.CALLER, True)


def talking(**more: object) -> tuple[World, Peer, Peer]:
    """A call that has been answered."""
    world = World(line(**more))
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    phone.on_invite = lambda session: session.answer()
    caller.invite(DESK)
    world.run(1.0)
    return world, caller, phone


def company(world: World) -> list[tuple[str, Speaker, bool]]:
    """What the edge was told to let be heard."""
    return [
        ("hold", each.speaker, each.music) if isinstance(each, Hold) else ("resume", each.speaker, False)
        for each in world.actions
        if isinstance(each, Hold | Resume)
    ]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("way", ["sendonly", "inactive", "zero"])
def test_the_officer_holds_and_comes_back(method: str, way: str) -> None:
    world, caller, phone = talking()
    host = phone.address[0]
    held = audio("0.0.0.0") if way == "zero" else audio(host, direction=way)  # type: ignore[arg-type]
    phone.last.send(method, held)
    world.run(0.5)
    assert company(world) == [MUSIC_TO_THE_CALLER]
    phone.last.send(method, held)
    world.run(0.5)
    assert company(world) == [MUSIC_TO_THE_CALLER]
    phone.last.send(method, audio(host))
    world.run(0.5)
    assert company(world) == [MUSIC_TO_THE_CALLER, ("resume", Speaker.OFFICER, False)]
    assert world.kinds()[-2:] == ["held", "resumed"]
    assert world.forwards() == []
    assert caller.up
    world.check()


def test_a_line_may_want_silence() -> None:
    world, _, phone = talking(hold="silence")
    phone.last.send("INVITE", audio(phone.address[0], direction="sendonly"))
    world.run(0.5)
    assert company(world) == [("hold", Speaker.OFFICER, False)]
    world.check()


@pytest.mark.parametrize(
    ("body", "heard"),
    [
        (audio("127.0.0.7", direction="sendonly"), []),
        (audio("127.0.0.7", direction="inactive"), [MUSIC_TO_THE_OFFICER]),
        (audio("0.0.0.0"), [MUSIC_TO_THE_OFFICER]),
        (audio("127.0.0.7", direction="recvonly"), []),
    ],
    ids=["sends its own music", "sends nothing", "sends nothing, by RFC 2543", "only listens"],
)
def test_what_the_network_sends_while_it_holds_us_is_heard(body: bytes, heard: list[tuple[str, Speaker, bool]]) -> None:
    world, caller, _ = talking()
    caller.last.send("INVITE", body)
    world.run(0.5)
    assert company(world) == heard
    world.check()


def test_from_its_own_music_to_none_and_back() -> None:
    world, caller, _ = talking()
    directions: tuple[sdp.Direction, ...] = ("sendonly", "inactive", "sendonly", "sendrecv")
    for direction in directions:
        caller.last.send("INVITE", audio("127.0.0.7", direction=direction))
        world.run(0.5)
    assert company(world) == [MUSIC_TO_THE_OFFICER, ("resume", Speaker.CALLER, False)]
    assert world.kinds()[-2:] == ["held", "resumed"]
    world.check()


def test_both_hold() -> None:
    world, caller, phone = talking()
    phone.last.send("INVITE", audio(phone.address[0], direction="sendonly"))
    world.run(0.5)
    caller.last.send("INVITE", audio("127.0.0.7", direction="inactive"))
    world.run(0.5)
    phone.last.send("INVITE", audio(phone.address[0]))
    world.run(0.5)
    assert company(world) == [MUSIC_TO_THE_CALLER, MUSIC_TO_THE_OFFICER, ("resume", Speaker.OFFICER, False)]
    world.check()


def test_a_phone_that_answers_on_hold() -> None:
    world = World()
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    phone.on_invite = lambda session: session.answer(audio(phone.address[0], direction="inactive"))
    caller.invite(DESK)
    world.run(1.0)
    assert company(world) == [MUSIC_TO_THE_CALLER]
    world.check()


@pytest.mark.parametrize("law", list(Law)[:2])
def test_the_music_is_taken_for_no_key_and_no_fax(law: Law) -> None:
    heard = law.decode(law.encode(np.tile(hold_music(), 2)))
    keys, fax = InbandDetector(), FaxDetector()
    blocks = [heard[at : at + 160] for at in range(0, heard.size, 160)]
    assert [key for block in blocks for key in keys.receive(block)] == []
    assert [tone for block in blocks for tone in fax.receive(block)] == []


def test_the_music_goes_on_without_a_click_or_a_pause() -> None:
    music = hold_music().astype(np.int32)
    looped = np.concatenate([music, music[:SAMPLE_RATE]])
    assert np.abs(np.diff(looped)).max() < 3500
    seam = looped[music.size - 2000 : music.size + 2000]
    assert np.abs(np.diff(seam)).max() < 3500
    loudness = np.sqrt((looped[: looped.size // 4000 * 4000].reshape(-1, 4000).astype(float) ** 2).mean(axis=1))
    assert 300 < loudness.min() < loudness.max() < 3000
