"""What the two sides of a call agree on: codecs that meet, keys that change, and refusals that say why."""

from __future__ import annotations

from base64 import b64encode

import pytest

from telephony.actions import SetRemote
from telephony.line import LineProfile
from telephony.media_policy import Encryption, MediaPolicy
from telephony.sip import sdp
from telephony.sip.message import Message, Response
from telephony.sip.sdp import AudioTarget
from telephony.sip.security_description import AES_80, GCM_256, KEY_BYTES, CryptoAttribute, read_cryptos
from tests.telephony.world import DESK, Peer, Session, World, line

CODECS = (8, 0, 9)


def policies(phones: Encryption = "optional", trunk: Encryption = "optional", *, clear: bool = False) -> LineProfile:
    phone, network = (MediaPolicy(codecs=CODECS, encryption=each, keys_in_clear=clear) for each in (phones, trunk))
    return line(extensions=("1001",), phones_media=phone, trunk_media=network)


def tls_phone(world: World) -> Peer:
    phone = world.peer("192.0.2.40", 5062, "1001", transport="TLS")
    world.switchboard.start([world.binding(phone)], world.instant)
    world.drain()
    return phone


def key(number: int, suite: str = AES_80) -> bytes:
    return bytes([number]) * KEY_BYTES[suite]


def described(host: str, *codecs: int, crypto: CryptoAttribute | None = None, protocol: str = "RTP/AVP") -> bytes:
    offer = sdp.offer(
        host=host,
        port=40_000,
        codecs=codecs or (8,),
        session_id=7,
        version=1,
        cryptos=() if crypto is None else (crypto,),
        required=protocol == "RTP/SAVP",
    )
    return offer.serialize()


def body_of(message: Message) -> sdp.MediaDescription:
    return sdp.parse_sdp(message.body).media[0]


def target(world: World, speaker: str) -> AudioTarget:
    """Where that side's audio goes by now, and how."""
    told = [each for each in world.actions if isinstance(each, SetRemote) and each.speaker.value == speaker]
    return told[-1].target


def codecs_of(message: Message) -> list[int | str]:
    return [number for number in body_of(message).formats if number != 101]


@pytest.mark.parametrize(
    ("offered", "to_phone", "picked", "to_caller"),
    [
        ((9, 8), [9, 8, 0], 9, 9),
        ((9, 8), [9, 8, 0], 8, 8),
        ((8, 9), [8, 9, 0], 9, 9),
        ((8,), [8, 0, 9], 8, 8),
        ((8,), [8, 0, 9], 9, 8),
        ((0,), [0, 8, 9], 8, 0),
        ((9,), [9, 8, 0], 0, 9),
    ],
)
def test_the_callers_answer_follows_the_phones_choice(
    offered: tuple[int, ...], to_phone: list[int], picked: int, to_caller: int
) -> None:
    world = World(policies())
    caller, phone = world.peer("127.0.0.7"), world.phone("1001")
    call = caller.invite(DESK, described("127.0.0.7", *offered))
    world.run(0.1)
    assert codecs_of(phone.last.request) == to_phone
    phone.last.answer(described(phone.address[0], picked))
    world.run(1.0)
    assert codecs_of(call.responses[-1]) == [to_caller]
    assert (target(world, "caller").payload_type, target(world, "officer").payload_type) == (to_caller, picked)
    world.check()


def talking(world: World, phone: Peer, answer: bytes) -> Session:
    caller = world.peer("127.0.0.7")
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.answer(answer)
    world.run(1.0)
    assert call.up
    return phone.last


def test_over_tls_keys_stand_beside_plain_audio_and_the_phone_chooses() -> None:
    for takes in (True, False):
        world = World(policies())
        phone = tls_phone(world)
        caller = world.peer("127.0.0.7")
        caller.invite(DESK)
        world.run(0.1)
        offer = body_of(phone.last.request)
        ours = read_cryptos(offer.attributes)
        assert offer.protocol == "RTP/AVP"
        assert ours[0].suite == GCM_256
        theirs = CryptoAttribute(tag=ours[-1].tag, suite=AES_80, key=key(1))
        phone.last.answer(described(phone.address[0], crypto=theirs if takes else None))
        world.run(1.0)
        keys = target(world, "officer").keys
        assert (keys is not None) == takes
        if keys is not None:
            assert (keys.suite, keys.send, keys.receive) == (AES_80, ours[-1].key, key(1))
        assert target(world, "caller").keys is None
        world.check()


def test_no_key_is_told_over_udp() -> None:
    world = World(policies())
    caller, phone = world.peer("127.0.0.7"), world.phone("1001")
    caller.invite(DESK)
    world.run(0.1)
    assert read_cryptos(body_of(phone.last.request).attributes) == ()
    assert all(b"inline:" not in message.serialize() for _, _, message in world.sent)
    world.check()


def test_an_operator_may_have_keys_told_over_udp() -> None:
    world = World(policies("required", clear=True))
    phone = world.phone("1001")
    world.peer("127.0.0.7").invite(DESK)
    world.run(0.1)
    offer = body_of(phone.last.request)
    assert offer.protocol == "RTP/SAVP"
    assert len(read_cryptos(offer.attributes)) == 3
    world.check()


def test_a_phone_that_must_encrypt_and_answers_plainly_is_hung_up() -> None:
    world = World(policies("required"))
    phone = tls_phone(world)
    call = world.peer("127.0.0.7").invite(DESK)
    world.run(0.1)
    assert body_of(phone.last.request).protocol == "RTP/SAVP"
    phone.last.answer(described(phone.address[0]))
    world.run(1.0)
    assert phone.last.ended
    assert not call.up
    world.check()


def test_a_488_brings_the_same_call_as_encrypted_only_once() -> None:
    world = World(policies())
    phone = tls_phone(world)
    phone.on_invite = lambda session: session.respond(488)
    call = world.peer("127.0.0.7").invite(DESK)
    world.run(1.0)
    first, second = phone.sessions
    assert [body_of(each.request).protocol for each in phone.sessions] == ["RTP/AVP", "RTP/SAVP"]
    assert first.request.call_id == second.request.call_id
    assert second.request.cseq.number == first.request.cseq.number + 1
    assert call.final is not None
    world.check()


@pytest.mark.rule("6.1-e")
def test_a_phone_changes_its_key_by_re_invite_and_may_not_drop_it_where_it_must_encrypt() -> None:
    world = World(policies("required"))
    phone = tls_phone(world)
    world.peer("127.0.0.7").invite(DESK)
    world.run(0.1)
    offered = read_cryptos(body_of(phone.last.request).attributes)
    suite = next(each for each in offered if each.suite == AES_80)
    phone.last.answer(
        described(
            phone.address[0],
            crypto=CryptoAttribute(tag=suite.tag, suite=AES_80, key=key(1)),
            protocol="RTP/SAVP",
        )
    )
    world.run(1.0)
    before = target(world, "officer").keys
    renewed = CryptoAttribute(tag=1, suite=AES_80, key=key(2))
    again = phone.last.send("INVITE", described(phone.address[0], crypto=renewed, protocol="RTP/SAVP"))
    world.run(1.0)
    after = target(world, "officer").keys
    assert before is not None
    assert after is not None
    assert (before.receive, after.receive) == (key(1), key(2))
    assert before.send == after.send  # ours goes on counting
    answer = next(each for each in phone.answers[again] if each.status == 200)
    assert [each.key for each in read_cryptos(body_of(answer).attributes)] == [after.send]
    plain = phone.last.send("INVITE", described(phone.address[0]))
    world.run(1.0)
    refusal: Response = phone.answers[plain][-1]
    assert refusal.status == 488
    assert refusal.headers.get("Warning") == '399 dutyline "Audio that is not encrypted is refused on this side"'
    assert target(world, "officer").keys == after
    assert phone.last.up
    world.check()


def test_nothing_that_is_kept_of_a_call_shows_a_key() -> None:
    """Actions go to the book, to evidence and, where something fails, into a log."""
    world = World(policies())
    phone = tls_phone(world)
    world.peer("127.0.0.7").invite(DESK)
    world.run(0.1)
    ours = read_cryptos(body_of(phone.last.request).attributes)
    theirs = CryptoAttribute(tag=ours[-1].tag, suite=AES_80, key=key(3))
    phone.last.answer(described(phone.address[0], crypto=theirs))
    world.run(1.0)
    shown = "".join(map(repr, world.actions))
    for each in (*ours, theirs):
        assert repr(each.key) not in shown
        assert b64encode(each.key).decode() not in shown
    world.check()


@pytest.mark.rule("5-a")
def test_an_invite_for_nothing_but_t38_is_a_fax_that_we_cannot_take() -> None:
    world = World(policies())
    caller = world.peer("127.0.0.7")
    fax = "v=0\r\no=- 1 1 IN IP4 127.0.0.7\r\ns=-\r\nc=IN IP4 127.0.0.7\r\nt=0 0\r\nm=image 4000 udptl t38\r\n"
    call = caller.invite(DESK, fax.encode())
    world.run(1.0)
    assert call.final == 488
    assert world.kinds() == ["fax_detected", "ended"]
    world.check()
