"""Recording sessions of any course: whatever a client tells and offers, and in whatever order, the line keeps its
promises, nobody is heard as somebody else, and nothing is sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from duty.domain.calls import CallEventKind
from duty.domain.transcripts import Speaker
from telephony.actions import SetRemote
from telephony.sip import sdp
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.session_description import MediaDescription, SessionDescription, parse_sdp
from telephony.siprec.streams import Channel, answer_streams, label
from tests.telephony.siprec.documents import CALLER, MULTIPART, OFFICER, STRANGER, document, multipart, offer
from tests.telephony.siprec.test_recorded_call import CLIENT, ELSEWHERE, ROOM, ZHANG, fork, recorded
from tests.telephony.world import World

PEOPLE = {CALLER: ZHANG, OFFICER: ROOM, STRANGER: ELSEWHERE}
CHANNELS = {Speaker.CALLER: Channel(local=("192.0.2.1", 50_000)), Speaker.OFFICER: Channel(local=("192.0.2.1", 50_002))}
WHO = {"1": Speaker.CALLER, "2": Speaker.OFFICER, "3": Speaker.CALLER}

_directions = st.sampled_from(["sendonly", "sendonly", "inactive", "sendrecv", "recvonly"])
_streams = st.lists(
    st.tuples(st.sampled_from(["1", "2", "3", "", "x"]), st.sampled_from([0, 40_000, 40_002, 40_004]), _directions),
    max_size=5,
).map(lambda streams: offer(*streams))
_people = st.sets(st.sampled_from(sorted(PEOPLE)))
_documents = st.builds(
    lambda mode, here, gone: document(
        {who: PEOPLE[who] for who in PEOPLE if who in here}, mode=mode, gone=tuple(sorted(gone - here))
    ),
    st.sampled_from(["complete", "partial"]),
    _people,
    _people,
) | st.binary(max_size=20)
_turns = st.lists(
    st.tuples(st.sampled_from(["INVITE", "UPDATE"]), st.none() | _streams, st.none() | _documents, st.booleans()),
    max_size=6,
)


@given(_streams, st.dictionaries(st.sampled_from(["1", "2", "3", "x"]), st.sampled_from(Speaker)))
def test_an_answer_gives_each_channel_to_one_voice(data: bytes, who: dict[str, Speaker]) -> None:
    theirs = parse_sdp(data)
    try:
        answered = answer_streams(theirs, channels=CHANNELS, codecs=sdp.G711, claim=who.get, session_id=1, version=1)
    except RemoteProtocolError as error:
        usable = any(media.port for media in theirs.media)
        assert (error.status, usable) == (488, False)  # noqa: PT017 - only some offers are refused
        return
    ours = parse_sdp(answered.description.serialize())
    assert ours == answered.description
    assert len(ours.media) == len(theirs.media)
    assert {media.direction for media in ours.media} <= {"recvonly", "inactive"}
    sending = [place for place, media in enumerate(ours.media) if media.port and media.direction == "recvonly"]
    assert len({ours.media[place].port for place in sending}) == len(sending), "two voices in one channel"
    for place in sending:
        _its_own_or_nobodys(theirs, place, ours.media[place], who)


def _its_own_or_nobodys(
    theirs: SessionDescription, place: int, ours: MediaDescription, who: dict[str, Speaker]
) -> None:
    """A voice that is known is in its own channel, or in one that no other voice of the offer claims."""
    channel = Speaker.CALLER if ours.port == 50_000 else Speaker.OFFICER
    known = who.get(label(theirs.media[place]))
    others = {who.get(label(media)) for other, media in enumerate(theirs.media) if other != place and media.port}
    assert label(ours) == label(theirs.media[place])
    assert known in (channel, None) or channel not in others


@given(_documents, _streams, _turns)
def test_a_session_of_any_course(first: bytes, streams: bytes, turns: list[tuple[str, bytes, bytes, bool]]) -> None:
    world = World(recorded())
    client = world.peer(CLIENT, user="src")
    session = fork(client, first, streams)
    for method, description, metadata, quickly in turns:
        if session.up and session.dialog is not None:
            body = multipart(description, metadata) if description is not None or metadata is not None else b""
            content_type = MULTIPART if body else None
            client.ack_body = streams if method == "INVITE" and description is None else b""
            client.send(session.dialog.request(method, body=body, content_type=content_type))
            world.run(0.01 if quickly else 0.5)
    assert world.forwards() == []
    remotes = [action.target.direction for action in world.actions if isinstance(action, SetRemote)]
    assert set(remotes) <= {"recvonly", "inactive"}
    if world.opened():
        assert [record.kind for record in world.records()].count(CallEventKind.FORWARD_MARKED) <= 1
    world.check()
