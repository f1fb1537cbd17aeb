"""A recording client forks calls to the line (RFC 7866): what we answer and what the book says."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_network

import pytest

from duty.domain.calls import CallEventKind, Direction, Outcome
from duty.domain.numbers import NumberPlan
from telephony.actions import KeepEvidence, SetRemote
from telephony.guard import Way
from telephony.line import LineProfile, SiprecProfile
from telephony.media_policy import MediaPolicy
from telephony.sip.message import Headers, Request, Response
from telephony.sip.session_description import parse_sdp
from tests.telephony.siprec.documents import (
    CALLER,
    DRAFT,
    FROM_CALLER,
    FROM_OFFICER,
    MULTIPART,
    OFFICER,
    SESSION,
    STRANGER,
    document,
    multipart,
    offer,
)
from tests.telephony.world import DESK, TOWN, Peer, Session, World, line

ZHANG, ROOM, ELSEWHERE = (
    ("sip:13800138000@pbx", "张三"),
    ("tel:+86-371-2259-5110", "值班室"),
    ("sip:13900139000@pbx", "李四"),
)
BOTH = {CALLER: ZHANG, OFFICER: ROOM}
STREAMS = offer(("1", 40000, "sendonly"), ("2", 40002, "sendonly"))
CLIENT = "192.0.2.5"


def siprec(*numbers: str) -> SiprecProfile:
    return SiprecProfile(peers=(ip_network(f"{CLIENT}/32"),), numbers=numbers, plan=NumberPlan())


def recorded(number: str = DESK, *numbers: str) -> LineProfile:
    return line(number, (), siprec=siprec(*numbers))


@pytest.fixture
def world() -> World:
    return World(recorded(), recorded(TOWN, "8001"))


@pytest.fixture
def client(world: World) -> Peer:
    return world.peer(CLIENT, user="src")


def fork(
    client: Peer,
    metadata: bytes | None = None,
    sdp: bytes | None = STREAMS,
    *,
    to: str = "srs",
    headers: Mapping[str, str] | None = None,
) -> Session:
    fields = {
        "Require": "siprec",
        "Contact": f"<sip:src@{client.host}:{client.address[1]}>;+sip.src",
        "Allow": "INVITE, ACK, BYE, CANCEL, UPDATE",
        "Content-Type": MULTIPART,
        **(headers or {}),
    }
    session = client.invite(to, multipart(sdp, document(BOTH) if metadata is None else metadata), headers=fields)
    client.world.run(0.5)
    return session


def tell(session: Session, metadata: bytes | None, sdp: bytes | None = None, method: str = "UPDATE") -> list[Response]:
    assert session.dialog is not None
    request = session.dialog.request(method, body=multipart(sdp, metadata), content_type=MULTIPART)
    transaction_id = session.peer.send(request)
    session.peer.world.run(0.5)
    return session.peer.answers[transaction_id]


def answered(session: Session) -> Response:
    assert session.final == 200, session.statuses
    return session.responses[-1]


def ports(response: Response) -> list[tuple[int, str, str | None]]:
    media = parse_sdp(response.body).media
    return [(each.port, each.direction, dict(each.attributes).get("label")) for each in media]


def events(world: World, kind: CallEventKind) -> list[dict[str, object]]:
    return [dict(record.data) for record in world.records() if record.kind is kind]


def targets(world: World) -> list[tuple[str, int, str]]:
    remotes = [action for action in world.actions if isinstance(action, SetRemote)]
    return [(action.speaker.value, action.target.port, action.target.direction) for action in remotes]


@pytest.mark.rule("6.1-a")
def test_a_call_that_is_forked_to_us_is_in_the_book(world: World, client: Peer) -> None:
    session = fork(client)
    response = answered(session)
    assert session.statuses == [100, 200]
    assert response.contacts[0].param("+sip.srs") is not None
    assert "siprec" in response.headers.get_all("Supported")
    assert ports(response) == [(50_000, "recvonly", "1"), (50_002, "recvonly", "2")]
    (opened,) = world.opened()
    assert (opened.line_number, opened.direction, opened.caller_number, opened.callee_number) == (
        DESK,
        Direction.INBOUND,
        "13800138000",
        DESK,
    )
    assert (opened.caller_display, opened.trust, opened.recording_session) == ("张三", "asserted", SESSION)
    assert opened.source == f"{CLIENT}:5060"
    assert world.kinds() == ["parties", "answered"]
    assert events(world, CallEventKind.ANSWERED) == [{"extension": "+8637122595110"}]
    assert targets(world) == [("caller", 40_000, "recvonly"), ("officer", 40_002, "recvonly")]
    (kept,) = [action for action in world.actions if isinstance(action, KeepEvidence)]
    assert (kept.source, kept.raw) == (CLIENT, document(BOTH))
    session.bye()
    world.run(1.0)
    assert world.outcome() == (Outcome.ANSWERED, "recording_ended")
    world.check()


@pytest.mark.parametrize(
    ("people", "streams", "direction", "number", "channels"),
    [
        ({OFFICER: ROOM, CALLER: ZHANG}, STREAMS, Direction.OUTBOUND, "13800138000", ["caller", "officer"]),
        (
            {CALLER: ZHANG, OFFICER: ROOM},
            offer(("2", 1000, "sendonly"), ("1", 1002, "sendonly")),
            Direction.INBOUND,
            "13800138000",
            ["officer", "caller"],
        ),
        (
            {CALLER: ZHANG, OFFICER: ("sip:8001@pbx", "")},
            STREAMS,
            Direction.INBOUND,
            "13800138000",
            ["caller", "officer"],
        ),
    ],
)
def test_direction_and_channels_come_from_who_is_the_lines(
    world: World,
    client: Peer,
    people: dict[str, tuple[str, str]],
    streams: bytes,
    direction: Direction,
    number: str,
    channels: list[str],
) -> None:
    answered(fork(client, document(people), streams))
    (opened,) = world.opened()
    assert opened.direction is direction
    assert (opened.caller_number if direction is Direction.INBOUND else opened.callee_number) == number
    assert opened.line_number == (TOWN if people[OFFICER][0].startswith("sip:8001") else DESK)
    assert sorted(who for who, _, _ in targets(world)) == ["caller", "officer"]
    first = parse_sdp(streams).media[0].port
    assert next(who for who, port, _ in targets(world) if port == first) == channels[0]
    world.check()


def test_a_client_that_writes_as_the_drafts_did_says_who_called(world: World, client: Peer) -> None:
    answered(fork(client, DRAFT, offer(("771757898", 1000, "sendonly"), ("771757897", 1002, "sendonly"))))
    (opened,) = world.opened()
    assert (opened.direction, opened.caller_number) == (Direction.INBOUND, "13800138000")
    assert set(targets(world)) == {("officer", 1000, "recvonly"), ("caller", 1002, "recvonly")}
    world.check()


@pytest.mark.parametrize("host", ["192.0.2.6", "198.51.100.1"])
def test_nobody_else_may_fork_calls_to_us(world: World, host: str) -> None:
    session = fork(world.peer(host, user="src"))
    assert session.final == 403
    assert world.opened() == []
    session = fork(world.peers[host, 5060], headers={"Require": "timer"})
    assert session.final == 403
    world.check()


def test_a_call_of_nobody_here_is_not_recorded(world: World, client: Peer) -> None:
    assert fork(client, document({CALLER: ZHANG, STRANGER: ELSEWHERE})).final == 404
    assert world.opened() == []
    world.check()


@pytest.mark.parametrize(
    ("metadata", "sdp", "status", "opened"),
    [
        (b"<!DOCTYPE r><r/>", STREAMS, 400, 0),
        (b"no metadata", STREAMS, 400, 0),
        (None, offer(("1", 0, "sendonly")), 488, 1),
        (None, STREAMS.replace(b"RTP/AVP 8 0 101", b"RTP/AVP 18"), 488, 1),
        (None, b"v=0\r\n", 400, 1),
        (None, None, 415, 0),
    ],
)
def test_what_cannot_be_recorded_is_refused(
    world: World, client: Peer, metadata: bytes | None, sdp: bytes | None, status: int, opened: int
) -> None:
    assert fork(client, metadata, sdp).final == status
    assert len(world.opened()) == opened
    world.check()


@pytest.mark.rule("6.1-a")
def test_a_call_to_the_lines_own_number_is_taken_even_where_what_is_told_cannot_be_read(
    world: World, client: Peer
) -> None:
    broken = document(BOTH).replace("张三".encode(), b"Smith & Sons")
    session = fork(client, broken, to=DESK)
    answered(session)
    assert [action.raw for action in world.actions if isinstance(action, KeepEvidence)] == [broken]
    assert len(world.sent_to(client, "UPDATE")) == 1, "the metadata are asked for"
    tell(session, document(BOTH))
    assert world.kinds() == ["parties", "answered"]
    world.check()


def test_another_extension_that_is_required_is_refused_by_name(world: World, client: Peer) -> None:
    session = fork(client, headers={"Require": "siprec, magic"})
    assert session.final == 420
    assert session.responses[-1].headers.get("Unsupported") == "magic"
    world.check()


def test_without_metadata_the_request_uri_names_the_line_and_they_are_asked_for(world: World, client: Peer) -> None:
    session = client.invite(
        DESK,
        STREAMS,
        headers={
            "Require": "siprec",
            "Contact": f"<sip:src@{CLIENT}>;+sip.src",
            "Allow": "INVITE, ACK, BYE, UPDATE",
            "Content-Type": "application/sdp",
        },
    )
    world.run(0.5)
    answered(session)
    (opened,) = world.opened()
    assert (opened.line_number, opened.caller_number, opened.recording_session) == (DESK, "", "")
    asked = [message for message in world.sent_to(client, "UPDATE") if isinstance(message, Request)]
    assert [each.headers.get("Content-Type") for each in asked] == ["application/rs-metadata-request"]
    assert asked[0].headers.get("Content-Disposition") == "recording-session"
    assert b"SRS Reason:" in asked[0].body
    assert world.kinds() == []
    assert [answer.status for answer in tell(session, document(BOTH))] == [200]
    assert world.kinds() == ["parties", "answered"]
    assert events(world, CallEventKind.PARTIES)[0]["other_number"] == "13800138000"
    world.run(5.0)
    assert len(world.sent_to(client, "UPDATE")) == 1
    world.check()


def test_voices_in_both_channels_are_an_answer_where_nothing_is_told(world: World, client: Peer) -> None:
    silent = document(BOTH, streams={})
    answered(fork(client, silent))
    assert world.kinds() == ["parties"]
    call_id = world.opened()[-1].call_id
    for speaker in (action.speaker for action in world.actions.copy() if isinstance(action, SetRemote)):
        world.switchboard.voice_heard(call_id, speaker, world.instant)
        world.drain()
    assert world.kinds() == ["parties", "answered"]
    world.check()


@pytest.mark.rule("6.1-a")
@pytest.mark.parametrize(
    ("people", "outcome"),
    [({CALLER: ZHANG, OFFICER: ROOM}, Outcome.MISSED), ({OFFICER: ROOM, CALLER: ZHANG}, Outcome.CANCELLED)],
)
def test_a_call_that_only_rang_is_missed(
    world: World, client: Peer, people: dict[str, tuple[str, str]], outcome: Outcome
) -> None:
    caller_only = {CALLER: FROM_CALLER}
    session = fork(client, document(people, streams=caller_only), offer(("1", 40000, "sendonly")))
    answered(session)
    session.bye()
    world.run(1.0)
    assert world.outcome() == (outcome, "recording_ended")
    world.check()


def test_hold_and_resume_are_seen(world: World, client: Peer) -> None:
    session = fork(client)
    paused = offer(("1", 40000, "inactive"), ("2", 40002, "sendonly"))
    (response,) = [one for one in tell(session, document(BOTH), paused, "INVITE") if one.status >= 200]
    assert ports(response) == [(50_000, "inactive", "1"), (50_002, "recvonly", "2")]
    assert "siprec" in response.headers.get_all("Supported") or response.contacts[0].param("+sip.srs") is not None
    tell(session, None, STREAMS, "INVITE")
    assert world.kinds() == ["parties", "answered", "held", "resumed"]
    assert events(world, CallEventKind.HELD) == [{"by": "caller"}]
    world.check()


@pytest.mark.rule("6.1-e")
def test_a_transfer_away_from_the_line_is_marked(world: World, client: Peer) -> None:
    session = fork(client)
    consult = document({STRANGER: ELSEWHERE}, mode="partial")
    three = offer(("1", 40000, "inactive"), ("2", 40002, "sendonly"), ("3", 40004, "sendonly"))
    (response,) = [one for one in tell(session, consult, three, "INVITE") if one.status >= 200]
    assert [port for port, _, _ in ports(response)] == [50_000, 50_002, 50_000]
    assert world.forwards() == []
    assert events(world, CallEventKind.FORWARD_MARKED) == []
    moved = document({}, mode="partial", gone=(OFFICER,))
    two = offer(("1", 40000, "sendonly"), ("2", 0, "inactive"), ("3", 40004, "sendonly"))
    (response,) = [one for one in tell(session, moved, two, "INVITE") if one.status >= 200]
    assert [port for port, _, _ in ports(response)] == [50_000, 0, 50_002]
    assert events(world, CallEventKind.FORWARD_MARKED) == [
        {"way": Way.RECORDED_TRANSFER.value, "target": "sip:13900139000@pbx"}
    ]
    tell(session, document({CALLER: ZHANG, STRANGER: ELSEWHERE}))
    assert len(events(world, CallEventKind.FORWARD_MARKED)) == 1
    world.check()


def test_a_third_voice_is_refused_and_told(world: World, client: Peer) -> None:
    session = fork(client)
    three = offer(("1", 40000, "sendonly"), ("2", 40002, "sendonly"), ("3", 40004, "sendonly"))
    (response,) = [
        one
        for one in tell(session, document({STRANGER: ELSEWHERE}, mode="partial"), three, "INVITE")
        if one.status > 199
    ]
    assert [port for port, _, _ in ports(response)] == [50_000, 50_002, 0]
    tell(session, None, three, "INVITE")
    assert events(world, CallEventKind.STREAM_REFUSED) == [{"label": "3"}]
    world.check()


def test_one_stream_that_mixes_both_is_the_callers_channel(world: World, client: Peer) -> None:
    mixed = document(BOTH).replace(FROM_OFFICER.encode(), FROM_CALLER.encode()).replace(b"<label>2", b"<label>1")
    response = answered(fork(client, mixed, offer(("1", 40000, "sendonly"), ("v", 40002, "sendonly"))))
    assert ports(response)[0] == (50_000, "recvonly", "1")
    assert world.kinds() == ["parties", "answered"]
    world.check()


def test_a_client_that_asks_for_our_offer_gets_what_was_agreed(world: World, client: Peer) -> None:
    session = fork(client)
    assert session.dialog is not None
    client.ack_body = offer(("1", 40010, "sendonly"), ("2", 40012, "sendonly"))
    body = multipart(None, document(BOTH))
    transaction_id = client.send(session.dialog.request("INVITE", body=body, content_type=MULTIPART))
    world.run(0.5)
    (response,) = [one for one in client.answers[transaction_id] if one.status >= 200]
    assert ports(response) == [(50_000, "recvonly", "1"), (50_002, "recvonly", "2")]
    assert parse_sdp(response.body).origin.version != parse_sdp(session.responses[-1].body).origin.version
    assert targets(world)[-2:] == [("caller", 40_010, "recvonly"), ("officer", 40_012, "recvonly")]
    world.check()


def test_encrypted_and_wideband_streams_are_taken_where_the_line_allows_them() -> None:
    policy = MediaPolicy(codecs=(8, 0, 9), encryption="required", keys_in_clear=True)
    world = World(line(DESK, (), siprec=siprec(), trunk_media=policy))
    key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + b64encode(bytes(range(30))).decode()
    secret = STREAMS.replace(b"RTP/AVP 8 0 101", b"RTP/SAVP 9 101").replace(b"a=label", f"{key}\r\na=label".encode())
    response = answered(fork(world.peer(CLIENT, user="src"), sdp=secret))
    media = parse_sdp(response.body).media
    assert [(each.protocol, each.formats[0], each.direction) for each in media] == [("RTP/SAVP", 9, "recvonly")] * 2
    ours = {dict(each.attributes)["crypto"] for each in media}
    assert len(ours) == 2, "each stream has a key of its own"
    remotes = [action.target for action in world.actions if isinstance(action, SetRemote)]
    assert [target.payload_type for target in remotes] == [9, 9]
    assert {target.keys.receive for target in remotes if target.keys} == {bytes(range(30))}
    assert fork(world.peers[CLIENT, 5060]).final == 488
    world.check()


def test_metadata_that_cannot_be_read_cost_nothing(world: World, client: Peer) -> None:
    session = fork(client)
    assert [answer.status for answer in tell(session, b"<!DOCTYPE x>")] == [400]
    assert [answer.status for answer in tell(session, document(BOTH))] == [200]
    assert world.kinds() == ["parties", "answered"]
    world.check()


def test_the_client_may_give_up_before_the_answer(world: World, client: Peer) -> None:
    world.opens = lambda _action: 1.0
    session = client.invite(
        "srs",
        multipart(STREAMS, document(BOTH)),
        headers={"Require": "siprec", "Contact": f"<sip:src@{CLIENT}>;+sip.src", "Content-Type": MULTIPART},
    )
    world.run(0.2)
    fields = [field for field in session.request.headers.items() if field[0] in ("From", "To", "Call-ID", "CSeq")]
    via = world.received[-1][2].headers.get("Via") or ""
    headers = Headers([("Via", via), *fields]).with_value("CSeq", f"{session.request.cseq.number} CANCEL")
    world.to_line(Request(method="CANCEL", uri=session.request.uri, headers=headers).serialize(), client)
    world.run(3.0)
    assert session.final == 487
    assert world.outcome() == (Outcome.CANCELLED, "caller_cancelled")
    world.check()


def test_a_session_we_do_not_know_any_more_is_begun_anew(world: World, client: Peer) -> None:
    session = fork(client)
    again = World(recorded(), recorded(TOWN, "8001"))  # the service after its restart
    other = again.peer(CLIENT, user="src")
    assert session.dialog is not None
    request = session.dialog.request("UPDATE", body=multipart(None, document(BOTH)), content_type=MULTIPART)
    transaction_id = other.send(request)
    again.run(0.5)
    assert [answer.status for answer in other.answers[transaction_id]] == [481]
    answered(fork(other))
    assert again.opened()[0].recording_session == world.opened()[0].recording_session
    world.check()
    again.check()


def test_no_media_no_session(world: World, client: Peer) -> None:
    world.opens = lambda _action: None
    assert fork(client).final == 503
    assert world.outcome()[0] is Outcome.FAILED
    world.check()


def test_a_forwarded_call_is_marked_as_any_other(world: World, client: Peer) -> None:
    answered(fork(client, headers={"Diversion": "<sip:1234@pbx>;reason=unconditional"}))
    assert events(world, CallEventKind.FORWARD_MARKED)[0]["way"] == "diverted"
    world.check()


def test_a_client_that_vanishes_does_not_leave_the_call_open(world: World, client: Peer) -> None:
    answered(fork(client))
    client.deaf = True
    world.run(4000.0)
    assert world.outcome()[0] is Outcome.ANSWERED
    client.sessions[-1].ended = True
    world.check()
