"""Who may do what at the line: registrations, trunks, strangers, two lines beside each other, and a restart."""

from __future__ import annotations

import pytest

from duty.domain.calls import Outcome
from telephony.line import TrunkProfile
from telephony.sip.flow import Flow
from telephony.trunk_target import TrunkRoute
from tests.telephony.world import DESK, LOCAL, TOWN, UNIX_AT_ZERO, World, audio, line

PBX = ("198.51.100.5", 5060)
ROUTE = TrunkRoute(flow=Flow(transport="UDP", remote=PBX, local=LOCAL), domain="pbx.example")


def trunk_world(**trunk: object) -> World:
    profile = TrunkProfile(registrar="sip:pbx.example", **trunk)  # type: ignore[arg-type]
    return World(line(trunk=profile), trunks={DESK: ROUTE})


# Registration


@pytest.mark.rule("4-a")
def test_a_phone_registers_is_called_and_runs_out() -> None:
    world = World()
    phone, caller = world.phone("1001", registered=False), world.peer("127.0.0.7")
    assert [answer.status for answer in phone.register(expires=60)] == [401, 200]
    assert [(each.name, each.state) for each in world.components()] == [("1001", "registered")]
    (binding,) = world.components()[-1].bindings or ()
    assert binding["remote_port"] == phone.address[1]
    caller.invite(DESK)
    world.run(0.1)
    phone.last.respond(486)
    world.run(70.0)
    assert [(each.state, each.reason) for each in world.components()][-1] == ("unregistered", "expired")
    assert world.components()[-1].bindings == ()
    caller.invite(DESK)
    world.run(10.0)
    assert world.outcome()[0] is Outcome.UNREACHABLE
    world.check()


def test_a_wrong_password_registers_nobody() -> None:
    world = World()
    phone = world.phone("1001", registered=False)
    assert [answer.status for answer in phone.register(password="guess")] == [401, 401]
    assert world.components() == []
    world.check()


@pytest.mark.rule("4-a")
def test_a_restart_knows_the_phones_from_before() -> None:
    before = World()
    phone = before.phone("1001", registered=False)
    phone.register()
    (kept,) = before.components()[-1].bindings or ()
    after = World()
    reached, caller = after.phone("1001", phone.address[0], registered=False), after.peer("127.0.0.7")
    values = {key: value for key, value in kept.items() if isinstance(value, str | int | float)}
    after.switchboard.start([values, after.binding(reached, expires_s=-1.0)], after.instant)
    states = {(each.name, each.state) for each in after.components() or after.switchboard.actions_to_perform()}  # type: ignore[union-attr]
    assert states == {("1001", "registered"), ("1002", "unregistered")}
    caller.invite(DESK)
    after.run(0.5)
    assert len(reached.sessions) == 1
    after.check()


def test_a_lost_connection_unregisters_its_phone() -> None:
    world = World()
    phone = world.peer("192.0.2.30", 41_000, "1001", transport="TCP")
    world.switchboard.start([world.binding(phone)], world.instant)
    world.drain()
    world.switchboard.transport_failed(Flow(transport="TCP", remote=phone.address, local=LOCAL), world.instant)
    world.drain()
    assert (world.components()[-1].state, world.components()[-1].reason) == ("unregistered", "connection_lost")
    world.check()


# The trunk


def test_the_line_registers_at_its_pbx_and_leaves_it() -> None:
    world = trunk_world(username="line", password="word")
    pbx = world.peer(*PBX, user="pbx")
    world.switchboard.start([], world.instant)
    world.run(0.5)
    assert [(each.kind, each.state) for each in world.components()][-1] == ("trunk", "registered")
    world.switchboard.shut_down(world.instant)
    world.run(0.5)
    assert [m.headers.get("Expires") for m in world.sent_to(pbx, "REGISTER")] == ["600", "0"]
    assert world.components()[-1].state == "unregistered"


def test_a_trunk_without_registration_is_not_called_good() -> None:
    world = trunk_world()
    world.switchboard.start([], world.instant)
    world.drain()
    assert ("trunk", "unchecked") in [(each.kind, each.state) for each in world.components()]


@pytest.mark.rule("6.1-c")
@pytest.mark.parametrize(
    ("host", "port", "shown", "trust"),
    [
        (PBX[0], PBX[1], "037122590001", "asserted"),
        (PBX[0], 40_000, "13800138000", "from"),  # another program on the PBX's host
        ("10.9.0.3", 5060, "037122590001", "asserted"),
    ],
)
def test_an_asserted_identity_is_believed_from_the_trunk_alone(host: str, port: int, shown: str, trust: str) -> None:
    from ipaddress import ip_network

    world = trunk_world(peers=(ip_network("10.9.0.0/24"),))
    caller = world.peer(host, port)
    caller.invite(DESK, headers={"P-Asserted-Identity": '"Office" <sip:037122590001@pbx.example>'})
    world.run(0.2)
    (opened,) = world.opened()
    assert (opened.caller_number, opened.trust) == (shown, trust)
    world.run(10.0)
    world.check()


@pytest.mark.parametrize(
    ("asserted", "shown", "trust"),
    [
        ('"A, B" <sip:037122590001@pbx>, <tel:+8637122590001>', "037122590001", "asserted"),
        ("<tel:+86-371-22590001>", "+8637122590001", "asserted"),
        ("<sip:broken", "13800138000", "from"),
        ("", "13800138000", "from"),
        (",", "13800138000", "from"),
    ],
)
def test_an_identity_that_cannot_be_read_does_not_cost_the_call(asserted: str, shown: str, trust: str) -> None:
    world = trunk_world()
    world.peer(*PBX).invite(DESK, headers={"P-Asserted-Identity": asserted})
    world.run(10.0)
    assert [(opened.caller_number, opened.trust) for opened in world.opened()] == [(shown, trust)]
    world.check()


@pytest.mark.rule("6.1-e")
@pytest.mark.parametrize("name", ["Diversion", "History-Info", "P-Served-User"])
def test_a_sign_of_forwarding_that_cannot_be_read_still_counts_and_does_not_cost_the_call(name: str) -> None:
    world = World()
    phone = world.phone("1001")
    call = world.peer("127.0.0.7").invite(DESK, headers={name: '"unbalanced <sip:1@a'})
    world.run(0.2)
    phone.last.answer()
    world.run(0.2)
    assert (call.final, world.kinds()[0]) == (200, "forward_marked")
    world.check()


def test_an_asserted_identity_is_not_believed_without_a_trunk() -> None:
    world = World()
    world.peer("127.0.0.7").invite(DESK, headers={"P-Asserted-Identity": "<sip:037122590001@pbx.example>"})
    world.run(10.0)
    assert [(opened.caller_number, opened.trust) for opened in world.opened()] == [("13800138000", "from")]
    world.check()


def test_a_caller_of_the_trunk_may_share_the_name_of_an_extension() -> None:
    world = trunk_world()
    pbx, phone = world.peer(*PBX, user="1001"), world.phone("1001")
    call = pbx.invite(DESK)
    world.run(0.2)
    phone.last.answer()
    world.run(0.2)
    assert (call.final, world.opened()[0].direction, world.opened()[0].caller_number) == (200, "inbound", "1001")
    world.check()


@pytest.mark.parametrize("host", ["203.0.113.66", "128.0.0.1", "2001:db8::1"])
@pytest.mark.parametrize("trunk", [True, False])
def test_a_stranger_is_not_put_through_and_not_in_the_book(host: str, trunk: bool) -> None:
    world = trunk_world() if trunk else World()
    phone = world.phone("1001")
    call = world.peer(host).invite(DESK)
    world.run(1.0)
    assert call.statuses == [401]
    assert (world.opened(), phone.sessions) == ([], [])
    world.check()


def test_a_stranger_on_this_machine_is_no_trunk() -> None:
    world = trunk_world()
    call = world.peer("127.0.0.7").invite(DESK)
    world.run(1.0)
    assert call.statuses == [401]
    world.check()


def test_nobody_is_called_at_an_unknown_number() -> None:
    world = World()
    call = world.peer("127.0.0.7").invite("12345")
    world.run(1.0)
    assert (call.statuses, world.opened()) == ([401], [])
    world.check()


# Outside any dialog


@pytest.mark.rule("6.1-e")
def test_a_transfer_outside_any_call_is_refused_and_reported() -> None:
    world = World()
    phone = world.phone("1001")
    (answer,) = phone.ask("REFER", DESK, headers={"Refer-To": "<sip:1@203.0.113.9>"})
    assert answer.status == 603
    (report,) = world.forwards()
    assert (report.call_id, report.line_number, report.way) == (None, DESK, "refer")
    assert report.raw.startswith(b"REFER ")
    world.check()


@pytest.mark.rule("6.1-e")
def test_strangers_cannot_flood_the_alarm() -> None:
    world = trunk_world()
    stranger = world.peer("203.0.113.66")
    (answer,) = stranger.ask("REFER", DESK, headers={"Refer-To": "<sip:1@203.0.113.9>"})
    assert (answer.status, world.forwards()) == (603, [])
    world.check()


def test_small_requests() -> None:
    world = World()
    peer = world.peer("127.0.0.7")
    assert [each.status for each in peer.ask("OPTIONS", DESK)] == [200]
    assert [each.status for each in peer.ask("MESSAGE", DESK)] == [405]
    unknown = peer.request("BYE", DESK)
    unknown = unknown.replace(headers=unknown.headers.with_value("To", f"<sip:{DESK}@x>;tag=nobody"))
    asked = peer.send(unknown)
    again = peer.send(unknown.replace(headers=unknown.headers.with_value("CSeq", "9 BYE")))
    world.run(0.5)
    assert [peer.answers[each][0].status for each in (asked, again)] == [481, 481]
    call = peer.invite(DESK, headers={"Require": "precondition"})
    world.run(0.5)
    assert (call.statuses, call.responses[0].headers.get("Unsupported")) == ([420], "precondition")
    bare = peer.request("INVITE", DESK, body=audio("127.0.0.7"))
    asked = peer.send(bare.replace(headers=bare.headers.without("Contact")))
    world.run(0.5)
    assert [each.status for each in peer.answers[asked]] == [400]
    assert world.opened() == []


# Two lines


def test_two_lines_do_not_meet() -> None:
    world = World(
        line(DESK, ("1001",), max_calls=1, when_busy="busy"), line(TOWN, ("2001",), max_calls=1, when_busy="busy")
    )
    desk, town = world.phone("1001"), world.phone("2001")
    callers = [world.peer(f"127.0.0.{number}") for number in range(2, 6)]
    calls = [caller.invite(to) for caller, to in zip(callers, (DESK, TOWN, DESK, TOWN), strict=True)]
    world.run(0.1)
    assert (len(desk.sessions), len(town.sessions)) == (1, 1)
    desk.last.answer()
    town.last.answer()
    world.run(0.1)
    assert [call.final for call in calls] == [200, 200, 486, 486]
    calls[0].bye()
    world.run(0.1)
    again = callers[2].invite(DESK), callers[3].invite(TOWN)
    world.run(0.1)
    assert (len(desk.sessions), len(town.sessions), again[1].final) == (2, 1, 486)
    world.check()


def test_a_phone_dials_out_on_its_own_line() -> None:
    world = World(line(DESK, ("1001",)), line(TOWN, ("2001",)))
    phone = world.phone("2001")
    phone.invite("13900139000")
    world.run(0.5)
    (opened,) = world.opened()
    assert (opened.line_number, opened.caller_number) == (TOWN, TOWN)
    world.check()


def test_a_phone_outside_its_networks_cannot_dial() -> None:
    from dataclasses import replace
    from ipaddress import ip_network

    from tests.telephony.world import account

    known = {"1001": replace(account("1001"), networks=(ip_network("192.0.2.0/24"),))}
    world = World(line(extensions=("1001",)), accounts=known)
    call = world.peer("203.0.113.7", user="1001").invite("13900139000")
    world.run(0.5)
    assert (call.final, world.opened()) == (403, [])
    world.check()


def test_time_is_never_asked_for_in_the_past() -> None:
    """A timer that stays due would make the edge spin."""
    world = World()
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    for _ in range(100):
        due = world.switchboard.get_timer()
        if due is None:
            break
        world.now = max(world.now, due)
        world.switchboard.handle_timer(world.instant)
        later = world.switchboard.get_timer()
        assert later is None or later > world.now
        world.drain()
    assert world.instant.unix > UNIX_AT_ZERO
