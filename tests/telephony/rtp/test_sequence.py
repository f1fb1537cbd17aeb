"""The order of packets against the words of RFC 3550 A.1, and that one packet throws no stream off."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from telephony.rtp.sequence import Order, SequenceWindow
from telephony.rtp.statistics import StreamCounter

FAR = st.integers(3000, 0x10000 - 128)
"""How far ahead a number lies that is out of all relation."""


def orders(numbers: Iterable[int]) -> list[Order]:
    window = SequenceWindow()
    return [window.receive(7, number & 0xFFFF) for number in numbers]


@given(st.integers(0, 0xFFFF), st.lists(FAR, min_size=1, max_size=20))
def test_single_packets_out_of_all_relation_throw_no_stream_off(first: int, jumps: list[int]) -> None:
    """Between any two of the stream's own packets one comes from anywhere: the stream goes on."""
    window, counter, sequence = SequenceWindow(), StreamCounter(), first
    assert window.receive(7, sequence) is Order.FIRST
    counter.count(Order.FIRST, window.step)
    for jump in jumps:
        counter.count(stray := window.receive(7, (sequence + jump) & 0xFFFF), window.step)
        assert stray is Order.STRAY
        sequence = (sequence + 1) & 0xFFFF
        counter.count(order := window.receive(7, sequence), window.step)
        assert (order, window.step) == (Order.NEXT, 1)
    assert counter.lost == 0
    assert counter.expected == len(jumps) + 1
    assert counter.received == 2 * len(jumps) + 1


@given(st.integers(0, 0xFFFF), FAR, st.integers(2, 300))
def test_two_in_sequence_are_a_restart_and_nothing_of_it_counts_as_lost(first: int, jump: int, length: int) -> None:
    window, counter = SequenceWindow(), StreamCounter()
    numbers = [first, *(first + jump + number for number in range(length))]
    told = []
    for number in numbers:
        told.append(window.receive(7, number & 0xFFFF))
        counter.count(told[-1], window.step)
    assert told == [Order.FIRST, Order.STRAY, Order.RESTART, *[Order.NEXT] * (length - 2)]
    assert (counter.lost, counter.expected) == (0, length + 1)
    assert window.receive(7, (first + jump) & 0xFFFF) in (Order.DUPLICATE, Order.STRAY)


@given(st.lists(st.integers(0, 0xFFFF), max_size=200))
def test_any_numbers_keep_the_figures_right(numbers: list[int]) -> None:
    """As in RFC 3550 A.1, a restart needs two running; lost is never less than nothing is possible."""
    window, counter, before = SequenceWindow(), StreamCounter(), None
    for number in numbers:
        order = window.receive(7, number)
        counter.count(order, window.step)
        assert order is not Order.RESTART or before == (Order.STRAY, (number - 1) & 0xFFFF)
        before = (order, number)
    assert 0 <= counter.lost <= counter.expected
    assert counter.received == len(numbers)


def test_strays_that_do_not_run_on_are_no_restart() -> None:
    assert orders([10, 40_000, 30_000, 40_001, 11]) == [Order.FIRST, *[Order.STRAY] * 3, Order.NEXT]
    assert orders([10, 40_000, 11, 40_001]) == [Order.FIRST, Order.STRAY, Order.NEXT, Order.STRAY]
    assert orders([10, 40_000, 40_001, 12]) == [Order.FIRST, Order.STRAY, Order.RESTART, Order.STRAY]
