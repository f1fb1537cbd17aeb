"""URIs: what is read from every spelling, what is refused, and when two name the same (RFC 3261 section 19.1)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.uri import OpaqueUri, SipUri, TelUri, equivalent, parse_uri
from tests.telephony.sip.attempts import attempt

WORDS = st.text("abcXYZ019-_.!~*'()", min_size=1, max_size=8)
HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,5}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
PARAMS = st.lists(st.tuples(WORDS, st.none() | WORDS), max_size=3).map(tuple)
# Normal form: no escaped character that could stand unescaped; hence no "%" and nothing reserved that needs one.
USERS = st.text(min_size=1, max_size=12).filter(lambda text: not set(text) & set(' :@%"\x7f') and min(text) > " ")
SIP_URIS = st.builds(
    SipUri,
    scheme=st.sampled_from(["sip", "sips"]),
    user=st.none() | USERS,
    host=HOSTS,
    port=st.none() | st.integers(1, 65535),
    params=PARAMS,
    headers=st.lists(st.tuples(WORDS, WORDS), max_size=2).map(tuple),
)


@given(SIP_URIS)
def test_a_written_sip_uri_reads_the_same(uri):
    assert parse_uri(str(uri)) == uri


@given(st.text())
@example("sip:%ff%E5%80%BC@h")
@example("tel:%2A21%23")
@example("sip:a@[::1]:5060;x=%20?a=b")
def test_any_text_is_a_uri_in_normal_form_or_refused(text):
    for candidate in (text, f"sip:{text}", f"sip:{text}@host", f"tel:{text}", f"sip:a@host;{text}"):
        uri = attempt(parse_uri, candidate)
        if isinstance(uri, RemoteProtocolError):
            assert uri.status == 400
        else:
            assert parse_uri(str(uri)) == uri
            assert str(uri).isascii()


@given(st.lists(st.sampled_from(["%", "A", "f", "0", "E5", "%80", "%BC", "%E5", "%25", "%40", "%00", "a"])))
def test_the_normal_form_of_escapes_is_stable(pieces):
    uri = attempt(parse_uri, f"sip:{''.join(pieces)}@h")
    assert isinstance(uri, RemoteProtocolError) or parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:01088886666@10.0.0.1", "01088886666", "10.0.0.1", None),
        ("SIP:+861088886666@pbx.example.cn:5070;user=phone", "+861088886666", "pbx.example.cn", 5070),
        ("sip:%2B8610@h", "+8610", "h", None),
        ("sip:*21*139%23@h", "*21*139#", "h", None),
        ("sip:%2A21*139#@h", "*21*139#", "h", None),
        ("sip:%E5%80%BC%E7%8F%AD@h", "值班", "h", None),
        ("sip:值班@h", "值班", "h", None),
        ("sip:sips%3Auser%40example.com@example.net", "sips%3Auser%40example.com", "example.net", None),
        ("sip:user;par=u%40example.net@example.com", "user;par=u%40example.net", "example.com", None),
        ("sip:null-%00-null@example.com", "null-%00-null", "example.com", None),
        ("sip:[2001:db8::10]:5061", None, "[2001:db8::10]", 5061),
        ("sip:@h", None, "h", None),
    ],
)
def test_sip_uris_of_many_spellings(text, user, host, port):
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    assert (uri.user, uri.host, uri.port) == (user, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "", "sip", "sip:", "sip:@", "sip: a@h", "sip:a@h:0", "sip:a@h:65536", "sip:a@h:", "sip:a@b@c", "sip:a@[::g]",
        "sip:a@[::1", "sip:a%4@h", "sip:a%zz@h", "sip:a@h;", "sip:a@h;;lr", "sip:a@h?x", "sip:a@h; lr", "<sip:a@h>",
        "tel:", "tel:+", "tel:12a4x", "tel:123;", "1http://x", "http:", "http:a b", "mailto:\u503c", "sip:a\r\n@h",
    ],
)  # fmt: skip
def test_what_is_no_uri_is_refused(text):
    with pytest.raises(RemoteProtocolError) as caught:
        parse_uri(text)
    assert caught.value.status == 400


def test_tel_and_other_schemes():
    tel = parse_uri("tel:+86-(10)-8888.6666;phone-context=example.cn")
    assert isinstance(tel, TelUri)
    assert tel.digits == "+861088886666"
    assert tel.param("Phone-Context".lower()) == "example.cn"
    assert parse_uri("Soap.Beep://a:b/c?d") == OpaqueUri(scheme="soap.beep", rest="//a:b/c?d")


SAME = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    ("tel:+86-10-8888", "tel:+86108888"),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
    ("sip:bob@biloxi.com", "tel:123"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_equivalent_uris_of_the_rfc(a, b):
    assert equivalent(parse_uri(a), parse_uri(b))
    assert equivalent(parse_uri(b), parse_uri(a))


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different_uris_of_the_rfc(a, b):
    assert not equivalent(parse_uri(a), parse_uri(b))
    assert not equivalent(parse_uri(b), parse_uri(a))


@given(SIP_URIS)
def test_every_uri_is_equivalent_to_itself(uri):
    assert equivalent(uri, parse_uri(str(uri)))
