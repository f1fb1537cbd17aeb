"""Session timers (RFC 4028) in the call: both refreshers, 422, and peers that vanish without a word."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from duty.domain.calls import Outcome
from telephony.sip.events import RequestReceived
from telephony.sip.message import Message, Request, Response, make_response
from tests.telephony.world import DESK, Peer, World, audio

TIMER = {"Supported": "timer"}


def call(
    *, caller_headers: Mapping[str, str] | None = None, phone_headers: Mapping[str, str] | None = None
) -> tuple[World, Peer, Peer]:
    """A call that has been answered; the headers go into the caller's INVITE and the phone's 200."""
    world = World()
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    phone.on_invite = lambda session: session.respond(200, audio(phone.address[0]), headers=phone_headers)
    caller.invite(DESK, headers=caller_headers)
    world.run(1.0)
    assert world.kinds()[-1] == "answered"
    return world, caller, phone


def answers_updates(peer: Peer, status: int = 200, headers: Mapping[str, str] | None = None) -> list[Request]:
    """Let ``peer`` answer what refreshes; the requests it sees."""
    seen: list[Request] = []
    usual = peer._requested

    def requested(event: RequestReceived) -> None:
        request = event.request
        if request.to.tag is None or request.method == "BYE":
            usual(event)
            return
        seen.append(request)
        extra = [("Contact", peer.contact), *(headers or {}).items()]
        body = audio(peer.address[0]) if request.method == "INVITE" and status < 300 else b""
        kind = "application/sdp" if body else None
        peer.layer.respond(
            event.transaction_id,
            make_response(request, status, extra=extra, body=body, content_type=kind),
            peer.world.now,
        )

    peer._requested = requested  # type: ignore[method-assign]
    return seen


def value(message: Message, name: str) -> str | None:
    return message.headers.get(name)


def final(peer: Peer) -> Response:
    return peer.last.responses[-1]


def test_we_refresh_by_update_where_the_phone_leaves_it_to_us() -> None:
    agreed = {"Session-Expires": "200;refresher=uac", "Allow": "INVITE, ACK, BYE, UPDATE"}
    world, caller, phone = call(phone_headers=agreed)
    seen = answers_updates(phone, headers={"Session-Expires": "200;refresher=uac"})
    world.run(650.0)
    assert [request.method for request in seen] == ["UPDATE"] * 6
    assert all(value(request, "Session-Expires") == "200;refresher=uac" and not request.body for request in seen)
    assert caller.up
    assert phone.up
    world.check()


def test_we_refresh_by_reinvite_without_change_where_there_is_no_update() -> None:
    world, _, phone = call(phone_headers={"Session-Expires": "200;refresher=uac", "Allow": "INVITE, ACK, BYE"})
    seen = answers_updates(phone, headers={"Session-Expires": "200;refresher=uac"})
    world.run(150.0)
    assert [request.method for request in seen] == ["INVITE"]
    assert seen[0].body == phone.last.request.body
    (ack,) = [each for each in world.sent_to(phone, "ACK") if each.cseq.number == seen[0].cseq.number]
    assert ack.to.tag == phone.last.dialog.local_tag  # type: ignore[union-attr]
    assert "held" not in world.kinds()
    world.check()


def test_a_phone_that_knows_no_update_after_all_is_asked_by_reinvite() -> None:
    world, _, phone = call(phone_headers={"Session-Expires": "200;refresher=uac", "Allow": "INVITE, UPDATE"})
    seen = answers_updates(phone, status=501)
    world.run(101.0)
    assert [request.method for request in seen] == ["UPDATE", "INVITE"]
    world.check()


def test_a_refresh_that_moves_the_media_is_the_guards() -> None:
    world, caller, phone = call(phone_headers={"Session-Expires": "200;refresher=uac", "Allow": "INVITE, ACK"})
    answers_updates(phone, headers={"Session-Expires": "200;refresher=uac"})
    before = world.remotes()
    old = phone.address
    usual = phone._requested

    def elsewhere(event: RequestReceived) -> None:
        phone.address = ("203.0.113.66", old[1])
        usual(event)
        phone.address = old

    phone._requested = elsewhere  # type: ignore[method-assign]
    world.run(150.0)
    assert [each.way.value for each in world.forwards()] == ["media_move"]
    assert world.remotes() == before
    assert caller.up
    world.check()


@pytest.mark.parametrize("refresher", ["uac", ""])
def test_the_caller_is_answered_who_refreshes(refresher: str) -> None:
    asked = {"Session-Expires": "600" + (f";refresher={refresher}" if refresher else ""), **TIMER}
    world, caller, _ = call(caller_headers=asked)
    assert value(final(caller), "Session-Expires") == f"600;refresher={refresher or 'uas'}"
    assert value(final(caller), "Require") == "timer"
    world.check()


def test_a_caller_that_refreshes_stays_and_one_that_stops_is_gone() -> None:
    world, caller, phone = call(caller_headers={"Session-Expires": "90;refresher=uac", **TIMER})
    for _ in range(4):
        world.run(45.0)
        again = caller.last.send("UPDATE", headers={"Session-Expires": "90;refresher=uac", **TIMER})
        world.run(0.5)
        (answer,) = caller.answers[again]
        assert (answer.status, value(answer, "Session-Expires")) == (200, "90;refresher=uac")
    assert caller.up
    world.run(59.0)
    assert caller.up
    world.run(2.0)
    assert not phone.up
    assert world.outcome() == (Outcome.ANSWERED, "peer_vanished")
    world.check()


def test_an_interval_that_is_too_small_is_refused_with_ours() -> None:
    world = World()
    world.phone("1001")
    caller = world.peer("127.0.0.7")
    caller.invite(DESK, headers={"Session-Expires": "30", **TIMER})
    world.run(1.0)
    assert (final(caller).status, value(final(caller), "Min-SE")) == (422, "90")
    assert world.opened() == []
    world.check()


def test_a_phone_that_wants_longer_intervals_is_rung_again_with_them() -> None:
    world = World()
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")

    def choosy(session: object) -> None:
        if int(value(phone.last.request, "Session-Expires") or "0") < 3600:
            phone.last.respond(422, headers={"Min-SE": "3600"})
        else:
            phone.last.answer()

    phone.on_invite = choosy
    caller.invite(DESK)
    world.run(1.0)
    assert [value(session.request, "Session-Expires") for session in phone.sessions] == ["1800", "3600"]
    assert value(phone.last.request, "Min-SE") == "3600"
    assert "leg_failed" not in world.kinds()
    assert caller.up
    world.check()


@pytest.mark.parametrize("timers", [True, False])
@pytest.mark.parametrize("who", ["phone", "caller"])
def test_a_peer_that_vanishes_is_found_and_gives_its_place_back(who: str, timers: bool) -> None:
    agreed = {"Session-Expires": "1800;refresher=uac"} if timers else {}
    world, caller, phone = call(
        phone_headers=agreed, caller_headers={"Session-Expires": "1800;refresher=uas", **TIMER} if timers else None
    )
    lost, stays = (phone, caller) if who == "phone" else (caller, phone)
    world.fate = lambda message: () if lost.host in (message.via.host, _to(world, message)) else (0.01,)
    world.run(1850.0 if not timers else 960.0)
    assert world.outcome() == (Outcome.ANSWERED, "peer_vanished")
    assert not stays.up
    assert not world.switchboard.calls.in_use(world.lines[0])
    lost.sessions.clear()
    world.run(4000.0)
    assert world.switchboard.get_timer() is None or len(world.switchboard.calls) == 0


def _to(world: World, message: Message) -> str:
    """The host that a message of the line's goes to, where it is one."""
    return next((to[0] for _, to, sent in reversed(world.sent[-8:]) if sent.serialize() == message.serialize()), "")


@pytest.mark.parametrize("status", [481, 408])
def test_a_phone_that_has_forgotten_the_call_is_gone(status: int) -> None:
    world, caller, phone = call()
    seen = answers_updates(phone, status=status)
    world.run(1802.0)
    assert [request.method for request in seen] == ["OPTIONS"]
    assert world.outcome() == (Outcome.ANSWERED, "peer_vanished")
    assert not caller.up


def test_without_timers_any_other_answer_shows_that_somebody_is_there() -> None:
    world, caller, phone = call()
    seen = answers_updates(phone, status=405)
    world.run(5500.0)
    assert len(seen) == 3
    assert caller.up
    world.check()
