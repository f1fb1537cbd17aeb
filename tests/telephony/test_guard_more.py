"""Set-ups of forwarding, foreign registrations, conferences, and approved exceptions, on the pure line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from duty.domain.calls import Outcome
from duty.domain.exceptions import ExceptionWay, ForwardException
from telephony.guard import Way
from telephony.line import TrunkProfile
from telephony.sip.authentication import Account
from telephony.sip.digest import ALGORITHMS, ha1
from telephony.sip.flow import Flow
from telephony.trunk_target import TrunkRoute
from tests.telephony.world import DESK, LOCAL, PASSWORD, REALM, UNIX_AT_ZERO, Peer, World, audio, line

pytestmark = pytest.mark.rule("6.1-e")

PBX = ("198.51.100.5", 5060)
ROUTE = TrunkRoute(flow=Flow(transport="UDP", remote=PBX, local=LOCAL), domain="pbx.example")
TARGET = "13900139000"
BROADWORKS = (
    b"<SetForwarding><forwardingType>forwardImmediate</forwardingType>"
    b"<activateForward>true</activateForward><forwardTo>13900139000</forwardTo></SetForwarding>"
)


@pytest.fixture
def world() -> World:
    return World(line(trunk=TrunkProfile(registrar="sip:pbx.example")), trunks={DESK: ROUTE})


@pytest.fixture
def pbx(world: World) -> Peer:
    return world.peer(*PBX, user="pbx")


@pytest.fixture
def phone(world: World) -> Peer:
    return world.phone("1001")


def ways(world: World) -> list[Way]:
    return [report.way for report in world.forwards()]


def exception(world: World, way: ExceptionWay, target: str, *, seconds: float = 60.0) -> ForwardException:
    start = datetime.fromtimestamp(UNIX_AT_ZERO + world.now, UTC)
    return ForwardException(
        line_number=DESK, way=way, target=target, starts_at=start, ends_at=start + timedelta(seconds=seconds)
    )


@pytest.mark.parametrize("method", ["SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE"])
@pytest.mark.parametrize(
    ("headers", "body", "target"),
    [
        ({"Event": "as-feature-event"}, b"", "as-feature-event"),
        ({"o": "AS-Feature-Event;id=1"}, BROADWORKS, TARGET),
        ({"Event": "call-info"}, b"", "call-info"),
        ({"Event": "ua-profile;profile-type=user"}, b"", "ua-profile"),
        ({"Event": "presence"}, BROADWORKS, TARGET),
        ({}, b"Call-Forward: on", ""),
    ],
)
def test_a_set_up_of_forwarding_is_refused_and_told(
    world: World, phone: Peer, method: str, headers: dict[str, str], body: bytes, target: str
) -> None:
    request = phone.request(method, DESK, headers={**headers, "Content-Type": "text/plain"}).replace(body=body)
    transaction_id = phone.send(request)
    world.run(1.0)
    assert [answer.status for answer in phone.answers[transaction_id]] == [403]
    (report,) = world.forwards()
    assert (report.way, report.target, report.line_number) == (Way.FORWARDING_SETUP, target, DESK)
    assert report.raw.startswith(method.encode())
    world.check()


@pytest.mark.parametrize("method", ["SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE"])
def test_other_events_are_only_refused(world: World, phone: Peer, method: str) -> None:
    assert [answer.status for answer in phone.ask(method, DESK, {"Event": "presence"})] == [405]
    assert world.forwards() == []


def test_a_strangers_set_up_rings_no_alarm(world: World, phone: Peer) -> None:
    stranger = world.peer("203.0.113.77")
    assert [answer.status for answer in stranger.ask("SUBSCRIBE", DESK, {"Event": "as-feature-event"})] == [403]
    assert world.forwards() == []


def test_a_set_up_within_a_call_leaves_the_call_alone(world: World, pbx: Peer, phone: Peer) -> None:
    call = pbx.invite(DESK)
    world.run(0.2)
    phone.last.answer()
    world.run(0.2)
    transaction_id = phone.last.send("MESSAGE", BROADWORKS)
    world.run(0.5)
    assert [answer.status for answer in phone.answers[transaction_id]] == [403]
    assert (call.up, phone.last.up, ways(world)) == (True, True, [Way.FORWARDING_SETUP])


def test_a_foreign_registration_is_told_once_an_hour() -> None:
    hashes = {name: ha1("1001", REALM, PASSWORD, name) for name in ALGORITHMS}
    home = Account(user="1001", ha1=hashes, networks=(ip_network("192.0.2.0/24"),))
    world = World(accounts={"1001": home})
    thief = world.phone("1001", "203.0.113.9", registered=False)
    for _ in range(3):
        assert [answer.status for answer in thief.register()] == [401, 403]
    (report,) = world.forwards()
    assert (report.way, report.source) == (Way.FOREIGN_REGISTRATION, "203.0.113.9")
    assert "203.0.113.9" in report.target
    assert [answer.status for answer in thief.register(password="guess")] == [401, 401]
    other = world.phone("1001", "203.0.113.10", registered=False)
    other.register()
    assert len(world.forwards()) == 2
    world.run(3601.0)
    thief.register()
    assert len(world.forwards()) == 3
    world.check()


@pytest.mark.parametrize("held", [True, False])
def test_a_third_party_is_not_dialled_beside_a_caller(world: World, pbx: Peer, phone: Peer, held: bool) -> None:
    call = pbx.invite(DESK)
    world.run(0.2)
    phone.last.answer()
    world.run(0.2)
    if held:
        phone.last.send("INVITE", audio(phone.address[0], direction="sendonly"))
        world.run(0.2)
    third = phone.invite(TARGET)
    world.run(0.5)
    assert (third.final, ways(world), len(pbx.sessions)) == (403, [Way.CONFERENCE], 1)
    assert call.up
    call.bye()
    world.run(0.5)
    again = phone.invite(TARGET)
    world.run(0.5)
    assert (again.final, len(pbx.sessions)) == (None, 2)


def test_an_excepted_code_passes_until_its_end(world: World, pbx: Peer, phone: Peer) -> None:
    world.switchboard.allow([exception(world, ExceptionWay.FEATURE_CODE, "*57*139#")])
    refused = phone.invite("*57*138%23")
    world.run(0.5)
    assert (refused.final, ways(world)) == (403, [Way.FEATURE_CODE])
    passed = phone.invite("*57*139%23")
    world.run(0.5)
    assert (passed.final, len(pbx.sessions)) == (None, 1)
    assert pbx.last.request.uri.startswith("sip:*57*139%23@")
    assert world.kinds().count("forward_allowed") == 1
    pbx.last.respond(486)
    world.run(60.0)
    late = phone.invite("*57*139%23")
    world.run(0.5)
    assert (late.final, len(pbx.sessions)) == (403, 1)
    assert world.outcome() == (Outcome.REFUSED, "forward_feature_code")


def test_excepted_media_may_move_and_others_not(world: World, pbx: Peer, phone: Peer) -> None:
    world.switchboard.allow([exception(world, ExceptionWay.MEDIA_MOVE, "203.0.113.9")])
    pbx.invite(DESK)
    world.run(0.2)
    phone.last.answer()
    world.run(0.2)
    for host, status in (("203.0.113.9", 200), ("203.0.113.9", 200), ("203.0.113.10", 488)):
        transaction_id = phone.last.send("INVITE", audio(host))
        world.run(0.5)
        assert [answer.status for answer in phone.answers[transaction_id]][-1] == status
    assert ("officer", "203.0.113.9") in world.remotes()
    assert world.kinds().count("forward_allowed") == 1
    assert ways(world) == [Way.MEDIA_MOVE]


@pytest.mark.parametrize("way", list(ExceptionWay))
def test_no_exception_lets_a_transfer_pass(world: World, pbx: Peer, phone: Peer, way: ExceptionWay) -> None:
    world.switchboard.allow([exception(world, way, TARGET)])
    pbx.invite(DESK)
    world.run(0.2)
    phone.last.answer()
    world.run(0.2)
    transaction_id = phone.last.send("REFER", headers={"Refer-To": TARGET})
    world.run(0.5)
    assert [answer.status for answer in phone.answers[transaction_id]] == [603]
    assert ways(world) == [Way.REFER]
