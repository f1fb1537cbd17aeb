"""A line with several PBXs: registered at all of them, a call leaves by the best that works, and by one only."""

from __future__ import annotations

import pytest

from duty.domain.calls import CallEventKind, Outcome
from telephony.actions import ReportTrunks
from telephony.line import TrunkProfile
from telephony.outbound import SILENCE_S
from telephony.sip.events import RequestReceived
from telephony.sip.flow import Flow, Transport
from telephony.sip.message import Request, make_response
from telephony.trunk_target import PING_LIMIT_S, TrunkRoute
from tests.telephony.world import DESK, LOCAL, Peer, World, line

FIRST, SECOND = ("198.51.100.5", 5060), ("198.51.100.6", 5060)
CALLEE = "13900139000"
NAMES = (f"{DESK}@{FIRST[0]}:5060", f"{DESK}@{SECOND[0]}:5060")


def way(remote: tuple[str, int], priority: int, *, transport: Transport = "UDP", weight: int = 0) -> TrunkRoute:
    flow = Flow(transport=transport, remote=remote, local=LOCAL)
    return TrunkRoute(flow=flow, domain="pbx.example", priority=priority, weight=weight)


ROUTES = (way(FIRST, 0), way(SECOND, 1))


class Room:
    """The line between two PBXs and one phone."""

    def __init__(self, routes: tuple[TrunkRoute, ...] = ROUTES, **trunk: object) -> None:
        profile = TrunkProfile(registrar="sip:pbx.example", **trunk)  # type: ignore[arg-type]
        self.world = World(line(trunk=profile), trunks={DESK: routes})
        transports = {route.flow.remote: route.flow.transport for route in routes}
        first, second = transports.get(FIRST, "UDP"), transports.get(SECOND, "UDP")
        self.first = self.world.peer(*FIRST, user="pbx", transport=first)
        self.second = self.world.peer(*SECOND, user="pbx", transport=second)
        self.phone = self.world.phone("1001")

    def states(self) -> dict[str, str]:
        return {each.name: each.state for each in self.world.components() if each.kind == "trunk"}

    def asked(self, peer: Peer, method: str) -> list[Request]:
        return [each for each in self.world.sent_to(peer, f"{method} ") if isinstance(each, Request)]

    def reroutings(self) -> list[object]:
        return [each.data["reason"] for each in self.world.records() if each.kind is CallEventKind.REROUTED]


def test_a_call_leaves_by_the_first_and_a_dead_one_costs_four_seconds() -> None:
    room = Room()
    room.first.deaf = True
    call = room.phone.invite(CALLEE)
    room.world.run(SILENCE_S - 0.5)
    assert room.second.sessions == []
    room.world.run(1.0)
    room.second.last.answer()
    room.world.run(1.0)
    assert call.up
    assert room.reroutings() == ["silent"]
    assert [each.call_id for each in room.world.opened()] == [room.world.opened()[0].call_id], "one call in the book"
    again = room.phone.invite(CALLEE)
    room.world.run(0.5)
    assert len(room.second.sessions) == 2, "the next call does not wait for the dead one"
    again.cancel()
    room.world.check()


def test_a_late_answer_of_the_one_given_up_is_hung_up() -> None:
    room = Room()
    call = room.phone.invite(CALLEE)
    room.world.run(SILENCE_S + 0.5)
    (slow,), (quick,) = room.first.sessions, room.second.sessions
    quick.answer()
    room.world.run(0.5)
    slow.answer()
    room.world.run(1.0)
    assert call.up
    assert quick.up
    assert slow.ended, "a second far party is connected"
    room.world.check()


def test_the_one_given_up_is_cancelled_as_soon_as_it_speaks() -> None:
    room = Room()
    call = room.phone.invite(CALLEE)
    room.world.run(SILENCE_S + 0.5)
    (slow,), (quick,) = room.first.sessions, room.second.sessions
    slow.ring()
    room.world.run(0.5)
    assert slow.cancelled
    assert not quick.cancelled
    quick.respond(486)
    room.world.run(0.5)
    assert (call.final, room.world.outcome()) == (486, (Outcome.BUSY, "network_486"))
    room.world.check()


@pytest.mark.parametrize("retry_after", ["", "60", "86400"])
def test_503_goes_on_to_the_next_at_once_and_retry_after_is_kept(retry_after: str) -> None:
    room = Room()
    headers = {"Retry-After": retry_after} if retry_after else {}
    room.first.on_invite = lambda session: session.respond(503, headers=headers)
    room.second.on_invite = lambda session: session.respond(486)
    for _ in range(2):
        call = room.phone.invite(CALLEE)
        room.world.run(1.0)
        assert call.final == 486
    assert len(room.first.sessions) == (1 if retry_after else 2)
    room.world.run(62.0)
    room.phone.invite(CALLEE)
    room.world.run(1.0)
    assert len(room.first.sessions) == {"": 3, "60": 2, "86400": 1}[retry_after]
    room.world.run(300.0)
    room.phone.invite(CALLEE)
    room.world.run(1.0)
    assert len(room.first.sessions) == {"": 4, "60": 3, "86400": 2}[retry_after], "nobody is left out for a day"
    room.world.check()


def test_who_wants_to_be_left_alone_is_still_better_than_nobody() -> None:
    room = Room(routes=ROUTES[:1])
    room.first.on_invite = lambda session: session.respond(503, headers={"Retry-After": "60"})
    for _ in range(2):
        call = room.phone.invite(CALLEE)
        room.world.run(1.0)
        assert (call.final, room.world.outcome()) == (503, (Outcome.FAILED, "network_503"))
    assert len(room.first.sessions) == 2
    room.world.check()


def test_a_port_unreachable_is_a_failure_at_once() -> None:
    room = Room()
    room.first.deaf = True
    call = room.phone.invite(CALLEE)
    room.world.run(0.1)
    room.world.switchboard.transport_failed(ROUTES[0].flow, room.world.instant)
    room.world.run(0.1)
    room.second.last.answer()
    room.world.run(0.5)
    assert call.up
    assert room.reroutings() == ["no_response"]
    assert room.states() == dict(zip(NAMES, ("unreachable", "reachable"), strict=True))
    room.world.check()


def test_what_rings_already_is_not_rung_a_second_time() -> None:
    routes = (way(FIRST, 0, transport="TCP"), ROUTES[1])
    room = Room(routes=routes)
    call = room.phone.invite(CALLEE)
    room.world.run(0.2)
    room.first.last.ring()
    room.world.run(0.5)
    room.world.switchboard.transport_failed(routes[0].flow, room.world.instant)
    room.world.run(0.5)
    assert (call.final, room.second.sessions) == (408, [])
    room.first.last.respond(487)
    room.world.check()


@pytest.mark.parametrize("status", [486, 404, 500, 408, 600])
def test_the_far_partys_own_refusal_is_final(status: int) -> None:
    room = Room()
    room.first.on_invite = lambda session: session.respond(status)
    room.phone.invite(CALLEE)
    room.world.run(1.0)
    assert room.world.outcome()[1] == f"network_{status}"
    assert room.second.sessions == []
    room.world.check()


def test_all_dead_ends_the_call_and_says_so() -> None:
    room = Room()
    room.first.deaf = room.second.deaf = True
    call = room.phone.invite(CALLEE)
    room.world.run(SILENCE_S + 40.0)
    assert (call.final, room.world.outcome()) == (408, (Outcome.MISSED, "network_timeout"))
    room.world.check()


def test_the_officer_gives_up_between_two() -> None:
    room = Room()
    room.first.deaf = room.second.deaf = True
    call = room.phone.invite(CALLEE)
    room.world.run(SILENCE_S + 1.0)
    call.cancel()
    room.world.run(1.0)
    assert (call.final, room.world.outcome()) == (487, (Outcome.CANCELLED, "officer_cancelled"))
    room.world.check()


def test_a_call_back_turns_to_the_next_as_well() -> None:
    room = Room()
    room.first.deaf = True
    room.world.switchboard.dial(command_id=1, line_number=DESK, number=CALLEE, now=room.world.instant)
    room.world.run(0.5)
    room.phone.last.answer()
    room.world.run(SILENCE_S + 0.5)
    room.second.last.answer()
    room.world.run(0.5)
    assert room.phone.last.up
    assert room.second.last.up
    assert room.world.kinds().count("rerouted") == 1
    room.world.check()


@pytest.mark.rule("4-a")
def test_the_line_is_registered_at_both_and_called_from_both() -> None:
    room = Room(username="line", password="word")
    room.world.run(1.0)
    assert [len(room.asked(peer, "REGISTER")) for peer in (room.first, room.second)] == [1, 1]
    assert room.states() == dict.fromkeys(NAMES, "registered")
    for peer in (room.first, room.second):
        call = peer.invite(DESK)
        room.world.run(0.5)
        room.phone.last.answer()
        room.world.run(0.5)
        assert call.up
        call.bye()
        room.world.run(0.5)


def test_one_that_is_not_registered_is_the_second_choice() -> None:
    room = Room(username="line", password="word", keep_alive_s=30.0)
    room.first.deaf = True
    room.world.run(40.0)
    assert room.states() == dict(zip(NAMES, ("unreachable", "registered"), strict=True))
    room.phone.invite(CALLEE)
    room.world.run(0.5)
    assert (len(room.first.sessions), len(room.second.sessions)) == (0, 1)


def test_options_tell_a_dead_trunk_from_a_live_one() -> None:
    room = Room(keep_alive_s=30.0)
    room.second.deaf = True
    room.world.run(1.0)
    assert room.states()[NAMES[0]] == "reachable"
    room.world.run(PING_LIMIT_S + 0.5)
    assert room.states() == dict(zip(NAMES, ("reachable", "unreachable"), strict=True))
    room.second.deaf, room.first.deaf = False, True
    room.world.run(12.0)
    assert room.states()[NAMES[1]] == "reachable", "it was asked again within ten seconds"
    room.world.run(30.0)
    assert room.states() == dict(zip(NAMES, ("unreachable", "reachable"), strict=True))
    assert 2 <= len(room.asked(room.second, "OPTIONS")) < 20
    room.phone.invite(CALLEE)
    room.world.run(0.5)
    assert (len(room.first.sessions), len(room.second.sessions)) == (0, 1)


def test_one_that_comes_back_is_registered_at_anew() -> None:
    room = Room(username="line", password="word", keep_alive_s=30.0)
    room.world.run(40.0)
    room.first.deaf = True
    room.world.run(40.0)
    assert room.states()[NAMES[0]] == "unreachable"
    before = len(room.asked(room.first, "REGISTER"))
    room.first.deaf = False
    room.world.run(12.0)
    assert room.states()[NAMES[0]] == "registered"
    assert len(room.asked(room.first, "REGISTER")) == before + 1, "it may have lost our registration meanwhile"


def test_a_pbx_that_registers_us_and_never_answers_options_is_not_gone() -> None:
    room = Room(routes=ROUTES[:1], username="line", password="word", keep_alive_s=30.0)
    usual = room.first._requested

    def answer(event: RequestReceived) -> None:
        if event.request.method != "OPTIONS":
            usual(event)

    room.first._requested = answer  # type: ignore[method-assign]
    room.world.run(400.0)
    assert len(room.asked(room.first, "OPTIONS")) > 5
    states = [each.state for each in room.world.components() if each.kind == "trunk"]
    assert "unreachable" not in states
    assert states[-1] == "registered"


@pytest.mark.parametrize(("status", "state"), [(200, "reachable"), (404, "reachable"), (503, "unreachable")])
def test_any_answer_to_options_will_do_but_one(status: int, state: str) -> None:
    room = Room(routes=ROUTES[:1], keep_alive_s=30.0)

    def answer(event: RequestReceived) -> None:
        room.first.layer.respond(event.transaction_id, make_response(event.request, status, to_tag="x"), room.world.now)

    room.first._requested = answer  # type: ignore[method-assign]
    room.world.run(2.0)
    assert room.states() == {DESK: state}


def test_what_the_domain_resolves_to_may_change() -> None:
    room = Room(routes=ROUTES[:1], username="line", password="word")
    world = room.world
    world.run(1.0)
    assert room.states() == {DESK: "registered"}
    world.switchboard.trunks_located(DESK, ROUTES, world.instant)
    world.run(1.0)
    assert len(room.asked(room.first, "REGISTER")) == 1, "what stays is left in peace"
    assert room.states()[NAMES[1]] == "registered"
    world.switchboard.trunks_located(DESK, ROUTES[1:], world.instant)
    world.run(1.0)
    leaving = room.asked(room.first, "REGISTER")[-1]
    assert leaving.expires == 0
    named = [action.names for action in world.actions if isinstance(action, ReportTrunks)]
    assert named[-3:] == [(DESK,), NAMES, (DESK,)]
    assert room.first.ask("OPTIONS", DESK)[0].status == 200
    assert [each.status for each in room.first.ask("INVITE", DESK)][-1] == 401, "it is a stranger now"
    world.switchboard.trunks_located(DESK, (), world.instant)
    world.run(1.0)
    assert room.states()[DESK] == "failed"


def test_weights_share_the_calls_out() -> None:
    room = Room(routes=(way(FIRST, 0, weight=1), way(SECOND, 0, weight=3)))
    chances = iter([0.0, 0.9, 0.45, 0.9, 0.65, 0.9, 0.85, 0.9])  # the first of each two chooses who comes first
    room.world.switchboard._trunks._chance = lambda: next(chances)
    for peer in (room.first, room.second):
        peer.on_invite = lambda session: session.respond(486)
    for _ in range(4):
        room.phone.invite(CALLEE)
        room.world.run(1.0)
    assert (len(room.first.sessions), len(room.second.sessions)) == (1, 3)
    room.world.check()
