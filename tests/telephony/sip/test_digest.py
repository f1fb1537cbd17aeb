"""Digest authentication against the examples of the RFCs, and against replay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip import digest
from telephony.sip.digest import Authorization, Challenge, Nonces
from telephony.sip.errors import RemoteProtocolError
from tests.telephony.sip.attempts import attempt

RFC_2617 = (
    'Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
    'uri="/dir/index.html", qop=auth, nc=00000001, cnonce="0a4f113b", '
    'response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
)
RFC_7616 = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="{response}", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
MD5_RESPONSE = "8ca523f5e9506fed4657c9700eebdbec"
SHA256_RESPONSE = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20)


def test_the_example_of_rfc_2617():
    auth = digest.parse_authorization(RFC_2617)
    ha1 = digest.ha1("Mufasa", "testrealm@host.com", "Circle Of Life", "MD5")
    assert ha1 == "939e7578ed9e3c518a452acee763bce9"
    assert digest.verify(auth, "GET", ha1)
    assert not digest.verify(auth, "POST", ha1)


@pytest.mark.parametrize(("algorithm", "response"), [("MD5", MD5_RESPONSE), ("SHA-256", SHA256_RESPONSE)])
def test_the_examples_of_rfc_7616(algorithm, response):
    auth = digest.parse_authorization(RFC_7616.format(algorithm=algorithm, response=response))
    ha1 = digest.ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm)
    assert digest.verify(auth, "GET", ha1)
    challenge = Challenge(realm=auth.realm, nonce=auth.nonce, algorithm=algorithm, opaque="x")
    sent = digest.authorize(challenge, "GET", auth.uri, "Mufasa", "Circle of Life", auth.cnonce, 1)
    assert digest.parse_authorization(sent) == auth


def test_a_challenge_without_qop_is_answered_as_rfc_2069_says():
    challenge = digest.parse_challenge('Digest realm="r", nonce="n"')
    assert (challenge.algorithm, challenge.qop, challenge.stale) == ("MD5", (), False)
    auth = digest.parse_authorization(digest.authorize(challenge, "REGISTER", "sip:r", "u", "p", "c", 1))
    assert (auth.qop, auth.nonce_count, auth.nc) == (None, None, 1)
    assert digest.verify(auth, "REGISTER", digest.ha1("u", "r", "p", "MD5"))


@given(TEXT, TEXT, TEXT, TEXT, st.sampled_from(["MD5", "SHA-256"]), st.integers(1, 2**32 - 1), st.booleans())
def test_both_sides_understand_each_other(realm, username, password, cnonce, algorithm, nc, stale):
    challenge = digest.parse_challenge(digest.challenge(realm, "no/nce==", algorithm, stale))
    expected = Challenge(realm=realm, nonce="no/nce==", algorithm=algorithm, qop=("auth",), stale=stale)
    assert challenge == expected
    value = digest.authorize(challenge, "INVITE", "sip:a@b", username, password, cnonce, nc)
    auth = digest.parse_authorization(value)
    secret = digest.ha1(username, realm, password, algorithm)
    assert (auth.username, auth.nc) == (username, nc)
    assert digest.verify(auth, "INVITE", secret)
    assert not digest.verify(auth, "INVITE", digest.ha1(username, realm, password + "x", algorithm))
    assert not digest.verify(replace(auth, uri="sip:a@c"), "INVITE", secret)
    assert not digest.verify(replace(auth, response=auth.response[::-1] + "0"), "INVITE", secret)


@given(st.text())
def test_any_header_value_is_read_or_refused(text):
    for value in (text, f"Digest {text}", f'Digest realm="{text}", nonce={text}'):
        for parser in (digest.parse_challenge, digest.parse_authorization):
            outcome = attempt(parser, value)
            if isinstance(outcome, RemoteProtocolError):
                assert outcome.status in (400, 401)
            else:
                assert isinstance(outcome, (Challenge, Authorization))


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("Basic dXNlcg==", 401),
        ("NoOneKnowsThisScheme opaque-data=here", 401),
        ("Digest", 400),
        ('Digest username="u", realm="r", nonce="n", uri="x"', 400),
        (RFC_2617.replace("nc=00000001", "nc=1"), 400),
        (RFC_2617.replace("nc=00000001, ", ""), 400),
        (RFC_2617.replace("qop=auth", "qop=auth-int"), 400),
        (RFC_2617 + ', realm="again"', 400),
        (RFC_2617 + ', x="', 400),
    ],
)
def test_malformed_credentials_are_refused(value, status):
    with pytest.raises(RemoteProtocolError) as caught:
        digest.parse_authorization(value)
    assert caught.value.status == status


def test_an_unknown_algorithm_is_neither_answered_nor_accepted():
    challenge = digest.parse_challenge('Digest realm="r", nonce="n", algorithm=SHA-384, qop="auth"')
    assert not challenge.supported
    with pytest.raises(RemoteProtocolError):
        digest.authorize(challenge, "REGISTER", "sip:r", "u", "p", "c", 1)
    auth = replace(digest.parse_authorization(RFC_2617), algorithm="SHA-384")
    assert not digest.verify(auth, "GET", "0")


def test_a_non_ascii_response_is_a_wrong_response():
    auth = replace(digest.parse_authorization(RFC_2617), response="值")
    assert not digest.verify(auth, "GET", "0")


def test_a_nonce_counts_once_for_each_count_and_for_its_lifetime():
    nonces = Nonces(b"secret", lifetime_s=300)
    nonce = nonces.issue(1000.0)
    assert nonces.check(nonce, 1000.5, 1) == "ok"
    assert nonces.check(nonce, 1000.6, 1) == "stale"
    assert nonces.check(nonce, 1001.0, 3) == "ok"
    assert nonces.check(nonce, 1001.0, 2) == "ok", "requests may overtake each other"
    assert nonces.check(nonce, 1001.0, 2) == "stale"
    assert nonces.check(nonce, 1001.0, 0) == "stale"
    assert nonces.check(nonce, 1301.0, 4) == "stale"
    assert nonces.check(nonce, 1001.0, 100) == "ok"
    assert nonces.check(nonce, 1001.0, 36) == "stale", "too far behind to know"


def test_only_our_own_nonces_are_good():
    nonces = Nonces(b"secret")
    nonce = nonces.issue(1000.0)
    assert nonces.issue(1000.0) != nonce
    assert Nonces(b"other").check(nonce, 1000.0, 1) == "bad"
    assert nonces.check(nonces.issue(5000.0), 1000.0, 1) == "stale", "a nonce from the future"
    for place in range(len(nonce)):
        forged = nonce[:place] + ("A" if nonce[place] != "A" else "B") + nonce[place + 1 :]
        assert nonces.check(forged, 1000.0, 1) == "bad"


@given(st.text(max_size=80))
def test_no_text_is_taken_for_a_nonce(text):
    assert Nonces(b"secret").check(text, 0.0, 1) == "bad"


def test_memory_is_bounded_and_forgetting_never_allows_a_replay():
    nonces = Nonces(b"secret")
    used = [nonces.issue(1000.0 + number / 1000) for number in range(2 * digest.REMEMBERED_NONCES)]
    assert all(nonces.check(nonce, 1020.0, 1) == "ok" for nonce in used)
    assert len(nonces._used) <= digest.REMEMBERED_NONCES
    assert all(nonces.check(nonce, 1020.0, 1) == "stale" for nonce in used)
    assert nonces.check(nonces.issue(1020.0), 1020.0, 1) == "ok"


@given(st.lists(st.integers(0, 200), max_size=60))
def test_no_count_is_ever_good_twice(counts):
    nonces = Nonces(b"secret")
    nonce = nonces.issue(0.0)
    good = [count for count in counts if nonces.check(nonce, 1.0, count) == "ok"]
    assert len(good) == len(set(good))
