"""Session descriptions and offer/answer (RFC 8866, RFC 3264)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip import sdp
from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.sdp import AudioTarget, Connection, MediaDescription, Origin, Rtpmap, SessionDescription
from tests.telephony.sip.attempts import attempt

PHONE = b"""v=0
o=alice 2890844526 2890844526 IN IP4 host.atlanta.example.com
s=
c=IN IP4 192.0.2.101
t=0 0
m=audio 49170 RTP/AVP 8 0 97 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000/1
a=rtpmap:97 iLBC/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=rtcp:49171
m=video 51372 RTP/AVP 31
a=rtpmap:31 H261/90000
""".replace(b"\n", b"\r\n")
OWN = {"host": "10.0.0.9", "port": 4000, "session_id": 7, "version": 1}

TOKENS = st.text("abcXYZ019-.", min_size=1, max_size=8)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=12)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(lambda a: (str(a), "IP4")), st.ip_addresses(v=6).map(lambda a: (str(a), "IP6"))
)
CONNECTIONS = HOSTS.map(lambda pair: Connection(host=pair[0], address_type=pair[1]))
ATTRIBUTES = st.lists(st.tuples(TOKENS, st.none() | TEXT), max_size=3).map(tuple)
DIRECTIONS = st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"])
MEDIA = st.builds(
    MediaDescription,
    kind=st.sampled_from(["audio", "video", "image"]),
    port=st.integers(0, 65535),
    port_count=st.integers(1, 4),
    protocol=st.sampled_from(["RTP/AVP", "RTP/SAVP", "udptl"]),
    formats=st.lists(st.integers(0, 127) | st.just("t38"), min_size=1, max_size=5).map(tuple),
    connection=st.none() | CONNECTIONS,
    rtpmap=st.dictionaries(
        st.integers(0, 127),
        st.builds(Rtpmap, name=TOKENS, clock=st.integers(1, 96000), channels=st.integers(1, 2)),
        max_size=3,
    ),
    fmtp=st.dictionaries(st.integers(0, 127), TOKENS, max_size=2),
    direction=DIRECTIONS,
    ptime=st.none() | st.integers(1, 1000),
    attributes=ATTRIBUTES,
)
DESCRIPTIONS = st.builds(
    SessionDescription,
    origin=st.builds(Origin, username=TOKENS, session_id=TOKENS, version=TOKENS, connection=CONNECTIONS),
    name=TEXT,
    connection=st.none() | CONNECTIONS,
    attributes=ATTRIBUTES,
    media=st.lists(MEDIA, max_size=3).map(tuple),
    extra=st.lists(TEXT.map(lambda text: ("b", text)), max_size=2).map(tuple),
)


@given(DESCRIPTIONS)
def test_a_written_description_reads_the_same(description):
    assert sdp.parse_sdp(description.serialize()) == description


@given(st.binary(max_size=200) | DESCRIPTIONS.map(SessionDescription.serialize), st.data())
def test_any_bytes_are_read_or_refused(data, draw):
    mutated = bytearray(data)
    for _ in range(draw.draw(st.integers(0, 4))):
        if mutated:
            mutated[draw.draw(st.integers(0, len(mutated) - 1))] = draw.draw(st.integers(0, 255))
    for candidate in (bytes(mutated), b"v=0\r\n" + bytes(mutated), PHONE + bytes(mutated)):
        description = attempt(sdp.parse_sdp, candidate)
        if isinstance(description, RemoteProtocolError):
            assert description.status == 400
            continue
        assert sdp.parse_sdp(description.serialize()) == description
        answered = attempt(lambda offer: sdp.answer(offer, **OWN), description)
        if isinstance(answered, RemoteProtocolError):
            assert answered.status == 488
        else:
            assert len(answered[0].media) == len(description.media)
            assert answered[1].payload_type in (0, 8)


def test_a_phones_description_is_read_completely():
    description = sdp.parse_sdp(PHONE)
    audio, video = description.media
    assert (audio.kind, audio.port, audio.formats, audio.ptime) == ("audio", 49170, (8, 0, 97, 101), 20)
    assert audio.rtpmap[8] == Rtpmap(name="PCMA", clock=8000)
    assert audio.fmtp == {101: "0-16"}
    assert audio.attributes == (("rtcp", "49171"),)
    assert video.rtpmap[31].clock == 90000
    assert description.connection_of(video) == Connection(host="192.0.2.101")


def test_the_session_direction_holds_for_media_without_their_own():
    held = PHONE.replace(b"t=0 0\r\n", b"t=0 0\r\na=sendonly\r\n").replace(b"a=ptime:20", b"a=inactive")
    assert [media.direction for media in sdp.parse_sdp(held).media] == ["inactive", "sendonly"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"v=1\r\n", b"o=- 1 1 IN IP4 1.1.1.1\r\n", b"v=0\r\n", PHONE.replace(b"49170", b"70000"),
        PHONE.replace(b"49170", b"-1"), PHONE.replace(b"o=", b"x="), PHONE.replace(b"c=IN", b"c=ATM"),
        PHONE.replace(b"c=IN IP4", b"c=IN IP5"), PHONE.replace(b"m=audio", b"m=audio "[:7] + b"\x00"), PHONE + b"\r\n",
        PHONE.replace(b" 8 0 97 101", b""), PHONE + b"m=audio 1 RTP/AVP 0\r\n" * 40, PHONE + b"a=x\r\n" * 2000,
        PHONE + b"a=" + b"x" * 70_000,
    ],
)  # fmt: skip
def test_malformed_descriptions_are_refused(data):
    with pytest.raises(RemoteProtocolError) as caught:
        sdp.parse_sdp(data)
    assert caught.value.status == 400


def test_our_offer_is_answered_and_accepted():
    offer = sdp.parse_sdp(sdp.offer(host="10.0.0.1", port=5000, session_id=1, version=1).serialize())
    answer, caller = sdp.answer(offer, host="10.0.0.2", port=6000, session_id=2, version=1)
    assert caller == AudioTarget(
        host="10.0.0.1",
        port=5000,
        payload_type=8,
        wire_payload_type=8,
        telephone_event=101,
        direction="sendrecv",
        ptime=20,
        rtcp_port=5001,
    )
    callee = sdp.accept(sdp.parse_sdp(answer.serialize()), host="10.0.0.1")
    assert callee == AudioTarget(
        host="10.0.0.2",
        port=6000,
        payload_type=8,
        wire_payload_type=8,
        telephone_event=101,
        direction="sendrecv",
        ptime=20,
        rtcp_port=6001,
    )


def test_other_streams_are_refused_and_the_order_of_the_offer_decides():
    answer, target = sdp.answer(sdp.parse_sdp(PHONE), **OWN)
    assert (target.host, target.port, target.payload_type, target.telephone_event) == ("192.0.2.101", 49170, 8, 101)
    assert [(media.kind, media.port) for media in answer.media] == [("audio", 4000), ("video", 0)]
    assert answer.media[0].formats == (8, 101)
    assert answer.media[1].formats == (31,)
    _, only_mu_law = sdp.answer(sdp.parse_sdp(PHONE), **OWN, codecs=(0,))
    assert only_mu_law.payload_type == 0


@pytest.mark.parametrize(
    ("offered", "wanted", "answered"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendonly", "sendonly", "inactive"),
        ("sendrecv", "inactive", "inactive"),
    ],
)
def test_the_answer_allows_what_both_sides_want(offered, wanted, answered):
    offer = sdp.offer(host="10.0.0.1", port=5000, session_id=1, version=1, direction=offered)
    answer, target = sdp.answer(offer, **OWN, direction=wanted)
    assert answer.media[0].direction == target.direction == answered


def test_an_address_of_zeros_is_hold():
    _, target = sdp.answer(sdp.parse_sdp(PHONE.replace(b"192.0.2.101", b"0.0.0.0")), **OWN)
    assert target.direction == "recvonly"


@pytest.mark.parametrize(
    "data",
    [
        PHONE.replace(b"RTP/AVP 8 0", b"RTP/SAVP 8 0"),
        PHONE.replace(b"RTP/AVP 8 0 97", b"RTP/AVP 97"),
        PHONE.replace(b"m=audio 49170", b"m=audio 0"),
        PHONE.replace(b"PCMA/8000", b"opus/48000").replace(b"PCMU/8000", b"PCMU/16000"),
        PHONE.replace(b"c=IN IP4 192.0.2.101\r\n", b""),
        PHONE.replace(b"c=IN IP4 192.0.2.101", b"c=IN IP4 phone.example.com"),
        PHONE.replace(b"c=IN IP4 192.0.2.101", b"c=IN IP4 224.2.1.1/127"),
        PHONE.replace(b"c=IN IP4 192.0.2.101", b"c=IN IP4 224.2.1.1"),
        PHONE.replace(b"c=IN IP4 192.0.2.101", b"c=IN IP6 192.0.2.101"),
        PHONE[: PHONE.index(b"m=audio")],
    ],
)
def test_what_we_cannot_speak_is_488(data):
    description = sdp.parse_sdp(data)
    for decide in (lambda: sdp.answer(description, **OWN), lambda: sdp.accept(description, host="10.0.0.1")):
        with pytest.raises(RemoteProtocolError) as caught:
            decide()
        assert caught.value.status == 488


def test_an_odd_telephone_event_or_rtpmap_costs_no_call():
    odd = PHONE.replace(b"a=rtpmap:101 telephone-event/8000", b"a=rtpmap:101 telephone-event").replace(
        b"a=ptime:20", b"a=ptime:soon"
    )
    description = sdp.parse_sdp(odd)
    assert ("rtpmap", "101 telephone-event") in description.media[0].attributes
    _, target = sdp.answer(description, **OWN)
    assert (target.telephone_event, target.ptime) == (None, None)


IPV6 = b"""v=0
o=- 1 1 IN IP6 2001:db8::1
s=-
c=IN IP6 2001:db8::1
t=0 0
a=group:ANAT 1 2
m=audio 4000 RTP/AVP 8
a=mid:1
m=audio 4002 RTP/AVP 8
%sa=mid:2
""".replace(b"\n", b"\r\n")


def test_audio_of_the_other_ip_version_is_488_and_of_two_alternatives_the_right_one_is_taken():
    both = sdp.parse_sdp(IPV6 % b"c=IN IP4 192.0.2.1\r\n")
    answered, target = sdp.answer(both, **OWN)
    assert (target.host, target.port) == ("192.0.2.1", 4002)
    assert [media.port for media in answered.media] == [0, 4000]
    answered, target = sdp.answer(both, **{**OWN, "host": "2001:db8::9"})
    assert (target.host, [media.port for media in answered.media]) == ("2001:db8::1", [4000, 0])
    only = sdp.parse_sdp(IPV6 % b"")
    for decide in (lambda: sdp.answer(only, **OWN), lambda: sdp.accept(only, host="10.0.0.9")):
        with pytest.raises(RemoteProtocolError) as caught:
            decide()
        assert (caught.value.status, caught.value.reason) == (488, sdp.WRONG_FAMILY)
    _, held = sdp.answer(sdp.parse_sdp((IPV6 % b"").replace(b"2001:db8::1", b"::")), **OWN)
    assert held.nowhere


def test_our_own_mistakes_are_ours():
    with pytest.raises(LocalProtocolError):
        sdp.offer(host="phone.example.com", port=1, session_id=1, version=1)
    with pytest.raises(LocalProtocolError):
        sdp.offer(host="10.0.0.1", port=1, session_id=1, version=1, codecs=(18,))
    broken = SessionDescription(
        origin=Origin(session_id="1", version="1", connection=Connection(host="10.0.0.1")), name="a\r\nc=x"
    )
    with pytest.raises(LocalProtocolError):
        broken.serialize()


DYNAMIC = b"""v=0\r
o=- 1 1 IN IP4 192.0.2.5\r
s=-\r
c=IN IP4 192.0.2.5\r
t=0 0\r
m=audio 4000 RTP/AVP 18 97 98 %s101\r
a=rtpmap:97 PCMA/8000\r
a=rtpmap:98 PCMU/8000/1\r
a=rtpmap:101 telephone-event/8000\r
"""


def test_g711_under_a_dynamic_number_is_taken_and_answered_with_that_number():
    answer, target = sdp.answer(sdp.parse_sdp(DYNAMIC % b""), **OWN)
    assert (target.payload_type, target.wire_payload_type, target.telephone_event) == (8, 97, 101)
    [audio] = sdp.parse_sdp(answer.serialize()).media
    assert audio.formats == (97, 101)
    assert str(audio.rtpmap[97]) == "PCMA/8000"


def test_the_static_number_is_preferred_where_both_are_offered():
    _, target = sdp.answer(sdp.parse_sdp(DYNAMIC % b"0 "), **OWN)
    assert (target.payload_type, target.wire_payload_type) == (0, 0)


def test_a_dynamic_number_without_meaning_or_below_the_range_is_none():
    for changed in (
        (DYNAMIC % b"").replace(b"a=rtpmap:97 PCMA/8000\r\na=rtpmap:98 PCMU/8000/1\r\n", b""),
        (DYNAMIC % b"").replace(b"97", b"50").replace(b"98", b"51"),
        (DYNAMIC % b"").replace(b"PCMA/8000", b"PCMA/16000").replace(b"PCMU/8000/1", b"PCMU/8000/2"),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            sdp.answer(sdp.parse_sdp(changed), **OWN)
        assert caught.value.status == 488
