"""Which servers a domain names and in what order: RFC 3263 section 4, RFC 2782."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip.flow import Transport
from telephony.sip.locating import Naptr, Srv, in_order, is_absent, services, srv_names

ALL: tuple[Transport, ...] = ("UDP", "TCP", "TLS")
# RFC 3263 section 4.1, the example; with a service that we do not have in front.
EXAMPLE = [
    Naptr(order=10, preference=50, flags="u", service="E2U+sip", replacement="_sip._udp.elsewhere.example"),
    Naptr(order=90, preference=50, flags="s", service="SIP+D2T", replacement="_sip._tcp.example.com"),
    Naptr(order=100, preference=50, flags="s", service="SIP+D2U", replacement="_sip._udp.example.com"),
    Naptr(order=50, preference=50, flags="s", service="SIPS+D2T", replacement="_sips._tcp.example.com"),
]


def place(record: Srv) -> tuple[int, int]:
    return record.priority, record.weight


def srv(priority: int, weight: int, target: str) -> Srv:
    return Srv(priority=priority, weight=weight, port=5060, target=target)


def test_naptr_says_which_transport_and_where_to_ask() -> None:
    found = services(EXAMPLE, secure=False, available=ALL)
    assert found == [
        ("TLS", "_sips._tcp.example.com"),
        ("TCP", "_sip._tcp.example.com"),
        ("UDP", "_sip._udp.example.com"),
    ]
    assert services(EXAMPLE, secure=False, available=("UDP",)) == [("UDP", "_sip._udp.example.com")]
    assert services(EXAMPLE, secure=True, available=ALL) == [("TLS", "_sips._tcp.example.com")]


@pytest.mark.parametrize(
    ("secure", "available", "transport", "names"),
    [
        (False, ALL, None, ["_sip._udp.d", "_sip._tcp.d", "_sips._tcp.d"]),
        (False, ("UDP", "TCP"), None, ["_sip._udp.d", "_sip._tcp.d"]),
        (False, ALL, "TCP", ["_sip._tcp.d"]),
        (True, ALL, None, ["_sips._tcp.d"]),
        (True, ("UDP",), None, []),
    ],
)
def test_without_naptr_each_transport_is_asked_for(
    secure: bool, available: tuple[Transport, ...], transport: Transport | None, names: list[str]
) -> None:
    assert [name for _, name in srv_names("d", secure=secure, available=available, transport=transport)] == names


def test_a_lone_root_means_that_there_is_no_such_service() -> None:
    assert is_absent([srv(0, 0, ".")])
    assert not is_absent([srv(0, 0, "a.example")])
    assert not is_absent([])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 65535)), max_size=12),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=12, max_size=12),
)
def test_every_server_is_tried_once_and_none_before_a_better_one(
    places: list[tuple[int, int]], drawn: list[float]
) -> None:
    records = [srv(priority, weight, str(index)) for index, (priority, weight) in enumerate(places)]
    chances = iter(drawn)
    ordered = in_order(records, place, lambda: next(chances))
    assert sorted(record.target for record in ordered) == sorted(record.target for record in records)
    assert [record.priority for record in ordered] == sorted(record.priority for record in records)


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 10, "b": 30, "c": 60}, {"a": 0, "b": 99}])
def test_weights_are_kept_in_the_long_run(weights: dict[str, int]) -> None:
    chance = random.Random(2782)
    records = [srv(0, weight, target) for target, weight in weights.items()]
    drawn = 20_000
    firsts = Counter(in_order(records, place, chance.random)[0].target for _ in range(drawn))
    # RFC 2782 draws from 0 to the sum, both included: the first in the list gets that one ticket more.
    whole = sum(weights.values()) + 1
    lightest_first = sorted(weights, key=lambda target: weights[target] != 0)
    for target, weight in weights.items():
        share = (weight + (target == lightest_first[0])) / whole
        assert abs(firsts[target] / drawn - share) < 4 * (share * (1 - share) / drawn) ** 0.5 + 1e-9
