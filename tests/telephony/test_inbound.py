"""A caller dials the line: what the caller, the desk phones and the book get to see, event by event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from duty.domain.calls import Outcome
from telephony.guard import Way
from telephony.line import LineProfile
from tests.telephony.world import DESK, LOCAL, Peer, World, audio, line

pytestmark = pytest.mark.rule("6.1-a")


@pytest.fixture
def world() -> Iterator[World]:
    """A line with one phone; whatever the test did, the line has to keep its promises."""
    world = World()
    yield world
    world.check()


@pytest.fixture
def caller(world: World) -> Peer:
    return world.peer("127.0.0.7")


@pytest.fixture
def phone(world: World) -> Peer:
    return world.phone("1001")


def test_answered_and_hung_up(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.run(1.0)
    phone.last.answer()
    world.run(1.0)
    assert call.statuses == [100, 180, 200]
    assert phone.last.up
    caller.last.bye()
    world.run(1.0)
    assert phone.last.ended
    assert world.kinds() == ["leg_started", "ringing", "answered", "ended"]
    assert world.outcome() == (Outcome.ANSWERED, "caller_hung_up")


def test_nothing_leaves_before_the_call_is_in_the_book(world: World, caller: Peer, phone: Peer) -> None:
    world.opens = lambda _action: 10.0
    caller.invite(DESK)
    world.run(9.5)
    assert world.sent == []
    assert len(world.opened()) == 1, "a repeated INVITE must not be a second call"
    world.run(1.0)
    assert caller.last.statuses == [100]
    assert len(phone.sessions) == 1


def test_cancel_before_the_call_is_in_the_book(world: World, caller: Peer, phone: Peer) -> None:
    world.opens = lambda _action: 3.0
    raw = caller.request("INVITE", DESK, body=audio("127.0.0.7"))
    tid = caller.send(raw)
    world.run(0.1)
    sent = next(message for _, _, message in world.received)
    cancel = caller.request("CANCEL", DESK)
    for name in ("Via", "From", "To", "Call-ID"):
        cancel = cancel.replace(headers=cancel.headers.with_value(name, sent.headers.get(name) or ""))
    cancel = cancel.replace(headers=cancel.headers.with_value("CSeq", f"{sent.cseq.number} CANCEL"))
    world.to_line(cancel.serialize(), caller)
    world.run(5.0)
    assert [answer.status for answer in caller.answers[tid]] == [487]
    assert phone.sessions == []
    assert world.outcome() == (Outcome.CANCELLED, "caller_cancelled")


def test_cancel_while_ringing(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.run(1.0)
    call.cancel()
    world.run(1.0)
    assert call.final == 487
    assert phone.last.cancelled
    assert world.outcome() == (Outcome.CANCELLED, "caller_cancelled")


def test_cancel_crosses_the_phones_answer(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.run(1.0)
    call.cancel()
    phone.last.answer()
    world.run(1.0)
    assert (call.final, world.outcome()[0]) in ((487, Outcome.CANCELLED), (200, Outcome.ANSWERED))
    world.run(40.0)
    if call.final == 487:
        assert phone.last.ended, "the answer that came too late was not hung up"


def test_an_answer_a_minute_after_the_cancel_is_still_hung_up(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK)
    world.run(1.0)
    call.cancel()
    world.run(28.0)
    phone.last.ring()  # only now may the CANCEL be sent, and its answer is lost on this phone
    phone.deaf = True
    world.run(30.0)
    phone.deaf = False
    phone.last.answer()
    world.run(2.0)
    assert phone.last.ended


def test_the_loser_of_two_phones_cannot_end_the_talk(world: World, caller: Peer) -> None:
    first, second = world.phone("1001"), world.phone("1002")
    caller.invite(DESK)
    world.run(0.1)
    first.last.ring()
    second.last.ring()
    world.run(0.5)
    first.last.answer()
    second.last.answer()  # crosses our CANCEL
    second.last.bye()
    world.run(5.0)
    assert second.last.ended
    assert (caller.last.up, first.last.up) == (True, True)


def test_a_forked_second_answer_is_turned_away(world: World, caller: Peer, phone: Peer) -> None:
    caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    phone.last.fork("fork")
    world.run(1.0)
    assert [message.to.tag for message in world.sent_to(phone, "ACK")][1:] == ["fork"]
    assert [message.to.tag for message in world.sent_to(phone, "BYE")] == ["fork"]
    assert (caller.last.up, phone.last.up) == (True, True)
    caller.last.bye()
    world.run(1.0)
    assert phone.last.ended, "the phone that talked was not hung up"


@pytest.mark.parametrize(
    ("statuses", "final", "outcome"),
    [
        ((486,), 486, Outcome.BUSY),
        ((600,), 486, Outcome.BUSY),
        ((603,), 603, Outcome.REJECTED),
        ((480,), 480, Outcome.UNREACHABLE),
        ((404, 503), 480, Outcome.UNREACHABLE),
        ((480, 486), 486, Outcome.BUSY),
        ((603, 408), 603, Outcome.REJECTED),
    ],
)
def test_refused_by_every_phone(statuses: tuple[int, ...], final: int, outcome: Outcome) -> None:
    world = World()
    caller = world.peer("127.0.0.7")
    phones = [world.phone(extension) for extension in ("1001", "1002")[: len(statuses)]]
    call = caller.invite(DESK)
    world.run(0.1)
    for phone, status in zip(phones, statuses, strict=True):
        phone.last.respond(status)
    world.run(10.0)
    assert (call.final, world.outcome()[0]) == (final, outcome)
    world.check()


def test_no_answer_is_announced_and_missed(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.run(70.0)
    assert call.statuses == [100, 180, 183, 480]
    assert phone.last.cancelled
    assert world.outcome() == (Outcome.MISSED, "announcement_played")


def test_an_announcement_that_never_ends_ends_nevertheless(world: World, caller: Peer) -> None:
    world.announcement_s = None
    call = caller.invite(DESK)
    world.run(100.0)
    assert call.statuses == [100, 183, 480]
    assert world.outcome()[0] is Outcome.UNREACHABLE


def test_hanging_up_during_the_announcement_stays_missed(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.run(62.0)
    call.cancel()
    world.run(1.0)
    assert call.final == 487
    assert world.outcome() == (Outcome.MISSED, "caller_cancelled")
    assert phone.sessions


def test_bye_in_place_of_cancel(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.run(0.1)
    call.send("BYE")
    world.run(1.0)
    assert call.final == 487
    assert phone.last.cancelled
    assert world.outcome()[0] is Outcome.CANCELLED


def test_the_callers_connection_is_lost_while_ringing(world: World, phone: Peer) -> None:
    caller = world.peer("127.0.0.7", transport="TCP")
    caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.run(0.1)
    world.switchboard.transport_failed(replace(caller.flow, remote=caller.address, local=LOCAL), world.instant)
    world.run(1.0)
    assert phone.last.cancelled
    assert world.outcome()[0] is Outcome.CANCELLED
    caller.sessions.clear()
    world.received.clear()  # nobody is there to hear a final response


def test_a_phone_that_answers_without_usable_audio_is_hung_up(world: World, caller: Peer, phone: Peer) -> None:
    for body in (b"", b"v=0\r\n", audio(phone.address[0], 0)):
        caller.invite(DESK)
        world.run(0.1)
        phone.last.answer(body)
        world.run(1.0)
        assert phone.last.ended
        assert caller.last.final == 603
        assert world.outcome() == (Outcome.REJECTED, "phone_488")


def test_an_offer_that_cannot_be_taken(world: World, caller: Peer, phone: Peer) -> None:
    for body in (b"v=0\r\n", audio("127.0.0.7", 0)):
        call = caller.invite(DESK, body)
        world.run(1.0)
        assert call.final in (400, 488)
        assert world.outcome()[0] is Outcome.FAILED
    assert phone.sessions == []


def test_no_offer_in_the_invite(world: World, caller: Peer, phone: Peer) -> None:
    caller.ack_body = audio("127.0.0.7", 41_000)
    call = caller.invite(DESK, b"")
    world.run(0.1)
    phone.last.answer()
    world.run(1.0)
    assert b"m=audio" in call.responses[-1].body
    assert ("caller", "127.0.0.7") in world.remotes()


def test_no_offer_and_a_useless_answer_ends_the_call(world: World, caller: Peer, phone: Peer) -> None:
    caller.ack_body = b"v=0\r\n"
    call = caller.invite(DESK, b"")
    world.run(0.1)
    phone.last.answer()
    world.run(2.0)
    assert (call.ended, phone.last.ended) == (True, True)
    assert str(world.outcome()[1]).startswith("bad_answer")


def test_nobody_acknowledges_our_answer(world: World, caller: Peer, phone: Peer) -> None:
    caller.acks_withheld = True
    caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    world.run(40.0)
    assert (caller.last.ended, phone.last.ended) == (True, True)
    assert world.outcome() == (Outcome.ANSWERED, "no_ack")


def test_media_that_cannot_be_opened(world: World, caller: Peer, phone: Peer) -> None:
    world.opens = lambda _action: None
    call = caller.invite(DESK)
    world.run(1.0)
    assert call.statuses == [503]
    assert world.outcome() == (Outcome.FAILED, "no_media")
    assert phone.sessions == []


def test_the_service_stops(world: World, caller: Peer, phone: Peer) -> None:
    talking = caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    ringing = caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.opens = lambda _action: 0.5
    opening = caller.invite(DESK)
    world.run(0.1)
    world.switchboard.shut_down(world.instant)
    late = caller.invite(DESK)
    world.run(1.0)
    assert (talking.ended, ringing.final, opening.final, late.final) == (True, 503, 503, 503)
    outcomes = [world.outcome(each.call_id) for each in world.opened()]
    assert outcomes == [
        (Outcome.ANSWERED, "service_stopped"),
        (Outcome.INTERRUPTED, "service_stopped"),
        (Outcome.INTERRUPTED, "service_stopped"),
    ]


# The queue


@pytest.fixture
def narrow() -> LineProfile:
    return line(extensions=("1001",), max_calls=1, ring_seconds=20.0)


def test_waiting_callers_are_served_in_order(narrow: LineProfile) -> None:
    world = World(narrow)
    phone = world.phone("1001")
    callers = [world.peer(f"127.0.0.{number}") for number in range(2, 6)]
    for caller in callers:
        caller.invite(DESK)
        world.run(0.1)
    assert [caller.last.statuses for caller in callers] == [[100], [100, 182], [100, 182], [100, 182]]
    callers[1].last.cancel()
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    callers[0].last.bye()
    world.run(0.5)
    assert [len(phone.sessions), phone.last.request.from_.uri] == [2, callers[2].last.request.from_.uri]
    phone.last.respond(603)
    world.run(0.5)
    assert phone.last.request.from_.uri == callers[3].last.request.from_.uri
    world.check()


def test_everybody_waiting_is_told_where_no_phone_is_left(narrow: LineProfile) -> None:
    world = World(line(extensions=("1001",), max_calls=1, no_answer="hangup"))
    phone = world.phone("1001")
    callers = [world.peer(f"127.0.0.{number}") for number in range(2, 8)]
    for caller in callers:
        caller.invite(DESK)
        world.run(0.1)
    world.switchboard.registrar._bindings.clear()
    phone.last.respond(603)
    world.run(1.0)
    assert [caller.last.final for caller in callers] == [603, 480, 480, 480, 480, 480]
    world.check()


def test_a_place_is_free_as_soon_as_the_announcement_begins(narrow: LineProfile) -> None:
    world = World(narrow)
    world.announcement_s = None
    phone = world.phone("1001")
    first, second = world.peer("127.0.0.2"), world.peer("127.0.0.3")
    first.invite(DESK)
    world.run(10.0)
    second.invite(DESK)
    world.run(10.5)
    assert first.last.statuses[-1] == 183
    assert len(phone.sessions) == 2, "the next caller still waits while the first only listens"
    world.check()


def test_the_queue_has_an_end(narrow: LineProfile) -> None:
    world = World(narrow)
    phone = world.phone("1001")
    talking, waiting = world.peer("127.0.0.2"), world.peer("127.0.0.3")
    talking.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    waiting.invite(DESK)
    world.run(30.0)
    assert waiting.last.statuses == [100, 182, 486]
    assert world.outcome() == (Outcome.BUSY, "queue_timeout")
    world.check()


def test_a_full_line_without_queue_is_busy() -> None:
    world = World(line(max_calls=1, when_busy="busy"))
    phone = world.phone("1001")
    caller, other = world.peer("127.0.0.2"), world.peer("127.0.0.3")
    caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    other.invite(DESK)
    world.run(1.0)
    assert other.last.statuses == [100, 486]
    assert world.outcome() == (Outcome.BUSY, "line_full")
    world.check()


# The guard


@pytest.mark.rule("6.1-e")
@pytest.mark.parametrize("status", [300, 301, 302, 305, 380])
def test_a_redirecting_phone_is_not_followed(world: World, caller: Peer, phone: Peer, status: int) -> None:
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.respond(status, headers={"Contact": "<sip:13900139000@203.0.113.9>"})
    world.run(10.0)
    (report,) = world.forwards()
    assert (report.way, report.target) == (Way.REDIRECT, "sip:13900139000@203.0.113.9")
    assert (call.final, world.outcome()[0]) == (480, Outcome.REJECTED)
    assert not any(b"203.0.113.9" in message.serialize() for message in world.sent_to(caller, ""))


@pytest.mark.rule("6.1-e")
def test_a_phone_that_says_it_forwards_is_cancelled(world: World, caller: Peer, phone: Peer) -> None:
    caller.invite(DESK)
    world.run(0.1)
    phone.last.respond(181)
    phone.last.respond(181)
    world.run(1.0)
    assert phone.last.cancelled
    assert [report.way for report in world.forwards()] == [Way.FORWARDED_181]


@pytest.mark.rule("6.1-e")
def test_an_answer_with_the_audio_elsewhere_is_refused(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.answer(audio("203.0.113.9"))
    world.run(1.0)
    assert phone.last.ended
    assert call.final == 603
    assert [report.way for report in world.forwards()] == [Way.MEDIA_MOVE]
    assert world.remotes() == [("caller", "127.0.0.7")]


@pytest.mark.rule("6.1-e")
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_moving_the_audio_during_the_talk_is_refused(world: World, caller: Peer, phone: Peer, method: str) -> None:
    caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    asked = phone.last.send(method, audio("203.0.113.9"))
    world.run(0.5)
    assert [answer.status for answer in phone.answers[asked]] == [488]
    assert [report.way for report in world.forwards()] == [Way.MEDIA_MOVE]
    assert ("officer", "203.0.113.9") not in world.remotes()
    assert (caller.last.up, phone.last.up) == (True, True)


@pytest.mark.rule("6.1-e")
def test_moving_the_audio_in_the_answer_to_our_offer_is_refused(world: World, caller: Peer, phone: Peer) -> None:
    caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    phone.ack_body = audio("203.0.113.9")
    asked = phone.last.send("INVITE")
    world.run(0.5)
    (ok,) = phone.answers[asked]
    assert ok.status == 200
    assert b"m=audio" in ok.body
    assert [report.way for report in world.forwards()] == [Way.MEDIA_MOVE]
    assert ("officer", "203.0.113.9") not in world.remotes()
    assert caller.last.up


@pytest.mark.rule("6.1-e")
@pytest.mark.parametrize("refer_to", ["<sip:13900139000@203.0.113.9>", "<sip:1@203.0.113.9?Replaces=a%3Bto-tag%3Db>"])
def test_a_transfer_is_refused_and_the_talk_goes_on(world: World, caller: Peer, phone: Peer, refer_to: str) -> None:
    caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    asked = phone.last.send("REFER", headers={"Refer-To": refer_to})
    world.run(0.5)
    assert [answer.status for answer in phone.answers[asked]] == [603]
    assert [(report.way, report.target) for report in world.forwards()] == [(Way.REFER, refer_to)]
    assert (caller.last.up, phone.last.up) == (True, True)


@pytest.mark.rule("6.1-e")
def test_a_caller_who_would_take_over_another_call_is_refused(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK, headers={"Replaces": "abc;to-tag=1;from-tag=2"})
    world.run(1.0)
    assert call.final == 403
    assert [report.way for report in world.forwards()] == [Way.REPLACES]
    assert world.outcome() == (Outcome.REFUSED, "forward_replaces")
    assert phone.sessions == []


@pytest.mark.rule("6.1-e")
def test_a_call_forwarded_to_us_is_taken_and_marked(world: World, caller: Peer, phone: Peer) -> None:
    caller.invite(DESK, headers={"Diversion": "<sip:037199999999@pbx>;reason=unconditional"})
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    assert world.kinds()[0] == "forward_marked"
    assert world.records()[0].data["target"] == "Diversion: sip:037199999999@pbx"
    assert world.forwards() == []


# Within the dialog


def test_hold_and_resume(world: World, caller: Peer, phone: Peer) -> None:
    caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    phone.last.send("INVITE", audio(phone.address[0], direction="sendonly"))
    world.run(0.5)
    phone.last.send("INVITE", audio(phone.address[0]))
    world.run(0.5)
    assert world.kinds()[-2:] == ["held", "resumed"]
    assert {record.data["by"] for record in world.records()[-2:]} == {"officer"}


def test_requests_in_the_dialog(world: World, caller: Peer, phone: Peer) -> None:
    caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    asked = {
        "INFO": caller.last.send("INFO"),
        "OPTIONS": caller.last.send("OPTIONS"),
        "MESSAGE": caller.last.send("MESSAGE"),
        "old": caller.last.send("INFO", cseq=1),
        "garbage": caller.last.send("INVITE", b"v=0\r\n"),
        "UPDATE": caller.last.send("UPDATE"),
    }
    world.run(0.5)
    answered = {name: caller.answers[asked[name]][0].status for name in asked}
    assert answered == {"INFO": 200, "OPTIONS": 200, "MESSAGE": 405, "old": 500, "garbage": 400, "UPDATE": 200}
    assert caller.last.up


def test_a_new_offer_before_the_first_is_answered_has_to_wait(world: World, caller: Peer, phone: Peer) -> None:
    call = caller.invite(DESK)
    world.run(0.1)
    phone.last.ring()
    world.run(0.1)
    asked = [call.send("UPDATE", audio("127.0.0.7")), call.send("INVITE", audio("127.0.0.7"))]
    world.run(0.5)
    assert [caller.answers[each][0].status for each in asked] == [500, 500]
    phone.last.answer()
    world.run(0.5)
    assert call.up


def test_nothing_happens_in_a_dialog_that_has_ended(world: World, caller: Peer, phone: Peer) -> None:
    caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    caller.last.bye()
    world.run(0.1)
    before = len(world.actions)
    asked = [phone.last.send("INVITE", audio(phone.address[0], direction="sendonly")), caller.last.send("BYE")]
    world.run(1.0)
    assert phone.answers[asked[0]][0].status == 481
    assert caller.answers[asked[1]][0].status == 200
    assert len(world.actions) == before
