"""Reliable provisional responses (RFC 3262) and what may be agreed on before the answer (RFC 3311), at both ends of the
line; parties behind a fork (RFC 3261 13.2.2.4); extensions that a peer refuses or demands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.calls import Outcome
from telephony.actions import Announce, Bridge
from telephony.line import TrunkProfile
from telephony.sip.flow import Flow
from telephony.sip.message import Message, Request, Response, make_response
from telephony.sip.reliable import FIRST, Sending, number_of, read_rack
from telephony.trunks import TrunkRoute
from tests.telephony.sip.peers import request
from tests.telephony.world import DESK, LOCAL, Peer, Session, World, audio, line

NEEDS = {"Require": "100rel"}
TAKES = {"Supported": "timer, 100rel"}
PBX = ("198.51.100.5", 5060)
FAR = "13900139000"


@pytest.fixture
def world() -> World:
    return World(line(extensions=("1001",), ring_seconds=20.0))


def desk_and_caller(world: World) -> tuple[Peer, Peer]:
    return world.phone("1001"), world.peer("127.0.0.7")


def outgoing() -> tuple[World, Peer, Peer]:
    """A line with a PBX: the phone and the PBX."""
    route = TrunkRoute(flow=Flow(transport="UDP", remote=PBX, local=LOCAL), domain="pbx.example")
    world = World(line(extensions=("1001",), trunk=TrunkProfile(registrar="sip:pbx.example")), trunks={DESK: route})
    return world, world.phone("1001"), world.peer(*PBX, user="pbx")


def reliable(number: int, **more: str) -> dict[str, str]:
    return {"Require": "100rel", "RSeq": str(number), **more}


def racks(world: World, peer: Peer) -> list[str | None]:
    return [each.headers.get("RAck") for each in world.sent_to(peer, "PRACK")]


def rings(session: Session) -> list[Response]:
    return [each for each in session.responses if 100 < each.status < 200]


# The line rings a caller that demands it


def test_ringing_is_numbered_repeated_and_acknowledged(world: World) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.ring()
    caller.pracks_withheld = True
    call = caller.invite(DESK, headers=NEEDS)
    world.run(4.0)
    times = [at for at, _, each in world.sent if isinstance(each, Response) and each.status == 180]
    assert [round(at - times[0], 2) for at in times] == [0.0, 0.5, 1.5, 3.5]  # T1 doubles (section 3)
    ring = rings(call)[-1]
    number = number_of(ring)
    assert number in FIRST
    assert len({each.headers.get("RSeq") for each in rings(call)}) == 1
    asked = call.send("PRACK", headers={"RAck": f"{number} {call.request.cseq.number} INVITE"})
    world.run(10.0)
    assert [each.status for each in caller.answers[asked]] == [200]
    assert len(rings(call)) == 4
    phone.last.answer()
    world.run(1.0)
    assert call.up
    assert "Require" not in call.responses[-1].headers or "100rel" not in str(call.responses[-1].headers.get("Require"))
    world.check()


def test_a_caller_that_never_acknowledges_is_refused_after_32_s() -> None:
    world = World(line(extensions=("1001",), ring_seconds=120.0))
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.ring()
    caller.pracks_withheld = True
    call = caller.invite(DESK, headers=NEEDS)
    world.run(31.0)
    assert call.final is None
    world.run(2.0)
    assert call.final == 504
    assert phone.last.cancelled
    assert world.outcome() == (Outcome.FAILED, "no_prack")
    world.check()


@pytest.mark.parametrize(
    "rack", ["1 1 INVITE", "{number} 99 INVITE", "{number} {cseq} BYE", "{number}", "x y z", "", "99999999999 1 INVITE"]
)
def test_a_prack_for_nothing_is_refused(world: World, rack: str) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.ring()
    caller.pracks_withheld = True
    call = caller.invite(DESK, headers=NEEDS)
    world.run(0.3)
    values = {"number": number_of(rings(call)[0]), "cseq": call.request.cseq.number}
    strange = call.send("PRACK", headers={"RAck": rack.format(**values)} if rack else {})
    right = call.send("PRACK", headers={"RAck": "{number} {cseq} INVITE".format(**values)})
    again = call.send("PRACK", headers={"RAck": "{number} {cseq} INVITE".format(**values)})
    world.run(1.0)
    assert [caller.answers[each][0].status for each in (strange, right, again)] == [481, 200, 481]
    world.check()


def test_queued_and_ringing_come_one_after_the_other() -> None:
    world = World(line(extensions=("1001",), max_calls=1))
    phone, first = desk_and_caller(world)
    phone.on_invite = lambda session: session.answer() if len(phone.sessions) == 1 else session.ring()
    talking = first.invite(DESK)
    world.run(1.0)
    waiting = world.peer("127.0.0.8")
    waiting.pracks_withheld = True
    call = waiting.invite(DESK, headers=NEEDS)
    world.run(0.3)
    talking.bye()
    world.run(0.3)
    assert {each.status for each in rings(call)} == {182}  # 180 waits for the PRACK of 182
    number = number_of(rings(call)[0])
    assert number is not None
    waiting.pracks_withheld = False
    call.pracked.append(str(number))
    call.send("PRACK", headers={"RAck": f"{number} {call.request.cseq.number} INVITE"})
    world.run(1.0)
    assert (rings(call)[-1].status, number_of(rings(call)[-1])) == (180, number + 1)
    world.check()


def test_a_call_that_supports_it_rings_as_ever(world: World) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.ring()
    call = caller.invite(DESK, headers=TAKES)
    world.run(1.0)
    assert [number_of(each) for each in rings(call)] == [None]
    world.check()


def test_the_announcement_to_a_caller_that_supports_it_is_reliable(world: World) -> None:
    _, caller = desk_and_caller(world)
    caller.pracks_withheld = True
    call = caller.invite(DESK, headers=TAKES)
    world.run(22.5)
    assert {each.status for each in rings(call)} == {183}
    assert len(rings(call)) >= 2
    assert all(number_of(each) and each.body for each in rings(call))
    world.run(10.0)
    assert call.final == 480
    assert world.outcome() == (Outcome.MISSED, "announcement_played")
    world.check()


def test_the_announcement_is_never_acknowledged() -> None:
    world = World(line(extensions=("1001",), ring_seconds=1.0))
    _, caller = desk_and_caller(world)
    world.announcement_s = None
    caller.pracks_withheld = True
    call = caller.invite(DESK, headers=TAKES)
    world.run(40.0)
    assert call.final == 504
    assert world.outcome() == (Outcome.MISSED, "no_prack")
    world.check()


@pytest.mark.parametrize("tags", ['"100rel', "<100rel", ",,,", "100REL , timer"])
def test_a_list_that_cannot_be_read_costs_no_call(world: World, tags: str) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.respond(180, headers={"Require": tags, "RSeq": "1"})
    call = caller.invite(DESK, headers={"Supported": tags})
    world.run(0.5)
    phone.last.answer()
    world.run(0.5)
    assert call.up
    assert len(racks(world, phone)) == tags.startswith("100")
    world.check()


# Offers and answers in reliable responses and their PRACKs


def test_no_offer_in_the_invite_ours_goes_with_the_ringing(world: World) -> None:
    """Section 5: the first reliable response to an INVITE without offer holds one, its PRACK the answer."""
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.ring()
    caller.prack_body = audio("127.0.0.7", 41_000)
    call = caller.invite(DESK, b"", headers=NEEDS)
    world.run(1.0)
    assert rings(call)[0].body
    assert ("caller", "127.0.0.7") in world.remotes()
    phone.last.answer()
    world.run(1.0)
    assert call.up
    assert call.responses[-1].body == b""  # agreed on already
    world.check()


def test_no_offer_and_nobody_answers_the_announcement_waits_for_the_prack(world: World) -> None:
    _, caller = desk_and_caller(world)
    caller.prack_body = audio("127.0.0.7", 41_000)
    call = caller.invite(DESK, b"", headers=TAKES)
    world.run(22.0)
    ring = rings(call)[0]
    assert (ring.status, bool(ring.body), number_of(ring) is not None) == (183, True, True)
    assert [type(each) for each in world.actions if isinstance(each, Announce)] == [Announce]
    world.run(10.0)
    assert world.outcome() == (Outcome.MISSED, "announcement_played")
    world.check()


@pytest.mark.parametrize("body", [b"", b"v=0\r\n", audio("127.0.0.7", 0)])
def test_a_prack_without_a_usable_answer_ends_the_call(world: World, body: bytes) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.ring()
    caller.prack_body = body
    call = caller.invite(DESK, b"", headers=NEEDS)
    world.run(1.0)
    assert call.final == 488
    assert phone.last.cancelled
    assert world.outcome()[0] is Outcome.FAILED
    world.check()


def test_our_answer_waits_for_the_prack_of_our_offer(world: World) -> None:
    """Section 3: no 2xx while a reliable response with a session description is not acknowledged."""
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.ring()
    caller.pracks_withheld = True
    call = caller.invite(DESK, b"", headers=NEEDS)
    world.run(0.3)
    phone.last.answer()
    world.run(3.0)
    assert call.final is None
    number = number_of(rings(call)[0])
    rack = {"RAck": f"{number} {call.request.cseq.number} INVITE"}
    call.send("PRACK", audio("127.0.0.7", 41_000), headers=rack)
    world.run(0.5)
    assert call.up
    assert phone.last.up
    world.check()


@pytest.mark.parametrize("end", ["cancel", "bye", "phone", "silence"])
def test_an_answer_that_waits_for_its_prack_can_still_be_taken_back(world: World, end: str) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.ring()
    caller.pracks_withheld = True
    call = caller.invite(DESK, b"", headers=NEEDS)
    world.run(0.3)
    phone.last.answer()
    world.run(0.5)
    if end == "cancel":
        call.cancel()
    elif end == "bye":
        call.bye()
    elif end == "phone":
        phone.last.bye()
    world.run(40.0)
    assert call.final == {"cancel": 487, "bye": 487, "phone": 480, "silence": 504}[end]
    assert phone.last.ended
    reasons = {"phone": "officer_hung_up", "silence": "no_prack"}
    assert world.outcome() == (Outcome.ANSWERED, reasons.get(end, "caller_hung_up"))
    world.check()


def test_an_offer_in_the_prack_is_answered_in_its_200() -> None:
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.respond(183, audio(PBX[0], 42_000))
    phone.prack_body = audio(phone.address[0], 43_000)
    call = phone.invite(FAR, headers=TAKES)
    world.run(1.0)
    ring = rings(call)[-1]
    assert (ring.status, bool(ring.body), number_of(ring) is not None) == (183, True, True)
    ((answer,),) = [found for found in phone.answers.values() if found[0].cseq.method == "PRACK"]
    assert (answer.status, bool(answer.body)) == (200, True)
    assert any(isinstance(each, Bridge) for each in world.actions)
    pbx.last.answer()
    world.run(1.0)
    assert call.up
    assert call.responses[-1].body == b""
    world.check()


def test_a_phone_without_an_offer_hears_early_media_after_its_prack() -> None:
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.respond(183, audio(PBX[0], 42_000))
    phone.prack_body = audio(phone.address[0], 43_000)
    call = phone.invite(FAR, b"", headers=TAKES)
    world.run(1.0)
    assert world.remotes() == [("caller", PBX[0]), ("officer", phone.address[0])]
    pbx.last.answer()
    world.run(1.0)
    assert call.up
    world.check()


@pytest.mark.rule("6.1-e")
def test_a_prack_that_puts_the_audio_elsewhere_is_the_guards() -> None:
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.respond(183, audio(PBX[0], 42_000))
    phone.prack_body = audio("203.0.113.9", 43_000)
    call = phone.invite(FAR, b"", headers=TAKES)
    world.run(1.0)
    assert [each.way.value for each in world.forwards()] == ["media_move"]
    assert ("officer", "203.0.113.9") not in world.remotes()
    assert call.final == 488
    assert pbx.last.cancelled
    world.check()


# UPDATE before the answer (RFC 3311 5)


def test_an_update_after_a_reliable_answer_moves_the_audio() -> None:
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.respond(183, audio(PBX[0], 42_000), headers=reliable(7))
    call = phone.invite(FAR)
    world.run(0.5)
    asked = pbx.last.send("UPDATE", audio(PBX[0], 42_010))
    world.run(0.5)
    assert [each.status for each in pbx.answers[asked]] == [200]
    assert pbx.answers[asked][0].body
    ports = [each.target.port for each in world.actions if type(each).__name__ == "SetRemote"]
    assert ports[-1] == 42_010
    pbx.last.respond(200)
    world.run(0.5)
    assert call.up
    assert [each.target.port for each in world.actions if type(each).__name__ == "SetRemote"][-1] != 42_000
    world.check()


def test_offers_that_cross_before_the_answer() -> None:
    """RFC 3311 5.2: 491 where our own offer waits for its answer, 500 with Retry-After where the peer's does."""
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.ring()
    call = phone.invite(FAR)
    world.run(0.5)
    theirs = pbx.last.send("UPDATE", audio(PBX[0], 42_010))
    again = pbx.last.send("INVITE", audio(PBX[0], 42_010))
    ours = call.send("UPDATE", audio(phone.address[0], 43_000))
    empty = call.send("UPDATE")
    world.run(0.5)
    assert [pbx.answers[each][0].status for each in (theirs, again)] == [491, 491]
    assert [phone.answers[each][0].status for each in (ours, empty)] == [500, 200]
    assert 0 <= int(phone.answers[ours][0].headers.get("Retry-After") or "x") <= 10
    pbx.last.answer()
    world.run(0.5)
    assert call.up
    world.check()


def test_an_update_crosses_the_offer_in_our_200(world: World) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.answer()
    caller.acks_withheld = True
    call = caller.invite(DESK, b"")
    world.run(0.5)
    asked = call.send("UPDATE", audio("127.0.0.7", 41_000))
    world.run(0.3)
    assert caller.answers[asked][0].status == 491
    world.check()


def test_an_ack_without_the_answer_it_owes_ends_the_call(world: World) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.answer()
    caller.invite(DESK, b"")
    world.run(1.0)
    assert phone.last.ended
    assert world.outcome()[0] is Outcome.ANSWERED
    world.check()


# The line is the one that is rung


def test_we_offer_it_and_acknowledge_in_order() -> None:
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.respond(180, headers=reliable(40))
    phone.invite(FAR)
    world.run(0.5)
    invite = pbx.last.request
    assert invite.headers.get("Supported") == "timer, 100rel"
    cseq = invite.cseq.number
    assert racks(world, pbx) == [f"40 {cseq} INVITE"]
    pbx.last.respond(183, audio(PBX[0]), headers=reliable(42))  # 41 was lost
    world.run(0.1)
    assert racks(world, pbx) == [f"40 {cseq} INVITE"]
    assert not any(isinstance(each, Bridge) for each in world.actions)
    for number in (41, 40, 41, 42):
        pbx.last.respond(183, audio(PBX[0]), headers=reliable(number))
        world.run(0.1)
    assert racks(world, pbx) == [f"{number} {cseq} INVITE" for number in (40, 41, 42)]
    numbers = [each.cseq.number for each in world.sent_to(pbx, "PRACK")]
    assert numbers == sorted(set(numbers))
    pbx.last.respond(200)
    world.run(0.5)
    assert phone.last.up
    assert [each.cseq.number for each in world.sent_to(pbx, "ACK")] == [cseq]
    world.check()


def test_what_was_agreed_on_reliably_stands() -> None:
    """RFC 3261 13.2.1: the first reliable answer counts, what the 200 says besides is ignored."""
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.respond(183, audio(PBX[0], 42_000), headers=reliable(1))
    phone.invite(FAR)
    world.run(0.5)
    pbx.last.answer(audio("198.51.100.77", 44_000))
    world.run(0.5)
    assert ("caller", "198.51.100.77") not in world.remotes()
    world.check()


@pytest.mark.rule("6.1-e")
def test_a_desk_phone_that_answers_early_and_elsewhere(world: World) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.respond(183, audio("203.0.113.9"), headers=reliable(1))
    caller.invite(DESK)
    world.run(0.5)
    phone.last.respond(200)
    world.run(1.0)
    assert [each.way.value for each in world.forwards()] == ["media_move"]
    assert all(host != "203.0.113.9" for _, host in world.remotes())
    world.check()


def test_a_desk_phone_that_answers_early_needs_no_description_later(world: World) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.respond(183, audio(phone.address[0]), headers=reliable(1))
    call = caller.invite(DESK)
    world.run(0.5)
    assert len(racks(world, phone)) == 1
    phone.last.respond(200)
    world.run(0.5)
    assert call.up
    assert world.remotes()[-1] == ("officer", phone.address[0])
    world.check()


def test_parties_behind_a_fork_are_told_apart() -> None:
    """Each has its own dialog, numbers and audio; the one that answers without a description is heard where it said."""
    world, phone, pbx = outgoing()
    call = phone.invite(FAR)
    world.run(0.3)
    session = pbx.last

    def says(tag: str, status: int, number: int | None, port: int | None) -> None:
        body = b"" if port is None else audio(PBX[0], port)
        extra = [("Contact", pbx.contact), *(reliable(number).items() if number else ())]
        kind = "application/sdp" if body else None
        response = make_response(session.request, status, to_tag=tag, extra=extra, body=body, content_type=kind)
        world.to_line(response.serialize(), pbx)
        world.run(0.1)

    says("one", 183, 5, 42_000)
    says("two", 183, 900, 42_100)
    says("one", 180, 6, None)
    says("two", 180, 900, None)  # again
    says("one", 200, None, None)
    says("two", 200, None, 42_200)
    pracks = world.sent_to(pbx, "PRACK")
    assert [(each.to.tag, (each.headers.get("RAck") or "").split()[0], each.cseq.number) for each in pracks] == [
        ("one", "5", 2),
        ("two", "900", 2),
        ("one", "6", 3),
    ]
    targets = [each.target.port for each in world.actions if type(each).__name__ == "SetRemote"]
    assert targets[-1] == 42_000
    assert call.up
    assert [(each.to.tag, each.cseq.number) for each in world.sent_to(pbx, "BYE")] == [("two", 3)]
    call.bye()
    world.run(1.0)
    assert world.sent_to(pbx, "BYE")[-1].to.tag == "one"


# Extensions that a peer refuses or demands


@pytest.mark.parametrize("refused", ["100rel", "timer", "timer, 100rel"])
def test_an_extension_that_the_peer_does_not_know_is_left_out(refused: str) -> None:
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: (
        session.respond(420, headers={"Unsupported": refused}) if len(pbx.sessions) == 1 else session.answer()
    )
    call = phone.invite(FAR)
    world.run(1.0)
    again = pbx.last.request
    offered = {tag.strip() for tag in (again.headers.get("Supported") or "").split(",") if tag.strip()}
    assert offered == {"timer", "100rel"} - {tag.strip() for tag in refused.split(",")}
    assert ("Session-Expires" in again.headers) == ("timer" in offered)
    assert call.up
    world.check()


def test_an_extension_that_the_peer_demands_is_promised() -> None:
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.respond(421, headers=NEEDS) if len(pbx.sessions) == 1 else session.answer()
    call = phone.invite(FAR)
    world.run(1.0)
    assert pbx.last.request.headers.get("Require") == "100rel"
    assert call.up
    world.check()


@pytest.mark.parametrize(
    ("status", "headers"),
    [(420, {"Unsupported": "path"}), (420, {}), (421, {"Require": "precondition"}), (421, {}), (420, TAKES)],
)
def test_what_cannot_be_changed_ends_the_call_at_once(status: int, headers: dict[str, str]) -> None:
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.respond(status, headers=headers)
    call = phone.invite(FAR)
    world.run(1.0)
    assert len(pbx.sessions) == 1
    assert call.final == status
    world.check()


def test_a_peer_that_refuses_for_ever_is_not_asked_for_ever() -> None:
    world, phone, pbx = outgoing()
    pbx.on_invite = lambda session: session.respond(
        *((420,) if len(pbx.sessions) % 2 else (421,)), headers={"Unsupported": "100rel", "Require": "100rel"}
    )
    call = phone.invite(FAR)
    world.run(5.0)
    assert len(pbx.sessions) == 2
    assert call.final in (420, 421)
    world.check()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "OPTIONS"])
def test_an_unknown_extension_within_the_dialog(world: World, method: str) -> None:
    phone, caller = desk_and_caller(world)
    phone.on_invite = lambda session: session.answer()
    call = caller.invite(DESK)
    world.run(1.0)
    asked = call.send(method, audio("127.0.0.7") if method == "INVITE" else b"", headers={"Require": "foo"})
    world.run(0.5)
    refused = caller.answers[asked][0]
    assert (refused.status, refused.headers.get("Unsupported")) == (420, "foo")
    leaves = call.send("BYE", headers={"Require": "foo"})
    call.ended = True
    world.run(0.5)
    assert caller.answers[leaves][0].status == 200
    world.check()


# The rules alone


@given(first=st.sampled_from([FIRST[0], 5, FIRST[-1]]), script=st.lists(st.integers(0, 3), max_size=40))
def test_one_at_a_time_in_order_and_never_beyond_32_s(first: int, script: list[int]) -> None:
    """Whatever is sent, acknowledged or forgotten: numbers rise by one, each waits for the one before."""
    sending, now, invite = Sending(first), 0.0, request("INVITE")
    out: list[int] = []
    began: dict[int, float] = {}
    for deed in script:
        now += 0.3 if sending.due is None else min(0.3, sending.due - now)
        made: Response | None = None
        if deed == 0:
            made = sending.send(make_response(invite, 180, to_tag="a"), now)
        elif deed == 1 and out:
            prack = request("PRACK", RAck=f"{out[-1]} {invite.cseq.number} INVITE")
            if sending.acknowledge(prack):
                made = sending.next(now)
        elif sending.due is not None:
            now = max(now, sending.due)
            again = sending.take_due(now)
            assert again is None or number_of(again) == out[-1]
            assert (again is None) == (now - began[out[-1]] > 32.0 - 1e-6)
        if made is not None:
            number = number_of(made)
            assert number == (out[-1] + 1 if out else first)
            out.append(number)
            began[number] = now
        assert sending.due is None or now <= sending.due < began[out[-1]] + 32.0 + 1e-6


@given(st.text(st.characters(exclude_characters="\r\n\0"), max_size=40))
def test_no_rack_raises(text: str) -> None:
    message: Message = request("PRACK")
    assert isinstance(message, Request)
    found = read_rack(message.replace(headers=message.headers.appended("RAck", text)))
    assert found is None or len(found) == 3
