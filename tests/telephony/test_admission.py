"""Who is listened to: limits, the shutting out of attackers, and that no phone or trunk is ever shut out."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telephony.actions import ReportAttack
from telephony.admission import Admission, Limits, Rate
from telephony.serve import _shipped
from telephony.sip.flow import Flow
from tests.telephony.world import LOCAL, World

ATTACKER, TRUNK, PHONE = "203.0.113.66", "192.0.2.50", "192.0.2.20"
PLAIN = b"REGISTER sip:line SIP/2.0\r\n\r\n"
SMALL = Limits(failures=3, sources=8, stranger=Rate(per_s=5, burst=10), strangers=Rate(per_s=50, burst=100))

pytestmark = pytest.mark.rule("4-a")


def guarded(limits: Limits | None = None, **options: object) -> Admission:
    admission = Admission(known=(ip_network(TRUNK),), limits=limits, **options)  # type: ignore[arg-type]
    admission.phones_at({PHONE})
    return admission


def shut_out(admission: Admission, host: str, now: float, failures: int) -> float:
    """Fail until the source is shut out; for how long."""
    for _ in range(failures - 1):
        assert admission.failed(host, now) is None
    closing = admission.failed(host, now)
    assert closing is not None
    return closing.seconds


def test_a_source_that_keeps_failing_is_not_answered_for_longer_each_time() -> None:
    admission, now = guarded(), 100.0
    lengths = []
    for _ in range(7):
        seconds = shut_out(admission, ATTACKER, now, 20)
        lengths.append(seconds)
        assert not admission.admit(PLAIN, ATTACKER, now + seconds - 1)
        assert admission.is_shut_out(ATTACKER, now + seconds - 1)
        assert not admission.welcomes(ATTACKER, now + seconds - 1)
        now += seconds + 1
        assert admission.admit(PLAIN, ATTACKER, now)
        assert not admission.is_shut_out(ATTACKER, now)
    assert lengths == [60, 120, 240, 480, 900, 900, 900]
    assert (admission.counters.shut_out, admission.counters.closings) == (7, 7)


def test_failures_far_apart_are_no_attack() -> None:
    admission = guarded()
    assert all(admission.failed(ATTACKER, 10.0 * minute) is None for minute in range(200))


def test_who_proves_who_it_is_begins_anew() -> None:
    admission = guarded()
    for _ in range(19):
        admission.failed(ATTACKER, 1.0)
    admission.succeeded(ATTACKER)
    assert shut_out(admission, ATTACKER, 1.0, 20) == 60


def test_one_alarm_an_hour_for_a_source_and_few_for_all() -> None:
    admission = guarded()
    closings = [closing for step in range(7000) if (closing := admission.failed(ATTACKER, step * 0.5)) is not None]
    assert [closing.alarm for closing in closings] == [True] + [False] * (len(closings) - 1)
    told = 0
    for number in range(1, 200):
        for _ in range(20):
            closing = admission.failed(f"198.51.100.{number}", 3500.0)
            told += closing is not None and closing.alarm
    assert told == 11


def test_a_burst_of_calls_from_the_trunk_passes_and_a_strangers_does_not() -> None:
    admission = guarded()
    times = [100.0 + step / 1200 for step in range(12_000)]  # 200 calls/s of six messages
    assert all(admission.admit(PLAIN, TRUNK, now) for now in times)
    passed = sum(admission.admit(PLAIN, ATTACKER, now) for now in times)
    assert 800 <= passed <= 800 + 400 * 10 + 1
    assert admission.counters.too_fast == 12_000 - passed


def test_strangers_share_a_limit_that_leaves_known_sources_alone() -> None:
    admission = guarded()
    hosts = [f"10.{step >> 16}.{step >> 8 & 255}.{step & 255}" for step in range(20_000)]
    passed = sum(admission.admit(PLAIN, host, 100.0) for host in hosts)
    assert passed == 4_000
    assert admission.admit(PLAIN, PHONE, 100.0)
    assert admission.admit(PLAIN, "127.0.0.1", 100.0)


def test_scanners_get_silence_whatever_the_case_and_known_sources_are_not_asked() -> None:
    admission = guarded(scanners=_shipped("scanners")["agents"])
    scan = b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\nuser-agent : Friendly-Scanner\r\n\r\n"
    assert not admission.admit(scan, ATTACKER, 1.0)
    assert admission.admit(scan, TRUNK, 1.0)
    assert admission.admit(b"OPTIONS sip:sipvicious SIP/2.0\r\nUser-Agent: Yealink SIP-T46\r\n\r\n", ATTACKER, 1.0)
    assert (admission.counters.scanner, admission.counters.closings) == (1, 0)


def test_outside_the_allowed_networks_nobody_is_heard_but_known_sources() -> None:
    admission = guarded(allowed=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))
    heard = ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7", TRUNK, PHONE, "127.0.0.1", "::1"]
    assert all(admission.admit(PLAIN, host, 1.0) and admission.welcomes(host, 1.0) for host in heard)
    strange = [ATTACKER, "127.0.0.66", "2001:db9::1", "::ffff:203.0.113.66", "fe80::1%eth0"]
    assert not any(admission.admit(PLAIN, host, 1.0) or admission.welcomes(host, 1.0) for host in strange)
    assert admission.counters.foreign == len(strange)


def test_ipv6_counts_by_the_64() -> None:
    admission = guarded()
    for number in range(20):
        admission.failed(f"2001:db8::{number:x}", 1.0)
    assert admission.is_shut_out("2001:db8::ffff", 2.0)
    assert not admission.is_shut_out("2001:db8:0:1::1", 2.0)
    assert admission.is_shut_out("::ffff:203.0.113.66", 2.0) is False


def test_a_phone_that_has_gone_is_a_stranger_again() -> None:
    admission = guarded()
    assert all(admission.failed(PHONE, 1.0) is None for _ in range(100))
    admission.phones_at(())
    shut_out(admission, PHONE, 1.0, 20)
    admission.phones_at({PHONE})
    assert admission.admit(PLAIN, PHONE, 2.0)
    assert not admission.is_shut_out(PHONE, 2.0)


def test_everything_is_forgotten() -> None:
    admission = guarded()
    for number in range(200):
        admission.admit(PLAIN, f"10.0.0.{number}", 1.0)
    assert len(admission) == 200
    admission.admit(PLAIN, ATTACKER, 10_000.0)
    assert len(admission) == 1


HOSTS = st.one_of(
    st.integers(0, 40).map(lambda number: f"10.0.0.{number}"),
    st.integers(0, 2**128 - 1).map(lambda number: str(ip_address(number).__class__(number))),
    st.sampled_from([TRUNK, PHONE, "127.0.0.1", "::1", "fe80::1%eth0", "::ffff:10.0.0.1"]),
)
STEPS = st.lists(st.tuples(st.sampled_from(["admit", "failed", "succeeded"]), HOSTS, st.floats(0, 400)), max_size=120)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_memory_is_bounded_and_phones_and_trunks_are_always_heard(steps: list[tuple[str, str, float]]) -> None:
    admission, now = guarded(SMALL), 0.0
    do: dict[str, Callable[[str], object]] = {
        "admit": lambda host: admission.admit(PLAIN, host, now),
        "failed": lambda host: admission.failed(host, now),
        "succeeded": admission.succeeded,
    }
    for what, host, wait in steps:
        now += wait
        done = do[what](host)
        if host in (TRUNK, PHONE, "127.0.0.1", "::1"):
            assert done is (True if what == "admit" else None)
        assert len(admission) <= 2 * SMALL.sources
        for known in (TRUNK, PHONE):
            assert admission.welcomes(known, now)
            assert not admission.is_shut_out(known, now)


# In the switchboard


def test_an_attacker_gets_silence_and_the_desk_one_alarm() -> None:
    world = World()
    phone = world.phone("1001")
    attacker = world.peer(ATTACKER)
    for _ in range(30):
        attacker.ask("REGISTER", "9999")
    answered = len(world.sent_to(attacker, "SIP/2.0 401"))
    assert 19 <= answered <= 20
    attacks = [action for action in world.actions if isinstance(action, ReportAttack)]
    assert [(attack.source, attack.failures) for attack in attacks] == [(ATTACKER, 20)]
    assert phone.ask("OPTIONS", "line")[0].status == 200


def test_garbage_shuts_its_sender_out_too() -> None:
    world = World()
    flow = Flow(transport="UDP", remote=(ATTACKER, 5060), local=LOCAL)
    world.peer(ATTACKER)
    taken = [world.switchboard.receive(b"garbage SIP/2.0\r\n\r\n", flow, world.instant) for _ in range(30)]
    assert taken == [True] * 20 + [False] * 10


def test_a_stranger_does_not_learn_which_extensions_and_lines_there_are() -> None:
    world = World()
    world.phone("1001")
    stranger = world.peer(ATTACKER)
    seen = set()
    for number, name in [("037122595110", "1001"), ("037122595110", "9999"), ("12345", "1001"), ("12345", "9999")]:
        (answer,) = stranger.ask("INVITE", number, {"From": f"<sip:{name}@x>;tag={name}{number}"})
        seen.add((answer.status, answer.reason, tuple(sorted(name for name, _ in answer.headers.items()))))
    assert len(seen) == 1
