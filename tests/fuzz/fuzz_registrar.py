"""The registrar behind its authentication: several REGISTERs of a known phone leave bindings that hold together."""

from __future__ import annotations

from tests.fuzz.harness import instrumented, run, split
from tests.fuzz.seeds import REGISTER, TORTURE

with instrumented():
    from telephony.sip.authentication import Account
    from telephony.sip.bindings import Binding
    from telephony.sip.digest import Nonces, authorize, ha1, parse_challenge
    from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
    from telephony.sip.flow import Flow
    from telephony.sip.message import Request, parse
    from telephony.sip.registrar import Registrar

_FLOW = Flow(transport="UDP", remote=("192.0.2.20", 5060), local=("192.0.2.1", 5060))
_USERS = ("1001", "user", "watson")
_ACCOUNTS = {user: Account(user=user, ha1={"MD5": ha1(user, "realm", "password")}, max_contacts=3) for user in _USERS}
_SEPARATOR = b"\n==\n"
SEEDS = (
    _SEPARATOR.join(REGISTER.replace(b"CSeq: 1", b"CSeq: %d" % n).replace(b":5060>", b":%d>" % n) for n in range(1, 6)),
    _SEPARATOR.join(
        [REGISTER, REGISTER.replace(b"Contact: <sip:1001@192.0.2.20:5060>", b"Contact: *").replace(b"300", b"0")]
    ),
    _SEPARATOR.join(message for message in TORTURE if message.startswith(b"REGISTER")),
)


def check(data: bytes) -> None:
    office = Registrar(_ACCOUNTS, "realm", Nonces(b"key"), algorithms=("MD5",))
    now = 1_000_000.0
    for datagram in split(data):
        now += 7.0
        try:
            request = parse(datagram)
        except RemoteProtocolError:
            continue
        if isinstance(request, Request) and request.method == "REGISTER":
            _register(office, request, now)
            _holds(office, now)
    office.expire(now + 4_000)
    assert office.export() == []


def _register(office: Registrar, request: Request, now: float) -> None:
    answer = office.receive(request, _FLOW, now).response
    assert parse(answer.serialize()).status == answer.status  # type: ignore[union-attr]
    asked = answer.headers.get("WWW-Authenticate")
    if answer.status != 401 or asked is None:
        return
    user = getattr(request.to.uri, "user", None) or "1001"
    proof = authorize(parse_challenge(asked), "REGISTER", request.uri, user, "password", "cnonce", 1)
    try:
        proven = request.replace(headers=request.headers.without("Authorization").appended("Authorization", proof))
    except LocalProtocolError:
        return
    answer = office.receive(proven, _FLOW, now).response
    parse(answer.serialize())


def _holds(office: Registrar, now: float) -> None:
    exported = office.export()
    for user in _USERS:
        bindings = office.bindings(user, now)
        assert len(bindings) <= 3
        assert all(now < binding.expires_at <= now + 3_600 for binding in bindings)
        assert all(binding.uri for binding in bindings)
    assert [Binding.of(values).export() for values in exported] == exported


if __name__ == "__main__":
    run(check, SEEDS)
