"""Keys of media in session descriptions (RFC 4568, RFC 7714), and what an offer of encrypted audio is answered with."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.media_policy import MediaPolicy, fresh_keys
from telephony.sip import sdp
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.sdp import Security
from telephony.sip.security_description import (
    AES_32,
    AES_80,
    GCM_128,
    GCM_256,
    KEY_BYTES,
    OFFERED,
    CryptoAttribute,
    masked,
    parse_crypto,
    read_cryptos,
)

KEYS = fresh_keys(MediaPolicy(encryption="optional"))
OPEN = Security(keys=KEYS)
STRICT = Security(keys=KEYS, required=True)
CLEAR = MediaPolicy(encryption="required").security("UDP", KEYS)
OWN = {"host": "10.0.0.9", "port": 4000, "session_id": 7, "version": 1}
THEIRS = b64encode(bytes(range(30))).decode()


def described(*sections: str) -> sdp.SessionDescription:
    head = "v=0\no=- 1 1 IN IP4 192.0.2.5\ns=-\nc=IN IP4 192.0.2.5\nt=0 0\n"
    return sdp.parse_sdp((head + "\n".join(sections) + "\n").encode())


def secured(tag: int = 1, suite: str = AES_80, protocol: str = "RTP/SAVP", port: int = 5000) -> str:
    key = b64encode(bytes(range(KEY_BYTES[suite]))).decode()
    return f"m=audio {port} {protocol} 8 0\na=crypto:{tag} {suite} inline:{key}"


ATTRIBUTES = st.sampled_from(sorted(KEY_BYTES)).flatmap(
    lambda suite: st.builds(
        CryptoAttribute,
        tag=st.integers(0, 999_999_999),
        suite=st.just(suite),
        key=st.binary(min_size=KEY_BYTES[suite], max_size=KEY_BYTES[suite]),
        lifetime=st.sampled_from(["", "2^20", "2^48", "1048576"]),
        parameters=st.lists(st.sampled_from(["WSH=64", "-KDR=3", "-x"]), max_size=2).map(tuple),
    )
)


@given(ATTRIBUTES)
def test_a_written_crypto_attribute_reads_the_same(attribute: CryptoAttribute) -> None:
    assert parse_crypto(str(attribute)) == attribute


@given(ATTRIBUTES, st.data())
def test_a_spoilt_crypto_attribute_is_none_or_another(attribute: CryptoAttribute, draw: st.DataObject) -> None:
    text = list(str(attribute))
    text[draw.draw(st.integers(0, len(text) - 1))] = draw.draw(st.characters())
    read = parse_crypto("".join(text))
    assert read is None or len(read.key) == KEY_BYTES[read.suite]


@given(ATTRIBUTES)
def test_no_text_of_a_value_shows_its_key(attribute: CryptoAttribute) -> None:
    shown = repr(attribute) + repr(Security(keys={attribute.suite: attribute.key}))
    assert repr(attribute.key) not in shown
    assert b64encode(attribute.key).decode() not in shown


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"1 {AES_80}",
        f"1 F8_128_HMAC_SHA1_80 inline:{THEIRS}",
        f"1 {AES_80} inline:{THEIRS}|2^20|1:4",  # an MKI, which would follow each packet
        f"1 {AES_80} inline:{THEIRS}|1:4",
        f"1 {AES_80} inline:{THEIRS};inline:{THEIRS}",
        f"1 {AES_80} inline:{THEIRS[:-4]}",
        f"1 {AES_80} inline:{THEIRS} UNENCRYPTED_SRTP",
        f"1 {AES_80} inline:{THEIRS} UNAUTHENTICATED_SRTP",
        f"1 {AES_80} inline:{THEIRS} KDR=1",
        f"x {AES_80} inline:{THEIRS}",
        f"1 {AES_80} inline:{'*' * 40}",
    ],
)
def test_a_protection_that_we_lack_is_not_used(value: str) -> None:
    assert parse_crypto(value) is None


@pytest.mark.parametrize("suite", [AES_80, AES_32, GCM_128, GCM_256])
def test_an_encrypted_offer_is_answered_with_our_key_for_its_suite(suite: str) -> None:
    answer, target = sdp.answer(described(secured(3, suite)), **OWN, security=OPEN)
    [ours] = read_cryptos(answer.media[0].attributes)
    assert answer.media[0].protocol == "RTP/SAVP"
    assert (ours.tag, ours.suite, ours.key) == (3, suite, KEYS[suite])
    assert target.keys is not None
    assert (target.keys.suite, target.keys.send) == (suite, KEYS[suite])
    assert target.keys.receive == bytes(range(KEY_BYTES[suite]))


def test_the_offers_order_of_suites_and_an_encrypted_stream_before_a_plain_one() -> None:
    gcm = b64encode(bytes(28)).decode()
    unknown = f"a=crypto:1 F8_128_HMAC_SHA1_80 inline:{THEIRS}"
    two = f"m=audio 5000 RTP/SAVP 8\n{unknown}\na=crypto:2 {AES_32} inline:{THEIRS}\na=crypto:3 {GCM_128} inline:{gcm}"
    answer, target = sdp.answer(described("m=audio 4000 RTP/AVP 8", two), **OWN, security=OPEN)
    assert [media.port for media in answer.media] == [0, 4000]
    assert target.keys is not None
    assert target.keys.suite == AES_32


def test_keys_beside_plain_rtp_are_taken_where_they_may_be() -> None:
    offer = described(secured(protocol="RTP/AVP"))
    answer, target = sdp.answer(offer, **OWN, security=OPEN)
    assert answer.media[0].protocol == "RTP/AVP"
    assert target.keys is not None
    answer, target = sdp.answer(offer, **OWN)
    assert target.keys is None
    assert answer.media[0].attributes == ()


@pytest.mark.parametrize(
    ("section", "security", "why"),
    [
        (secured(), Security(), "Encrypted media are switched off on this side"),
        (secured(), CLEAR, "Media keys are exchanged over TLS only"),
        ("m=audio 5000 RTP/SAVP 8", OPEN, "No usable crypto attribute"),
        ("m=audio 5000 RTP/AVP 8", STRICT, "Audio that is not encrypted is refused on this side"),
        ("m=audio 5000 RTP/AVP 8", CLEAR, "Media keys are exchanged over TLS only"),
        ("m=audio 5000 RTP/SAVPF 8", OPEN, "No audio stream in PCMA, PCMU over RTP"),
    ],
)
def test_what_is_not_protected_as_it_must_be_is_488_and_says_so(section: str, security: Security, why: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        sdp.answer(described(section), **OWN, security=security)
    assert (caught.value.status, caught.value.reason) == (488, why)


@pytest.mark.parametrize("required", [False, True])
def test_our_encrypted_offer_is_answered_and_accepted(required: bool) -> None:
    ours = tuple(CryptoAttribute(tag=n, suite=suite, key=KEYS[suite]) for n, suite in enumerate(OFFERED, 1))
    offer = sdp.offer(host="10.0.0.1", port=5000, session_id=1, version=1, cryptos=ours, required=required)
    assert offer.media[0].protocol == ("RTP/SAVP" if required else "RTP/AVP")
    theirs = fresh_keys(MediaPolicy(encryption="optional"))
    answer, callee = sdp.answer(sdp.parse_sdp(offer.serialize()), **OWN, security=Security(keys=theirs))
    caller = sdp.accept(sdp.parse_sdp(answer.serialize()), host="10.0.0.1", cryptos=ours, required=required)
    assert callee.keys is not None
    assert caller.keys is not None
    assert callee.keys.suite == OFFERED[0]
    assert (callee.keys.send, callee.keys.receive) == (caller.keys.receive, caller.keys.send)


def test_an_answer_in_plain_rtp_ends_the_matter_or_the_call() -> None:
    ours = (CryptoAttribute(tag=1, suite=AES_80, key=KEYS[AES_80]),)
    plain = described("m=audio 5000 RTP/AVP 8")
    assert sdp.accept(plain, host="10.0.0.1", cryptos=ours).keys is None
    for answer, required in ((plain, True), (described(secured(tag=2)), False)):
        with pytest.raises(RemoteProtocolError) as caught:
            sdp.accept(answer, host="10.0.0.1", cryptos=ours, required=required)
        assert caught.value.status == 488


@pytest.mark.rule("6.1-e")
def test_keys_are_masked_and_lengths_stay() -> None:
    body = f"m=audio 1 RTP/SAVP 8\r\na=crypto:1 {AES_80} inline:{THEIRS}|2^20|1:4\r\nk=base64:AAAA\r\n".encode()
    shown = masked(body)
    assert THEIRS.encode() not in shown
    assert b"AAAA" not in shown
    assert len(shown) == len(body)
    assert b"inline:" + b"*" * len(THEIRS) + b"|2^20|1:4\r\n" in shown
    assert masked(b"INVITE sip:1 SIP/2.0\r\n\r\nno keys") == b"INVITE sip:1 SIP/2.0\r\n\r\nno keys"


@pytest.mark.parametrize(
    ("attributes", "port"),
    [
        ("", 5001),
        ("a=rtcp:7000", 7000),
        ("a=rtcp:7000 IN IP4 192.0.2.5", 7000),
        ("a=rtcp:7000 IN IP4 203.0.113.9", 5001),
        ("a=rtcp:70000", 5001),
        ("a=rtcp:x", 5001),
        ("a=rtcp:", 5001),
        ("a=rtcp: ", 5001),
        ("a=rtcp:7000 IN", 5001),
        ("a=rtcp:0", 5001),
        ("a=rtcp-mux", 5000),
        ("a=rtcp:7000\na=rtcp-mux", 5000),
    ],
)
def test_reports_go_where_the_offer_says_but_to_no_other_host(attributes: str, port: int) -> None:
    answer, target = sdp.answer(described(f"m=audio 5000 RTP/AVP 8\n{attributes}".rstrip("\n")), **OWN)
    assert target.rtcp_port == port
    assert target.rtcp_mux == (("rtcp-mux", None) in answer.media[0].attributes)


def test_g722_is_last_by_our_own_order_and_follows_the_other_side() -> None:
    codecs = (sdp.PCMA, sdp.PCMU, sdp.G722)
    offer = sdp.offer(host="10.0.0.1", port=5000, session_id=1, version=1, codecs=codecs)
    assert offer.media[0].formats == (8, 0, 9, 101)
    assert str(offer.media[0].rtpmap[9]) == "G722/8000"
    wide = described("m=audio 5000 RTP/AVP 9 8")
    assert sdp.offered_codecs(wide) == (9, 8)
    assert sdp.answer(wide, **OWN)[1].payload_type == 8
    assert sdp.answer(wide, **OWN, codecs=codecs)[1].payload_type == 9
    assert sdp.answer(wide, **OWN, codecs=codecs, preferred=8)[1].payload_type == 8
    assert sdp.answer(wide, **OWN, codecs=codecs, preferred=0)[1].payload_type == 9


def test_a_wish_for_fax_is_seen() -> None:
    assert sdp.asks_fax(described("m=audio 0 RTP/AVP 8", "m=image 4000 udptl t38"))
    assert not sdp.asks_fax(described("m=audio 4000 RTP/AVP 8", "m=image 0 udptl t38"))
