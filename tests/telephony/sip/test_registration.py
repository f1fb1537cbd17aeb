"""Our registration against the registrar, and against registrars that refuse, delay and forget."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip.authentication import Account
from telephony.sip.digest import Nonces, challenge, ha1, parse_authorization
from telephony.sip.flow import Flow
from telephony.sip.message import Request, Response, make_response, parse
from telephony.sip.registrar import Registrar
from telephony.sip.registration import (
    LONGEST_RETRY_S,
    RefreshFailed,
    Registration,
    RegistrationChanged,
    RegistrationEvent,
    RegistrationState,
)

FLOW = Flow(transport="UDP", remote=("192.0.2.1", 5060), local=("192.0.2.9", 5060))
EPOCH = 1_800_000_000.0


def registration(**options: object) -> Registration:
    numbers = count(1)
    values: dict[str, object] = {
        "aor": "sip:83828812@pbx.example",
        "registrar": "sip:pbx.example",
        "username": "83828812",
        "password": "secret",
        "contact": "<sip:83828812@192.0.2.1:5060>",
        "token": lambda: f"t{next(numbers)}",
        "chance": lambda: 0.5,
        **options,
    }
    return Registration(**values)  # type: ignore[arg-type]


def pbx(password: str = "secret", **options: int) -> Registrar:
    account = Account(user="83828812", ha1={"MD5": ha1("83828812", "pbx", password)})
    return Registrar({"83828812": account}, "pbx", Nonces(b"key"), algorithms=("MD5",), **options)


def only(requests: list[Request]) -> Request:
    (request,) = requests
    headers = request.headers.prepended("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
    arrived = parse(request.replace(headers=headers).serialize())
    assert isinstance(arrived, Request)
    return arrived


def converse(line: Registration, answer: Callable[[Request], Response], now: float) -> list[Request]:
    """Answer every request until there is none."""
    asked = []
    while requests := line.requests_to_send():
        request = only(requests)
        asked.append(request)
        line.receive_response(answer(request), now)
    return asked


def events(line: Registration) -> list[RegistrationEvent]:
    found: list[RegistrationEvent] = []
    while (event := line.next_event()) is not None:
        found.append(event)
    return found


def states(line: Registration) -> list[RegistrationState]:
    return [event.state for event in events(line) if isinstance(event, RegistrationChanged)]


def refuse(status: int, *extra: tuple[str, str]) -> Callable[[Request], Response]:
    return lambda request: make_response(request, status, to_tag="p", extra=extra)


def test_it_registers_renews_with_the_same_nonce_and_leaves() -> None:
    line, office = registration(), pbx()

    def answer(request: Request) -> Response:
        return office.receive(request, FLOW, EPOCH + now).response

    now = 10.0
    line.start(now)
    assert [request.expires for request in converse(line, answer, now)] == [600, 600]
    assert states(line) == [RegistrationState.REGISTERING, RegistrationState.REGISTERED]
    assert (line.since, line.valid_until) == (10.0, 610.0)
    assert line.get_timer() == pytest.approx(10 + 600 * 0.75)
    now = line.get_timer() or 0.0
    line.handle_timer(now)
    requests = converse(line, answer, now)
    assert requests[0].call_id == requests[-1].call_id
    assert requests[-1].cseq.number == 2 + len(requests)
    assert line.valid_until == now + 600
    assert states(line) == []
    assert len(office.bindings("83828812", EPOCH + now)) == 1
    line.stop(now)
    converse(line, answer, now)
    assert states(line) == [RegistrationState.UNREGISTERED]
    assert office.bindings("83828812", EPOCH + now) == ()
    assert line.get_timer() is None


def test_the_nonce_is_used_again_with_a_higher_count() -> None:
    line = registration()
    line.start(0.0)
    first = only(line.requests_to_send())
    line.receive_response(refuse(401, ("WWW-Authenticate", challenge("pbx", "n1", "SHA-256")))(first), 0.0)
    counts = []
    for now in (0.0, 500.0, 1000.0):
        line.handle_timer(now)
        request = only(line.requests_to_send())
        counts.append(parse_authorization(request.headers.get("Authorization") or "").nonce_count)
        line.receive_response(refuse(200, ("Expires", "600"))(request), now)
    assert counts == ["00000001", "00000002", "00000003"]


def test_a_proxy_that_asks_is_answered_in_its_header() -> None:
    line = registration()
    line.start(0.0)
    first = only(line.requests_to_send())
    line.receive_response(refuse(407, ("Proxy-Authenticate", challenge("p", "n1")))(first), 0.0)
    assert only(line.requests_to_send()).headers.get("Proxy-Authorization")


def test_the_topmost_challenge_that_we_know_is_answered() -> None:
    line = registration()
    line.start(0.0)
    unknown = ("WWW-Authenticate", challenge("pbx", "n1", "SHA-384"))
    known = ("WWW-Authenticate", challenge("pbx", "n2", "MD5"))
    line.receive_response(
        refuse(401, ("WWW-Authenticate", "Basic realm=x"), unknown, known)(only(line.requests_to_send())), 0
    )
    assert parse_authorization(only(line.requests_to_send()).headers.get("Authorization") or "").nonce == "n2"


def test_a_wrong_password_fails_at_once_and_is_tried_ever_more_rarely() -> None:
    line, office = registration(password="wrong"), pbx()
    now, waits = 0.0, []
    line.start(now)
    for _ in range(10):
        requests = converse(line, lambda request: office.receive(request, FLOW, EPOCH).response, now)
        assert len(requests) == 2
        due = line.get_timer()
        assert due is not None
        waits.append(due - now)
        now = due
        line.handle_timer(now)
    assert states(line) == [RegistrationState.REGISTERING, RegistrationState.FAILED]
    assert (line.reason, line.since) == ("credentials refused", 0.0)
    assert waits == sorted(waits)
    assert waits[0] == 3.0
    assert waits[-1] == LONGEST_RETRY_S * 0.75


def test_a_longer_least_expiry_is_accepted() -> None:
    line, office = registration(expires=60), pbx(min_expires=300)
    line.start(0.0)
    requests = converse(line, lambda request: office.receive(request, FLOW, EPOCH).response, 0.0)
    assert [request.expires for request in requests] == [60, 60, 300, 300][: len(requests)]
    assert line.state is RegistrationState.REGISTERED
    assert line.valid_until == 300.0


@pytest.mark.parametrize("extra", [(), (("Min-Expires", "10"),), (("Min-Expires", "never"),)])
def test_a_senseless_423_is_a_failure(extra: tuple[tuple[str, str], ...]) -> None:
    line = registration()
    line.start(0.0)
    assert len(converse(line, refuse(423, *extra), 0.0)) == 1
    assert line.state is RegistrationState.FAILED


def test_registrars_that_never_content_themselves_are_given_up() -> None:
    line = registration()
    line.start(0.0)
    nonces = count(1)

    def never_satisfied(request: Request) -> Response:
        stale = challenge("x", f"n{next(nonces)}", stale=True)
        return refuse(401, ("WWW-Authenticate", stale))(request)

    requests = converse(line, never_satisfied, 0.0)
    assert len(requests) == 4
    assert line.state is RegistrationState.FAILED


@pytest.mark.parametrize(
    ("contact", "granted"),
    [
        ("<sip:83828812@192.0.2.1:5060>;expires=120", 120),
        ("<sip:other@x>;expires=9, <sip:83828812@192.0.2.1:5060>;expires=70, <sip:third@x>;expires=3600", 70),
        ("<sip:83828812@203.0.113.7:40000>;expires=50", 50),  # rewritten by a NAT
        ("<sip:other@x>;expires=9", 30),
        ("<sip:other@x>;expires=3600", 90),
        ("<sip:other@x>", 90),
    ],
)
def test_what_the_registrar_grants_counts(contact: str, granted: int) -> None:
    line = registration()
    line.start(0.0)
    converse(
        line, refuse(200, ("Contact", contact), ("Expires", "90"), ("Service-Route", "<sip:edge.example;lr>")), 0.0
    )
    assert line.valid_until == granted
    assert line.service_route == ("<sip:edge.example;lr>",)


def test_a_failed_renewal_is_told_but_the_line_is_up_until_the_binding_ends() -> None:
    line = registration()
    line.start(0.0)
    converse(line, refuse(200, ("Expires", "600")), 0.0)
    events(line)
    line.handle_timer(450.0)
    assert line.requests_to_send()
    line.transaction_failed("timeout", 482.0)
    assert events(line) == [RefreshFailed(reason="timeout", valid_until=600.0)]
    assert line.state is RegistrationState.REGISTERED
    now = 482.0
    while now < 600.0:
        now = line.get_timer() or 0.0
        line.handle_timer(now)
        if line.requests_to_send():
            line.transaction_failed("timeout", now)
    assert (line.state, line.since, line.reason) == (RegistrationState.FAILED, 600.0, "timeout")
    line.handle_timer(line.get_timer() or 0.0)
    converse(line, refuse(200, ("Expires", "600")), 700.0)
    assert states(line) == [RegistrationState.FAILED, RegistrationState.REGISTERED]
    assert line.reason == ""


def test_retry_after_is_heeded_within_reason() -> None:
    for asked, waits in (("120", 120.0), ("18000;duration=3600", LONGEST_RETRY_S), ("soon", 3.0)):
        line = registration()
        line.start(0.0)
        converse(line, refuse(503, ("Retry-After", asked)), 0.0)
        assert line.get_timer() == waits
        assert line.reason == "503 Service Unavailable"


def test_late_and_provisional_answers_change_nothing() -> None:
    line = registration()
    line.start(0.0)
    first = only(line.requests_to_send())
    line.receive_response(refuse(100)(first), 0.0)
    line.transaction_failed("timeout", 32.0)
    line.receive_response(refuse(200, ("Expires", "600"))(first), 33.0)
    assert line.state is RegistrationState.FAILED
    line.transaction_failed("timeout", 34.0)
    assert states(line) == [RegistrationState.REGISTERING, RegistrationState.FAILED]


def test_a_line_that_never_registered_has_nothing_to_remove() -> None:
    line = registration()
    line.stop(0.0)
    assert line.requests_to_send() == []
    assert events(line) == []


@given(chance=st.floats(0, 1), granted=st.integers(1, 7200))
def test_renewal_comes_between_70_and_80_percent(chance: float, granted: int) -> None:
    line = registration(chance=lambda: chance)
    line.start(0.0)
    converse(line, refuse(200, ("Expires", str(granted))), 0.0)
    due = line.get_timer()
    assert due is not None
    assert 0.699 * granted <= due <= 0.801 * granted


@given(
    outcomes=st.lists(
        st.one_of(
            st.sampled_from(["timeout", "transport"]),
            st.sampled_from([200, 302, 401, 403, 404, 407, 423, 500, 503, 603]),
        ),
        max_size=30,
    )
)
def test_whatever_the_registrar_does_another_attempt_is_always_due(outcomes: list[str | int]) -> None:
    line, now = registration(), 0.0
    line.start(now)
    nonces = count(1)
    for outcome in outcomes:
        requests = line.requests_to_send()
        if not requests:
            due = line.get_timer()
            assert due is not None
            assert due - now <= 0.8 * 900
            now = max(now, due)
            line.handle_timer(now)
            continue
        if isinstance(outcome, str):
            line.transaction_failed(outcome, now)
            continue
        asks = [
            ("WWW-Authenticate", challenge("x", f"n{next(nonces)}")),
            ("Proxy-Authenticate", challenge("x", f"n{next(nonces)}")),
            ("Min-Expires", "900"),
        ]
        line.receive_response(make_response(only(requests), outcome, to_tag="p", extra=asks), now)
    assert line.requests_to_send() or line.get_timer() is not None
