"""Digest headers of both sides: read or refused, and no bytes open the door."""

from __future__ import annotations

from tests.fuzz.harness import instrumented, must, run

with instrumented():
    from telephony.sip.authentication import Account, Authenticator, Challenged
    from telephony.sip.digest import Nonces, authorize, challenge, ha1, parse_authorization, parse_challenge, verify
    from telephony.sip.errors import RemoteProtocolError
    from telephony.sip.message import Headers, Request

_NONCES = Nonces(b"a key that nobody knows")
_ACCOUNTS = {"1001": Account(user="1001", ha1={"MD5": ha1("1001", "realm", "password")})}
_SEED = challenge("realm", Nonces(b"another").issue(1000.0), "SHA-256", stale=True)
SEEDS = (
    _SEED.encode(),
    authorize(parse_challenge(_SEED), "REGISTER", "sip:a", "1001", "guessed", "cnonce", 1).encode(),
    b'Digest username="1001", realm="realm", nonce="x", uri="sip:a", response="0", algorithm=MD5',
    b"NoOneKnowsThisScheme opaque-data=here",
)


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace").replace("\r", "").replace("\n", "").replace("\0", "")
    _ask(text)
    try:
        auth = parse_authorization(text)
    except RemoteProtocolError as error:
        must(error.status in (400, 401))
    else:
        assert auth.nc >= 0
        assert not verify(auth, "REGISTER", "0" * 64) or auth.algorithm == ""
        assert _NONCES.check(auth.nonce, 1000.0, auth.nc) == "bad"
    _enter(text)


def _ask(text: str) -> None:
    try:
        asked = parse_challenge(text)
        proof = authorize(asked, "REGISTER", "sip:a", "1001", "password", "cnonce", 1)
    except RemoteProtocolError as error:
        must(error.status in (400, 401))
        return
    again = parse_authorization(proof)
    assert again.nonce == asked.nonce.translate(dict.fromkeys((*range(32), 127)))


def _enter(text: str) -> None:
    items = [("Via", "SIP/2.0/UDP 192.0.2.9"), ("From", "<sip:1001@a>;tag=1"), ("To", "<sip:1001@a>"), ("Call-ID", "c")]
    request = Request(
        method="REGISTER", uri="sip:a", headers=Headers([*items, ("CSeq", "1 REGISTER"), ("Authorization", text)])
    )
    try:
        verdict = Authenticator(_ACCOUNTS, "realm", _NONCES).authenticate(request, 1000.0)
    except RemoteProtocolError as error:
        must(error.status in (400, 401))
    else:
        assert isinstance(verdict, Challenged)


if __name__ == "__main__":
    run(check, SEEDS)
