"""The desk dials out, by its phone or from the console: what phone, network and book get to see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from duty.domain.calls import Outcome
from telephony.actions import Bridge, PlayRingback, StopPlaying
from telephony.guard import Way
from telephony.line import TrunkProfile
from telephony.sip.flow import Flow
from telephony.trunk_target import TrunkRoute
from tests.telephony.world import DESK, LOCAL, Peer, Session, World, audio, line

PBX = ("198.51.100.5", 5060)
ROUTE = TrunkRoute(flow=Flow(transport="UDP", remote=PBX, local=LOCAL), domain="pbx.example")
CHALLENGE = 'Digest realm="pbx", nonce="{}", qop="auth", algorithm=MD5'


def trunk_world(**trunk: str) -> World:
    return World(line(trunk=TrunkProfile(registrar="sip:pbx.example", **trunk)), trunks={DESK: ROUTE})  # type: ignore[arg-type]


@pytest.fixture
def world() -> Iterator[World]:
    world = trunk_world()
    yield world
    world.check()


@pytest.fixture
def pbx(world: World) -> Peer:
    return world.peer(*PBX, user="pbx")


@pytest.fixture
def phone(world: World) -> Peer:
    return world.phone("1001")


# The phone dials


@pytest.mark.rule("6.1-a")
def test_dialled_answered_and_hung_up(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.ring()
    world.run(0.5)
    pbx.last.answer()
    world.run(0.5)
    assert call.statuses == [100, 180, 200]
    assert pbx.last.request.uri == "sip:13900139000@pbx.example"
    assert pbx.last.request.from_.uri.user == DESK  # type: ignore[union-attr]
    pbx.last.bye()
    world.run(0.5)
    assert call.ended
    assert world.kinds() == ["ringing", "answered", "ended"]
    assert world.outcome() == (Outcome.ANSWERED, "caller_hung_up")


def test_a_phone_has_to_prove_itself(world: World, pbx: Peer, phone: Peer) -> None:
    asked = phone.send(phone.request("INVITE", "13900139000", body=audio(phone.address[0])))
    world.run(1.0)
    assert [answer.status for answer in phone.answers[asked]] == [401]
    assert (world.opened(), pbx.sessions) == ([], [])


def test_a_stranger_who_shows_an_extension_is_challenged_not_believed(world: World, pbx: Peer) -> None:
    stranger = world.peer("203.0.113.66", user="1001")
    asked = stranger.send(stranger.request("INVITE", "13900139000", body=audio("203.0.113.66")))
    world.run(1.0)
    assert [answer.status for answer in stranger.answers[asked]] == [401]
    assert (world.opened(), pbx.sessions) == ([], [])


def test_early_media_reaches_the_phone(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.respond(183, audio(PBX[0]))
    world.run(0.5)
    assert call.statuses == [100, 183]
    assert call.responses[-1].body
    pbx.last.answer(b"")  # the answer came already
    world.run(0.5)
    assert call.up


def test_the_phone_gives_up(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.ring()
    world.run(0.5)
    call.cancel()
    world.later(0.005, pbx.last.answer)  # crosses our CANCEL
    world.run(1.0)
    assert pbx.last.ended
    assert call.final == 487
    assert world.outcome() == (Outcome.CANCELLED, "officer_cancelled")


@pytest.mark.parametrize(
    ("status", "heard", "outcome"),
    [
        (486, 486, Outcome.BUSY),
        (480, 480, Outcome.MISSED),
        (404, 404, Outcome.FAILED),
        (403, 403, Outcome.REJECTED),
        (401, 503, Outcome.FAILED),
        (407, 503, Outcome.FAILED),
        (503, 503, Outcome.FAILED),
    ],
)
def test_refused_by_the_network(
    world: World, pbx: Peer, phone: Peer, status: int, heard: int, outcome: Outcome
) -> None:
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.respond(status)
    world.run(0.5)
    assert call.final == heard
    assert world.outcome() == (outcome, f"network_{status}")


def test_the_network_never_answers(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000")
    world.run(0.2)
    world.run(40.0)
    assert (call.final, world.outcome()) == (408, (Outcome.MISSED, "network_timeout"))
    assert len(pbx.sessions) == 1


def test_the_far_party_rings_for_ever(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.ring()
    world.run(121.0)
    assert (call.final, pbx.last.cancelled) == (408, True)


def test_the_networks_answer_cannot_be_used(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.answer(b"v=0\r\n")
    world.run(0.5)
    assert (call.final, pbx.last.ended, world.outcome()[1]) == (488, True, "bad_answer")


def test_no_way_out() -> None:
    world = World(line())
    phone = world.phone("1001")
    call = phone.invite("13900139000")
    world.run(0.5)
    assert (call.final, world.outcome()) == (503, (Outcome.FAILED, "no_trunk"))
    world.check()


def test_dialling_nothing(world: World, pbx: Peer, phone: Peer) -> None:
    request = phone.request("INVITE", "x", body=audio(phone.address[0]))
    session = Session(phone, replace(request, uri="sip:192.0.2.1"), "", True)
    phone.sessions.append(session)
    phone._start(session)
    world.run(0.5)
    assert session.final == 484
    assert world.opened() == []


# Credentials at the PBX


@pytest.mark.parametrize(("status", "asks", "header"), [
    (401, "WWW-Authenticate", "Authorization"),
    (407, "Proxy-Authenticate", "Proxy-Authorization"),
])  # fmt: skip
def test_the_pbx_asks_who_we_are(status: int, asks: str, header: str) -> None:
    world = trunk_world(username="line", password="word")
    pbx, phone = world.peer(*PBX, user="pbx"), world.phone("1001")
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.respond(status, headers={asks: CHALLENGE.format("n1")})
    world.run(0.5)
    first, second = pbx.sessions
    assert second.request.cseq.number == first.request.cseq.number + 1
    assert 'username="line"' in (second.request.headers.get(header) or "")
    assert second.request.call_id == first.request.call_id
    second.answer()
    world.run(0.5)
    assert (call.final, len(world.sent_to(pbx, "ACK"))) == (200, 2)


def test_wrong_credentials_are_tried_once() -> None:
    world = trunk_world(username="line", password="wrong")
    pbx, phone = world.peer(*PBX, user="pbx"), world.phone("1001")
    pbx.on_invite = lambda session: session.respond(401, headers={"WWW-Authenticate": CHALLENGE.format("n")})
    call = phone.invite("13900139000")
    world.run(5.0)
    assert (call.final, len(pbx.sessions), world.outcome()) == (503, 2, (Outcome.FAILED, "network_401"))


@pytest.mark.parametrize("challenge", ["Digest", "Digest realm=", 'Digest realm="a", nonce="b", algorithm=SHA-999'])
def test_a_challenge_nobody_can_answer(challenge: str) -> None:
    world = trunk_world(username="line", password="word")
    pbx, phone = world.peer(*PBX, user="pbx"), world.phone("1001")
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.respond(401, headers={"WWW-Authenticate": challenge})
    world.run(1.0)
    assert call.final in (408, 503)
    assert world.outcome()[0] in (Outcome.FAILED, Outcome.MISSED)


# The guard


@pytest.mark.rule("6.1-e")
@pytest.mark.parametrize(
    "dialled",
    ["*57*13900139000%23", "%2A57%2A1390013", "*40*1#", "**21*139#", "*72", "*72139", "*73", "*57#", "9*57*139#",
     "0*72139", "%EF%BC%8A72"],
)  # fmt: skip
def test_a_forwarding_code_is_not_dialled(world: World, pbx: Peer, phone: Peer, dialled: str) -> None:
    call = phone.invite(dialled)
    world.run(0.5)
    assert call.final == 403
    assert [report.way for report in world.forwards()] == [Way.FEATURE_CODE]
    assert world.outcome() == (Outcome.REFUSED, "forward_feature_code")
    assert pbx.sessions == []


@pytest.mark.rule("6.1-e")
def test_a_redirect_of_the_network_is_not_followed(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.respond(302, headers={"Contact": "<sip:1@203.0.113.9>"})
    world.run(0.5)
    assert (call.final, len(pbx.sessions)) == (480, 1)
    assert [(report.way, report.target) for report in world.forwards()] == [(Way.NETWORK_REDIRECT, "sip:1@203.0.113.9")]


@pytest.mark.rule("6.1-e")
def test_the_far_party_is_forwarded_by_its_own_network(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000")
    world.run(0.2)
    pbx.last.respond(181)
    pbx.last.respond(181)
    pbx.last.answer()
    world.run(0.5)
    assert call.up
    assert world.kinds().count("forward_marked") == 1
    assert world.forwards() == [], "nothing was blocked here"


@pytest.mark.rule("6.1-e")
def test_a_phone_that_dials_with_its_audio_elsewhere(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000", audio("203.0.113.9"))
    world.run(0.5)
    assert (call.final, pbx.sessions, world.remotes()) == (488, [], [])
    assert [report.way for report in world.forwards()] == [Way.MEDIA_MOVE]


@pytest.mark.rule("6.1-e")
def test_a_phone_that_names_its_audio_only_in_the_ack(world: World, pbx: Peer, phone: Peer) -> None:
    phone.ack_body = audio("203.0.113.9")
    phone.invite("13900139000", b"")
    world.run(0.2)
    pbx.last.answer()
    world.run(1.0)
    assert [report.way for report in world.forwards()] == [Way.MEDIA_MOVE]
    assert ("officer", "203.0.113.9") not in world.remotes()
    assert (pbx.last.ended, phone.last.ended) == (True, True)


@pytest.mark.rule("6.1-e")
def test_a_phone_that_would_take_over_another_call(world: World, pbx: Peer, phone: Peer) -> None:
    call = phone.invite("13900139000", headers={"Replaces": "abc;to-tag=1;from-tag=2"})
    world.run(0.5)
    assert (call.final, pbx.sessions) == (403, [])
    assert [report.way for report in world.forwards()] == [Way.REPLACES]


# The console calls back


def call_back(world: World, number: str = "13900139000") -> None:
    world.switchboard.dial(command_id=7, line_number=DESK, number=number, now=world.instant)
    world.run(0.2)


@pytest.mark.rule("6.1-c")
def test_a_call_back(world: World, pbx: Peer, phone: Peer) -> None:
    call_back(world)
    assert pbx.sessions == [], "the number is dialled before an officer is there"
    phone.last.ring()
    phone.last.answer()
    world.run(0.2)
    pbx.last.ring()
    pbx.last.answer()
    world.run(0.2)
    assert (phone.last.up, pbx.last.up) == (True, True)
    phone.last.bye()
    world.run(0.2)
    assert pbx.last.ended
    assert world.outcome() == (Outcome.ANSWERED, "officer_hung_up")


@pytest.mark.parametrize("body", [b"", b"v=0\r\n", audio(PBX[0], 42_000)], ids=["none", "rubbish", "an announcement"])
def test_what_the_network_says_before_the_answer_to_a_call_back(
    world: World, pbx: Peer, phone: Peer, body: bytes
) -> None:
    call_back(world)
    phone.last.answer()
    world.run(0.2)
    pbx.last.respond(183, body)
    world.run(0.2)
    heard = [type(each).__name__ for each in world.actions if isinstance(each, PlayRingback | StopPlaying | Bridge)]
    assert heard == ["PlayRingback", *(["StopPlaying", "Bridge"] if body == audio(PBX[0], 42_000) else [])]
    pbx.last.answer()
    world.run(0.2)
    assert (phone.last.up, pbx.last.up) == (True, True)
    world.check()


def test_the_officer_hangs_up_while_the_far_party_rings(world: World, pbx: Peer, phone: Peer) -> None:
    call_back(world)
    phone.last.answer()
    world.run(0.2)
    pbx.last.ring()
    world.run(0.2)
    phone.last.bye()
    world.run(0.5)
    assert pbx.last.cancelled
    assert world.outcome() == (Outcome.CANCELLED, "officer_hung_up")


def test_a_phone_that_sends_bye_while_it_rings_changes_nothing(world: World, pbx: Peer, phone: Peer) -> None:
    call_back(world)
    phone.last.ring()
    world.run(0.1)
    asked = phone.last.send("BYE")
    world.run(0.2)
    assert phone.answers[asked][0].status == 200
    phone.last.ended = False
    phone.last.answer()
    world.run(0.2)
    assert (phone.last.up, len(pbx.sessions)) == (True, 1)


@pytest.mark.parametrize(
    ("status", "outcome"), [(486, Outcome.BUSY), (603, Outcome.REJECTED), (480, Outcome.UNREACHABLE)]
)
def test_no_officer_takes_it(world: World, pbx: Peer, phone: Peer, status: int, outcome: Outcome) -> None:
    call_back(world)
    phone.last.respond(status)
    world.run(0.2)
    assert (world.outcome(), pbx.sessions) == ((outcome, f"phone_{status}"), [])


def test_no_officer_answers_in_time(world: World, pbx: Peer, phone: Peer) -> None:
    call_back(world)
    phone.last.ring()
    world.run(61.0)
    assert (world.outcome(), phone.last.cancelled) == ((Outcome.MISSED, "no_answer"), True)


def test_one_phone_that_answers_with_rubbish_does_not_end_the_others(world: World, pbx: Peer, phone: Peer) -> None:
    other = world.phone("1002")
    call_back(world)
    other.last.answer(b"v=0\r\n")
    world.run(0.2)
    phone.last.answer()
    world.run(0.2)
    assert (other.last.ended, phone.last.up, len(pbx.sessions)) == (True, True, 1)


def test_the_far_party_does_not_answer_the_call_back(world: World, pbx: Peer, phone: Peer) -> None:
    call_back(world)
    phone.last.answer()
    world.run(0.2)
    pbx.last.respond(486)
    world.run(0.2)
    assert (phone.last.ended, world.outcome()) == (True, (Outcome.BUSY, "network_486"))


@pytest.mark.rule("6.1-e")
def test_a_call_back_to_a_forwarding_code_is_refused(world: World, pbx: Peer, phone: Peer) -> None:
    call_back(world, "*57*13900139000#")
    assert [(each.command_id, each.result) for each in world.commands()] == [(7, "refused")]
    assert (phone.sessions, pbx.sessions, world.opened()) == ([], [], [])


@pytest.mark.rule("6.1-e")
def test_a_redirecting_phone_is_not_followed_by_a_call_back(world: World, pbx: Peer, phone: Peer) -> None:
    call_back(world)
    phone.last.respond(302, headers={"Contact": "<sip:1@203.0.113.9>"})
    world.run(0.2)
    assert [report.way for report in world.forwards()] == [Way.REDIRECT]
    assert world.outcome()[0] is Outcome.UNREACHABLE


def test_nothing_to_ring_and_nowhere_to_dial() -> None:
    bare = World(line())
    call_back(bare)
    assert bare.outcome() == (Outcome.UNREACHABLE, "no_phone_registered")
    phone = bare.phone("1001")
    call_back(bare)
    assert (bare.outcome(), phone.sessions) == ((Outcome.FAILED, "no_trunk"), [])
    bare.check()


def test_media_of_a_call_back_that_cannot_be_opened(world: World, phone: Peer) -> None:
    world.opens = lambda _action: None
    call_back(world)
    assert (world.outcome(), phone.sessions) == ((Outcome.FAILED, "no_media"), [])


def test_the_service_stops_before_the_calls_are_in_the_book(world: World, pbx: Peer, phone: Peer) -> None:
    world.opens = lambda _action: 0.5
    call = phone.invite("13900139000")
    world.run(0.2)
    call_back(world)
    world.switchboard.shut_down(world.instant)
    world.switchboard.dial(command_id=8, line_number=DESK, number="13900139000", now=world.instant)
    world.run(1.0)
    assert (call.final, pbx.sessions, phone.sessions) == (503, [], [call])
    assert [world.outcome(each.call_id)[0] for each in world.opened()] == [Outcome.INTERRUPTED] * 2
    assert [(each.command_id, each.result) for each in world.commands()] == [(8, "refused")]
