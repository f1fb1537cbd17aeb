"""The dialogs of whole calls: routes, hops, crossing requests, repeated INVITEs, and who asks us who we are."""

from __future__ import annotations

from itertools import pairwise

import pytest

from duty.domain.calls import Outcome
from telephony.clientleg import ClientLeg
from telephony.keeping import glare_s
from telephony.leg import Leg
from telephony.line import TrunkProfile
from telephony.serverleg import ServerLeg
from telephony.sip.digest import parse_authorization
from telephony.sip.events import RequestReceived
from telephony.sip.flow import Flow
from telephony.sip.message import Message, Request, make_response
from telephony.trunks import TrunkRoute
from tests.telephony.world import DESK, LOCAL, ONCE, Peer, World, audio, line

PBX = ("198.51.100.5", 5060)
FAR = "13900139000"
LOOSE = ["<sip:edge.example;lr>", "<sip:core.example:5070;lr;x=1>"]
STRICT = ["<sip:edge.example>", "<sip:core.example;lr>"]


def inward(**headers: str) -> tuple[World, Peer, Peer]:
    """A call from outside that has been answered: the caller, the phone."""
    world = World(line(extensions=("1001",)))
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    phone.on_invite = lambda session: session.answer()
    caller.invite(DESK, headers={name.replace("_", "-"): value for name, value in headers.items()})
    world.run(1.0)
    return world, caller, phone


def outward(**trunk: str) -> tuple[World, Peer, Peer]:
    """A line with a PBX: the phone, the PBX."""
    route = TrunkRoute(flow=Flow(transport="UDP", remote=PBX, local=LOCAL), domain="pbx.example")
    profile = TrunkProfile(registrar="sip:pbx.example", **trunk)  # type: ignore[arg-type]
    world = World(line(extensions=("1001",), trunk=profile), trunks={DESK: route})
    pbx = world.peer(*PBX, user="pbx")
    return world, world.phone("1001"), pbx


# Routes (RFC 3261 12.1, 12.2.1.1, 16.12)


@pytest.mark.parametrize(
    ("recorded", "uri", "routes"),
    [
        (LOOSE, "sip:13800138000@127.0.0.7:5060", LOOSE),
        (STRICT, "sip:edge.example", [STRICT[1], "<sip:13800138000@127.0.0.7:5060>"]),
    ],
    ids=["loose", "strict"],
)
def test_the_route_of_a_call_that_came_in(recorded: list[str], uri: str, routes: list[str]) -> None:
    world, caller, phone = inward(Record_Route=", ".join(recorded))
    assert caller.last.responses[-1].headers.get_all("Record-Route") == tuple(recorded)
    phone.last.bye()
    world.run(1.0)
    (bye,) = world.sent_to(caller, "BYE")
    assert isinstance(bye, Request)
    assert (bye.uri, list(bye.headers.get_all("Route"))) == (uri, routes)
    world.check()


@pytest.mark.parametrize("recorded", [LOOSE, STRICT], ids=["loose", "strict"])
def test_the_route_of_a_call_that_went_out(recorded: list[str]) -> None:
    world, phone, pbx = outward()
    shown = {"Record-Route": ", ".join(recorded)}
    pbx.on_invite = lambda session: session.respond(183, headers={**shown, "Require": "100rel", "RSeq": "1"})
    call = phone.invite(FAR)
    world.run(0.5)
    pbx.last.respond(200, audio(PBX[0]), headers=shown)
    world.run(0.5)
    call.bye()
    world.run(1.0)
    backwards = recorded[::-1]
    for start in ("PRACK", "ACK", "BYE"):
        (sent,) = world.sent_to(pbx, start)
        assert isinstance(sent, Request)
        assert sent.uri == f"sip:pbx@{PBX[0]}:5060"
        assert list(sent.headers.get_all("Route")) == backwards
    world.check()


# Hops (RFC 3261 8.1.1.6, RFC 7332)


@pytest.mark.parametrize(("came", "goes"), [("20", "19"), ("1", "1"), ("0", "1"), ("200", "70")])
def test_a_call_to_the_desk_takes_its_hops_along(came: str, goes: str) -> None:
    world, caller, phone = inward(Max_Forwards=came)
    assert phone.last.request.headers.get("Max-Forwards") == goes
    assert caller.last.up
    world.check()


@pytest.mark.parametrize(("came", "goes"), [("20", "19"), ("2", "1"), ("200", "70")])
def test_a_call_out_takes_its_hops_along(came: str, goes: str) -> None:
    world, phone, pbx = outward()
    pbx.on_invite = lambda session: session.answer()
    phone.invite(FAR, headers={"Max-Forwards": came})
    world.run(1.0)
    assert pbx.last.request.headers.get("Max-Forwards") == goes
    world.check()


@pytest.mark.parametrize("came", ["0", "1"])
def test_a_call_out_without_hops_goes_nowhere(came: str) -> None:
    world, phone, pbx = outward()
    call = phone.invite(FAR, headers={"Max-Forwards": came})
    world.run(1.0)
    assert (call.final, pbx.sessions) == (483, [])
    assert world.outcome() == (Outcome.FAILED, "too_many_hops")
    world.check()


# What crosses


def test_both_hang_up_at_once() -> None:
    world, caller, phone = inward()
    ours = [caller.last.bye(), phone.last.bye()]
    world.run(2.0)
    assert [peer.answers[asked][0].status for peer, asked in zip((caller, phone), ours, strict=True)] == [200, 200]
    assert world.outcome()[0] is Outcome.ANSWERED
    assert world.outcome()[1] in ("caller_hung_up", "officer_hung_up")
    world.check()


def test_a_bye_crosses_a_reinvite() -> None:
    world, caller, phone = inward()
    asked = caller.last.send("INVITE", audio("127.0.0.7", direction="sendonly"))
    phone.last.bye()
    world.run(2.0)
    assert caller.answers[asked][0].status in (200, 481)
    assert world.outcome() == (Outcome.ANSWERED, "officer_hung_up")
    world.check()


def test_an_answer_that_crosses_our_cancel_is_acknowledged_and_hung_up() -> None:
    world, phone, pbx = outward()
    pbx.on_invite = lambda session: session.ring()
    call = phone.invite(FAR)
    world.run(0.5)
    call.cancel()
    world.run(0.015)  # the CANCEL is on its way to the PBX
    pbx.last.answer()
    world.run(2.0)
    assert [len(world.sent_to(pbx, start)) for start in ("CANCEL", "ACK", "BYE")] == [1, 1, 1]
    assert call.final == 487
    world.check()


@pytest.mark.parametrize(("outgoing", "least", "most"), [(True, 2.1, 4.0), (False, 0.0, 2.0)])
def test_a_refresh_that_crosses_theirs_waits_its_turn(outgoing: bool, least: float, most: float) -> None:
    """RFC 3261 14.1: the owner of the Call-ID waits longer, so that one of the two comes first."""
    world, phone, caller = outward()
    refresher = {"Session-Expires": "200;refresher=uac", "Allow": "INVITE, ACK, BYE"}
    if outgoing:
        caller.on_invite = lambda session: session.respond(200, audio(PBX[0]), headers=refresher)
        phone.invite(FAR)
        asked = caller
    else:
        phone.on_invite = lambda session: session.answer()
        caller.invite(DESK, headers={"Session-Expires": "200;refresher=uas", "Supported": "timer"})
        asked = caller
    times: list[float] = []
    usual = asked._requested

    def requested(event: RequestReceived) -> None:
        if event.request.method != "INVITE" or event.request.to.tag is None:
            usual(event)
            return
        times.append(world.now)
        response = make_response(event.request, 491)
        asked.layer.respond(event.transaction_id, response, world.now)

    asked._requested = requested  # type: ignore[method-assign]
    world.run(112.0)
    assert len(times) >= 3
    waits = [later - sooner for sooner, later in pairwise(times)]
    assert all(least <= wait <= most + 0.1 for wait in waits)
    assert len({round(wait, 2) for wait in waits}) > 1
    assert "ended" not in world.kinds()
    asked._requested = usual  # type: ignore[method-assign]
    world.check()


def test_the_wait_after_glare_is_in_the_bounds_of_the_rfc() -> None:
    world, _, phone = inward()
    (call,) = world.switchboard.calls.live()
    ours, theirs = call.desk, call.network
    assert isinstance(ours, ClientLeg)
    assert isinstance(theirs, ServerLeg)

    def waits(leg: Leg) -> list[float]:
        assert leg.dialog is not None
        found = []
        for _ in range(400):
            leg.dialog.local_cseq += 1
            found.append(glare_s(leg))
        return found

    assert 2.1 <= min(waits(ours)) < 2.2 < 3.9 < max(waits(ours)) <= 4.0
    assert 0.0 <= min(waits(theirs)) < 0.1 < 1.9 < max(waits(theirs)) <= 2.0
    assert phone.last.up


# An INVITE that comes again


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("when", ["at once", "ringing", "talking", "refused", "over"])
@pytest.mark.rule("6.1-a")
def test_an_invite_that_comes_again_is_no_second_call(transport: str, when: str) -> None:
    """The same bytes, and the same request by another path (RFC 3261 8.2.2.2), also after the final answer."""
    world = World(line(extensions=("1001",)))
    phone = world.phone("1001")
    caller = world.peer("127.0.0.7", transport=transport)  # type: ignore[arg-type]
    phone.on_invite = {
        "at once": lambda session: session.answer(),
        "ringing": lambda session: session.ring(),
        "talking": lambda session: session.answer(),
        "refused": lambda session: session.respond(486),
        "over": lambda session: session.answer(),
    }[when]
    call = caller.invite(DESK)
    world.run(0.0105 if when == "at once" else 1.0)
    if when == "over":
        call.bye()
        world.run(8.0)
    again = next(each for _, _, each in world.received if isinstance(each, Request))
    other = again.replace(headers=_other_path(again))
    for _ in range(3):
        world.to_line(again.serialize(), caller)
        world.to_line(other.serialize(), caller)
        world.run(0.2)
    world.run(1.0)
    assert len(world.opened()) == 1
    assert len(phone.sessions) == 1
    assert world.sent_to(caller, "SIP/2.0 482")
    if when == "talking":
        assert call.up


def _other_path(request: Request) -> object:
    via = request.headers.get("Via") or ""
    return request.headers.with_value("Via", via.replace("branch=z9hG4bK", "branch=z9hG4bKother"))  # type: ignore[return-value]


def test_a_call_after_the_memory_of_it_has_faded_is_taken() -> None:
    """Nobody is kept out for ever by the numbers of an old call."""
    world, caller, _ = inward()
    caller.last.bye()
    world.run(60.0)
    first = next(each for _, _, each in world.received if isinstance(each, Request) and each.method == "INVITE")
    world.to_line(first.replace(headers=_other_path(first)).serialize(), caller)  # type: ignore[arg-type]
    world.run(1.0)
    assert len(world.opened()) == 2


# Who asks us who we are


@pytest.mark.parametrize("status", [401, 407])
def test_a_bye_and_a_prack_that_are_challenged_prove_who_we_are(status: int) -> None:
    world, phone, pbx = outward(username="duty", password="pbx-secret")
    pbx.on_invite = lambda session: session.respond(183, audio(PBX[0]), headers={"Require": "100rel", "RSeq": "1"})
    name = "Proxy-Authorization" if status == 407 else "Authorization"
    challenge = ("Proxy-Authenticate" if status == 407 else "WWW-Authenticate", 'Digest realm="pbx", nonce="n1"')
    usual = pbx._requested

    def requested(event: RequestReceived) -> None:
        if event.request.method in ("BYE", "PRACK") and name not in event.request.headers:
            response = make_response(event.request, status, extra=[challenge])
            pbx.layer.respond(event.transaction_id, response, world.now)
        else:
            usual(event)

    pbx._requested = requested  # type: ignore[method-assign]
    call = phone.invite(FAR)
    world.run(0.5)
    pbx.last.answer()
    world.run(0.5)
    call.bye()
    world.run(1.0)
    for method in ("PRACK", "BYE"):
        first, second = world.sent_to(pbx, method)
        assert second.cseq.number == first.cseq.number + 1
        proof = parse_authorization(second.headers.get(name) or "")
        assert (proof.username, proof.uri) == ("duty", second.uri)  # type: ignore[union-attr]
        assert second.headers.get("RAck") == first.headers.get("RAck")
    assert pbx.last.ended
    assert world.outcome()[0] is Outcome.ANSWERED


def test_who_never_believes_us_is_not_asked_for_ever() -> None:
    world, phone, pbx = outward(username="duty", password="pbx-secret")
    pbx.on_invite = lambda session: session.answer()
    usual = pbx._requested

    def requested(event: RequestReceived) -> None:
        if event.request.method == "BYE":
            extra = [("Proxy-Authenticate", 'Digest realm="pbx", nonce="n1"')]
            pbx.layer.respond(event.transaction_id, make_response(event.request, 407, extra=extra), world.now)
        else:
            usual(event)

    pbx._requested = requested  # type: ignore[method-assign]
    call = phone.invite(FAR)
    world.run(0.5)
    call.bye()
    world.run(5.0)
    assert len(world.sent_to(pbx, "BYE")) == 2


@pytest.mark.parametrize("required", [False, True])
def test_a_caller_that_waits_long_is_told_each_minute(required: bool) -> None:
    """RFC 3261 13.3.1.1: else a proxy ends the call by its timer C, after three minutes."""
    world = World(line(extensions=("1001",), ring_seconds=400.0))
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    phone.on_invite = lambda session: session.ring()
    call = caller.invite(DESK, headers={"Require": "100rel"} if required else {})
    world.run(310.0)
    told = [each for each in call.responses if each.status == 180]
    assert len(told) == 6
    numbers = [each.headers.get("RSeq") for each in told]
    assert len(set(numbers)) == (6 if required else 1)
    phone.last.answer()
    world.run(1.0)
    assert call.up
    world.check()


def test_a_lost_200_is_repeated_until_its_ack() -> None:
    """RFC 3261 13.3.1.4, at both ends: ours to the caller, and our ACK to the phone's."""
    world = World(line(extensions=("1001",)))
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    phone.on_invite = lambda session: session.answer()
    lost = ["SIP/2.0 200", "SIP/2.0 200", "ACK", "SIP/2.0 200", "ACK"]

    def fate(message: Message) -> tuple[float, ...]:
        for start in lost:
            if message.serialize().startswith(start.encode()):
                lost.remove(start)
                return ()
        return ONCE

    world.fate = fate
    call = caller.invite(DESK)
    world.run(20.0)
    assert call.up
    assert phone.last.up
    world.check()
