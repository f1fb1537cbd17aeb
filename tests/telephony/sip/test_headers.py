"""Via, name-addr, CSeq and comma lists (RFC 3261 sections 7.3, 20 and 25)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.headers import (
    CSeq,
    NameAddr,
    Via,
    parse_cseq,
    parse_expires,
    parse_name_addr,
    parse_via,
    quote,
    split_list,
    unquote,
)
from telephony.sip.uri import SipUri
from tests.telephony.sip.attempts import attempt
from tests.telephony.sip.test_uri import HOSTS, SIP_URIS

TOKENS = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=8)
PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
PARAMS = st.dictionaries(TOKENS.map(str.lower), st.none() | PRINTABLE, max_size=3).map(lambda d: tuple(d.items()))
VIA_PARAMS = PARAMS.map(lambda params: tuple(item for item in params if item[0] != "rport"))
VIAS = st.builds(
    Via,
    transport=st.sampled_from(["UDP", "TCP", "TLS", "UNKNOWN"]),
    host=HOSTS,
    port=st.none() | st.integers(1, 65535),
    params=VIA_PARAMS,
)
NAME_ADDRS = st.builds(NameAddr, display=st.none() | PRINTABLE.filter(bool), uri=SIP_URIS, params=PARAMS)


@given(VIAS)
def test_a_written_via_reads_the_same(via):
    assert parse_via(str(via)) == via


@given(NAME_ADDRS)
def test_a_written_name_addr_reads_the_same(address):
    assert parse_name_addr(str(address)) == address


@given(st.lists(NAME_ADDRS.map(str), max_size=4))
def test_a_joined_list_splits_into_its_elements(elements):
    assert split_list(" ,\t".join(elements)) == tuple(elements)


@given(PRINTABLE)
def test_quoting_is_undone_by_unquoting(text):
    assert unquote(quote(text)) == text


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for parser in (parse_via, parse_name_addr, parse_cseq, split_list):
        for candidate in (text, f"SIP/2.0/UDP h;{text}", f"<sip:a@b>{text}", f'"{text}" <sip:a@b>;x="{text}"'):
            outcome = attempt(parser, candidate)
            assert not isinstance(outcome, RemoteProtocolError) or outcome.status == 400


def test_via_with_all_the_blanks_the_grammar_allows():
    via = parse_via("SIP  / 2.0  / tcp     [2001:db8::9]  : 5061  ;  branch  =   z9hG4bK9 ; RPort;received=192.0.2.1 ")
    assert (via.transport, via.host, via.port) == ("TCP", "[2001:db8::9]", 5061)
    assert (via.branch, via.received, via.rport, via.wants_rport) == ("z9hG4bK9", "192.0.2.1", None, True)
    filled = via.with_param("rport", "5070")
    assert (filled.rport, filled.wants_rport) == (5070, True)
    assert parse_via(str(filled)) == filled


@pytest.mark.parametrize(
    "text",
    [
        "", "SIP/2.0/UDP", "SIP/3.0/UDP h", "SIP/2.0/UDP h:99999", "SIP/2.0/UDP h;;", "SIP/2.0/UDP h;rport=x",
        "SIP/2.0/UDP h;rport=0", "SIP/2.0/UDP h;branch=a;branch=b", "SIP/2.0/UDP [::x]", "SIP/2.0/UDP 192.0.2.15;;,;,,",
        "SIP/2.0/UDP h;a=\u00b2 b",
    ],
)  # fmt: skip
def test_malformed_vias_are_refused(text):
    with pytest.raises(RemoteProtocolError):
        parse_via(text)


@pytest.mark.parametrize(
    ("text", "display", "user", "tag"),
    [
        ('"Al,ice \\"<x>\\\\" <sip:alice@a.com>;tag=1', 'Al,ice "<x>\\', "alice", "1"),
        ("Bob  the   Builder<sip:bob@a.com> ; tag = 2", "Bob the Builder", "bob", "2"),
        ("sip:carol@a.com;tag=3", None, "carol", "3"),
        ("<sip:dave@a.com;tag=uri>", None, "dave", None),
        ("Bell, Alexander <sip:bell@a.com>;tag=43", "Bell, Alexander", "bell", "43"),
        ('"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:e@a.com>', "BEL: NUL: DEL:", "e", None),
        ('"" <sip:f@a.com>', None, "f", None),
        ("值班室 <sip:g@a.com>", "值班室", "g", None),
    ],
)
def test_addresses_of_many_spellings(text, display, user, tag):
    address = parse_name_addr(text)
    assert isinstance(address.uri, SipUri)
    assert (address.display, address.uri.user, address.tag) == (display, user, tag)


@pytest.mark.parametrize(
    "text",
    [
        "", "Bob", '"Bob <sip:b@h>', "<sip:b@h", "sip:b@h>", "< sip:b@h >", "<sip:b@h>;;tag=1", "<sip:b@h>x", "<>",
        "sip:user@example.com?Route=%3Csip:sip.example.com%3E", "<sip:b@h>;tag=1;tag=2", '<sip:b@h>;x="',
    ],
)  # fmt: skip
def test_malformed_addresses_are_refused(text):
    with pytest.raises(RemoteProtocolError):
        parse_name_addr(text)


def test_cseq_and_its_limits():
    assert parse_cseq("0009  INVITE") == CSeq(number=9, method="INVITE")
    assert parse_cseq("2147483647 BYE").number == 2**31 - 1
    for text in ("2147483648 BYE", "-1 BYE", "BYE", "1", "36893488147419103232 REGISTER", "\u0661 BYE", "1 B YE"):
        with pytest.raises(RemoteProtocolError):
            parse_cseq(text)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("60", 60), ("1" * 99, 3600), ("-1", 3600), ("soon", 3600)])
def test_malformed_expiry_counts_as_an_hour(text, seconds):
    assert parse_expires(text) == seconds
    assert parse_name_addr(f"<sip:a@b>;expires={text}").expires == seconds


def test_lists_leave_out_empty_elements_and_respect_quotes():
    assert split_list("") == ()
    assert split_list(" INVITE, ACK ,, BYE,") == ("INVITE", "ACK", "BYE")
    assert split_list('"a,b" <sip:c,d@h>, <sip:e@h>') == ('"a,b" <sip:c,d@h>', "<sip:e@h>")
    with pytest.raises(RemoteProtocolError):
        split_list('"a, b')


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        (parse_name_addr, '"' + "\\" * 60_000),
        (parse_name_addr, "<sip:" + "a" * 60_000),
        (parse_name_addr, " " * 60_000 + "x"),
        (parse_name_addr, "<sip:a@b>" + " " * 60_000 + "x"),
        (parse_name_addr, "<sip:" + "%41" * 20_000 + ">"),
        (parse_via, "SIP/2.0/UDP " + " " * 60_000),
        (parse_via, "SIP/2.0/UDP h" + ";a=" * 20_000),
        (parse_via, "SIP/2.0/UDP h" + "".join(f";p{n}" for n in range(10_000)) + "="),
        (split_list, '"' * 60_001),
        (split_list, "<" * 60_000 + ","),
    ],
)
def test_hostile_length_costs_linear_time(parser, text):
    start = time.process_time()
    attempt(parser, text)
    assert time.process_time() - start < 0.5
