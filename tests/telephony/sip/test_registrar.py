"""The registrar against phones that know, guess, repeat and vanish."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip.authentication import Account, Doubt
from telephony.sip.bindings import Binding, ChangeKind
from telephony.sip.digest import Nonces, authorize, ha1, parse_challenge
from telephony.sip.errors import LocalProtocolError
from telephony.sip.flow import Flow
from telephony.sip.message import Headers, Request, parse
from telephony.sip.registrar import RegisterOutcome, Registrar

REALM = "dutyline"
FLOW = Flow(transport="UDP", remote=("192.0.2.20", 40020), local=("192.0.2.1", 5060))
NOW = 1_800_000_000.0


def account(
    user: str, password: str = "secret", algorithms: tuple[str, ...] = ("MD5", "SHA-256"), **more: object
) -> Account:
    return replace(Account(user=user, ha1={name: ha1(user, REALM, password, name) for name in algorithms}), **more)  # type: ignore[arg-type]


def registrar(*accounts: Account, **options: object) -> Registrar:
    known = {one.user: one for one in accounts or (account("8001"), account("8002"))}
    return Registrar(known, REALM, Nonces(b"key"), **options)  # type: ignore[arg-type]


@dataclass
class Phone:
    """A phone that answers the challenge whenever it gets one."""

    registrar: Registrar
    user: str = "8001"
    password: str = "secret"
    flow: Flow = FLOW
    call_id: str = "boot-1"
    cseq: int = 0
    algorithm: str = "MD5"
    aor: str = "8001"
    log: list[RegisterOutcome] = field(default_factory=list)

    def register(self, *contacts: str, expires: int | None = None, now: float = NOW, **extra: str) -> RegisterOutcome:
        outcome = self.send(contacts, expires, now, extra)
        if outcome.response.status != 401:
            return outcome
        values = outcome.response.headers.get_all("WWW-Authenticate")
        challenges = {challenge.algorithm: challenge for challenge in map(parse_challenge, values)}
        proof = authorize(
            challenges[self.algorithm], "REGISTER", "sip:192.0.2.1", self.user, self.password, "cnonce", 1
        )
        return self.send(contacts, expires, now, {**extra, "Authorization": proof})

    def send(
        self, contacts: tuple[str, ...], expires: int | None, now: float, extra: dict[str, str]
    ) -> RegisterOutcome:
        self.cseq += 1
        items = [
            ("Via", f"SIP/2.0/UDP 192.0.2.20;branch=z9hG4bK{self.cseq}"),
            ("From", f"<sip:{self.aor}@192.0.2.1>;tag=p"),
            ("To", f"<sip:{self.aor}@192.0.2.1>"),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} REGISTER"),
            *(("Contact", contact) for contact in contacts),
            *([] if expires is None else [("Expires", str(expires))]),
            *extra.items(),
        ]
        request = Request(method="REGISTER", uri="sip:192.0.2.1", headers=Headers(items))
        arrived = parse(request.serialize())
        assert isinstance(arrived, Request)
        outcome = self.registrar.receive(arrived, self.flow, now)
        parse(outcome.response.serialize())  # whatever we answer is a message
        self.log.append(outcome)
        return outcome


def kinds(outcome: RegisterOutcome) -> list[ChangeKind]:
    return [change.kind for change in outcome.changes]


A, B, C = "<sip:8001@192.0.2.20:40020>", "<sip:8001@192.0.2.21:5060>", "<sip:8001@192.0.2.22:5060>"


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_phone_is_challenged_registers_and_is_reached_by_its_flow(algorithm: str) -> None:
    office = registrar()
    phone = Phone(office, algorithm=algorithm)
    outcome = phone.register("<sip:8001@10.0.0.5:5060>;q=0.5", expires=600)
    assert [one.response.status for one in phone.log] == [401, 200]
    assert kinds(outcome) == [ChangeKind.ADDED]
    (binding,) = office.bindings("8001", NOW)
    assert binding.flow == FLOW
    assert binding.uri == "sip:8001@10.0.0.5:5060"
    assert outcome.response.headers.get("Contact") == "<sip:8001@10.0.0.5:5060>;q=0.5;expires=600"
    assert outcome.response.headers.get("Date") == "Fri, 15 Jan 2027 08:00:00 GMT"
    assert office.user_on(FLOW, NOW) == "8001"
    assert office.bindings("8002", NOW) == ()


def test_a_binding_is_refreshed_runs_out_and_says_so_once() -> None:
    office = registrar()
    phone = Phone(office)
    phone.register(A, expires=600)
    assert kinds(phone.register(A, expires=600, now=NOW + 500)) == [ChangeKind.REFRESHED]
    assert office.next_expiry() == NOW + 1100
    assert office.expire(NOW + 1099) == ()
    assert office.bindings("8001", NOW + 1100) == ()
    (change,) = office.expire(NOW + 1100)
    assert (change.kind, change.binding.user) == (ChangeKind.EXPIRED, "8001")
    assert office.expire(NOW + 1100) == ()
    assert office.next_expiry() is None


def shape(outcome: RegisterOutcome) -> tuple[object, ...]:
    """What a stranger can see of an answer but the nonces and what was echoed."""
    values = [parse_challenge(value) for value in outcome.response.headers.get_all("WWW-Authenticate")]
    names = [name for name, _ in outcome.response.headers.items()]
    return (outcome.response.status, outcome.response.reason, names, [replace(value, nonce="") for value in values])


def test_nobody_learns_which_users_exist() -> None:
    office = registrar(account("8001"), account("8003", algorithms=("SHA-256",)))
    guesses = [
        Phone(office, user="8001", password="wrong"),
        Phone(office, user="9999", aor="9999", password="wrong"),
        Phone(office, user="8003", aor="8003", password="secret", algorithm="MD5"),  # has no MD5 hash
    ]
    seen = [(shape(phone.register(A)), shape(phone.log[0])) for phone in guesses]
    assert seen[0] == seen[1] == seen[2]
    assert [phone.log[1].doubt for phone in guesses] == [Doubt.WRONG_PASSWORD, Doubt.UNKNOWN_USER, Doubt.WRONG_PASSWORD]
    assert office.export() == []


def test_the_hash_that_stands_in_for_an_unknown_user_opens_nothing() -> None:
    office = registrar()
    phone = Phone(office, user="9999", aor="9999")
    nonce = parse_challenge(phone.send((A,), None, NOW, {}).response.headers.get("WWW-Authenticate") or "").nonce
    from hashlib import md5

    ha2 = md5(b"REGISTER:sip:192.0.2.1").hexdigest()
    forged = md5(f"{'0' * 64}:{nonce}:{ha2}".encode()).hexdigest()
    header = f'Digest username="9999", realm="{REALM}", nonce="{nonce}", uri="sip:192.0.2.1", response="{forged}"'
    assert phone.send((A,), None, NOW, {"Authorization": header}).response.status == 401


def test_credentials_count_once_and_for_their_target_only() -> None:
    office = registrar()
    phone = Phone(office)
    challenge = parse_challenge(phone.send((A,), None, NOW, {}).response.headers.get_all("WWW-Authenticate")[1])
    proof = authorize(challenge, "REGISTER", "sip:192.0.2.1", "8001", "secret", "c", 1)
    assert phone.send((A,), None, NOW, {"Authorization": proof}).response.status == 200
    replayed = phone.send((B,), None, NOW, {"Authorization": proof})
    assert (replayed.response.status, replayed.doubt) == (401, Doubt.OLD_NONCE)
    assert all(parse_challenge(value).stale for value in replayed.response.headers.get_all("WWW-Authenticate"))
    elsewhere = authorize(challenge, "REGISTER", "sip:other.example", "8001", "secret", "c", 2)
    assert phone.send((B,), None, NOW, {"Authorization": elsewhere}).doubt is Doubt.OTHER_TARGET
    assert phone.send((B,), None, NOW, {"Authorization": "Digest username"}).response.status == 400
    assert [binding.contact for binding in office.bindings("8001", NOW)] == [A]


def test_a_user_may_not_register_for_another() -> None:
    office = registrar()
    known, unknown = Phone(office, aor="8002"), Phone(office, aor="9999")
    assert known.register(A).response.status == unknown.register(A).response.status == 403
    assert office.export() == []


def test_a_phone_outside_its_networks_is_refused_even_with_the_password() -> None:
    office = registrar(account("8001", networks=(ip_network("192.0.2.0/28"), ip_network("2001:db8::/32"))))
    assert Phone(office).register(A).response.status == 403
    inside = replace(FLOW, remote=("2001:db8::5", 5060))
    assert Phone(office, flow=inside).register(A).response.status == 200
    mapped = replace(FLOW, remote=("::ffff:192.0.2.5", 5060))
    assert Phone(office, call_id="boot-2", flow=mapped).register(B).response.status == 200


def test_too_brief_is_refused_and_too_long_is_cut() -> None:
    office = registrar(min_expires=60, max_expires=3600)
    phone = Phone(office)
    brief = phone.register(A, expires=59)
    assert (brief.response.status, brief.response.headers.get("Min-Expires")) == (423, "60")
    assert office.export() == []
    assert phone.register(f"{A};expires=86400", expires=100).response.headers.get("Contact") == f"{A};expires=3600"
    with pytest.raises(LocalProtocolError):
        registrar(min_expires=10, max_expires=5)


def test_the_contact_s_own_expiry_goes_before_the_header_and_without_any_it_is_an_hour() -> None:
    office = registrar(max_expires=7200)
    outcome = Phone(office).register(f"{A};expires=120", B, expires=300)
    assert set(outcome.response.headers.get_all("Contact")) == {f"{A};expires=120", f"{B};expires=300"}
    assert f"{C};expires=3600" in Phone(office, call_id="boot-2").register(C).response.headers.get_all("Contact")


def test_contacts_are_removed_one_by_one_or_all_at_once() -> None:
    office = registrar()
    phone = Phone(office)
    phone.register(A, B, C, expires=600)
    assert kinds(phone.register(B, expires=0)) == [ChangeKind.REMOVED]
    assert {binding.contact for binding in office.bindings("8001", NOW)} == {A, C}
    assert phone.register("*", expires=600).response.status == 400
    assert phone.register("*").response.status == 400
    outcome = phone.register("*", expires=0)
    assert kinds(outcome) == [ChangeKind.REMOVED, ChangeKind.REMOVED]
    assert outcome.response.headers.get("Contact") is None
    assert office.export() == []


def test_without_contact_it_is_a_question() -> None:
    office = registrar()
    phone = Phone(office)
    phone.register(A, expires=600)
    outcome = phone.register(now=NOW + 100)
    assert outcome.changes == ()
    assert outcome.response.headers.get_all("Contact") == (f"{A};expires=500",)


@pytest.mark.parametrize("contacts", [(A, B), ("*",)])
def test_a_late_request_changes_nothing_at_all(contacts: tuple[str, ...]) -> None:
    office = registrar()
    phone = Phone(office)
    phone.register(B, expires=600)
    phone.cseq = 0
    assert phone.register(*contacts, expires=0).response.status == 500
    assert [binding.contact for binding in office.bindings("8001", NOW)] == [B]
    phone.call_id, phone.cseq = "boot-2", 0
    assert phone.register(*contacts, expires=0).response.status == 200


def test_a_phone_that_comes_back_is_never_locked_out() -> None:
    office = registrar(account("8001", max_contacts=2))
    for number in range(4):
        phone = Phone(office, call_id=f"boot-{number}")
        outcome = phone.register(f"<sip:8001@192.0.2.20:{5000 + number}>", expires=600, now=NOW + number)
    assert kinds(outcome) == [ChangeKind.REPLACED, ChangeKind.ADDED]
    assert [binding.uri for binding in office.bindings("8001", NOW + 4)] == [
        "sip:8001@192.0.2.20:5003",
        "sip:8001@192.0.2.20:5002",
    ]
    assert phone.register(A, B, C, now=NOW + 5).response.status == 403
    assert len(office.export()) == 2


def test_the_same_instance_under_a_new_address_is_the_same_phone() -> None:
    office = registrar()
    instance = ';+sip.instance="<urn:uuid:0c67446e-f1a1-11d9-94d3-000a95a0e128>"'
    Phone(office).register(A + instance, expires=600)
    assert kinds(Phone(office, call_id="boot-2").register(B + instance, expires=600)) == [ChangeKind.REFRESHED]
    (binding,) = office.bindings("8001", NOW)
    assert binding.uri == "sip:8001@192.0.2.21:5060"


def test_unsupported_extensions_and_contacts_are_named() -> None:
    phone = Phone(registrar())
    outcome = phone.register(A, Require="outbound")
    assert (outcome.response.status, outcome.response.headers.get("Unsupported")) == (420, "outbound")
    assert phone.register("<tel:+861012345678>").response.status == 400


def test_a_closed_connection_takes_its_bindings_along() -> None:
    office = registrar()
    tcp = replace(FLOW, transport="TCP")
    Phone(office, flow=tcp).register(A, expires=600)
    Phone(office, call_id="boot-2").register(B, expires=600)
    (change,) = office.flow_lost(tcp)
    assert (change.kind, change.binding.contact) == (ChangeKind.LOST, A)
    assert [binding.contact for binding in office.bindings("8001", NOW)] == [B]


def test_bindings_survive_a_restart_but_not_their_expiry_or_their_account() -> None:
    office = registrar()
    Phone(office).register(A, f"{B};expires=100", expires=600)
    Phone(office, user="8002", aor="8002").register("<sip:8002@192.0.2.30>", expires=600)
    stored = json.loads(json.dumps(office.export()))
    again = registrar(account("8001"))
    again.restore(stored, NOW + 200)
    assert again.bindings("8001", NOW + 200) == office.bindings("8001", NOW + 200)
    assert again.bindings("8002", NOW + 200) == ()
    assert kinds(Phone(again, cseq=2).register(A, expires=600, now=NOW + 210)) == [ChangeKind.REFRESHED]
    for broken in ({}, {**stored[0], "transport": "SCTP"}, {**stored[0], "cseq": "x"}):
        with pytest.raises((KeyError, ValueError)):
            Binding.of(broken)


def test_an_account_that_is_gone_keeps_no_binding() -> None:
    accounts = {"8001": account("8001")}
    office = Registrar(accounts, REALM, Nonces(b"key"))
    Phone(office).register(A, expires=600)
    del accounts["8001"]
    assert [change.kind for change in office.expire(NOW)] == [ChangeKind.EXPIRED]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([A, B, C, "*"]), st.sampled_from([0, 30, 60, 600]), st.integers(0, 400)), max_size=15
    )
)
def test_changes_tell_exactly_what_the_bindings_became(steps: list[tuple[str, int, int]]) -> None:
    office = registrar(account("8001", max_contacts=2))
    phone, now = Phone(office), NOW
    told: dict[str, Binding] = {}
    for contact, expires, wait in steps:
        now += wait
        changes = office.expire(now) + phone.register(contact, expires=expires, now=now).changes
        for change in changes:
            if change.kind in (ChangeKind.ADDED, ChangeKind.REFRESHED):
                told[change.binding.contact] = change.binding
            else:
                del told[change.binding.contact]
        assert sorted(told) == sorted(binding.contact for binding in office.bindings("8001", now))
        assert len(told) <= 2
