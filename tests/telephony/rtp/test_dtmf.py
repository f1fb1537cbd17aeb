"""Telephone events: one press is one digit, whatever the network repeats, loses or invents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.rtp.dtmf import DIGITS, Digit, DigitDetector, EventPacket, parse_events, press
from telephony.rtp.errors import MalformedPacketError


def heard(detector: DigitDetector, packets: list[EventPacket], timestamp: int, now: float = 0.0) -> list[Digit]:
    return [
        digit
        for packet in packets
        for digit in detector.receive(packet.payload, timestamp=timestamp, now=now + packet.offset_ms / 1000)
    ]


@given(st.sampled_from(DIGITS), st.integers(40, 8191))
def test_a_press_is_reported_once_with_its_duration(digit: str, duration_ms: int) -> None:
    packets = list(press(digit, duration_ms=duration_ms))
    assert [packet.marker for packet in packets].count(True) == 1
    assert [parse_events(packet.payload)[0].end for packet in packets][-3:] == [True] * 3
    detector = DigitDetector()
    assert heard(detector, packets, 1000) == [Digit(digit=digit, duration_ms=duration_ms)]
    assert heard(detector, packets, 1000) == []
    assert detector.expire(1e9) == []


@given(st.data())
def test_lost_and_repeated_packets_make_no_second_digit(data: st.DataObject) -> None:
    packets = list(press("7", duration_ms=160))
    kept = data.draw(st.lists(st.sampled_from(packets), min_size=1, max_size=30))
    detector = DigitDetector()
    digits = heard(detector, kept, 5) + detector.expire(1e9)
    assert [digit.digit for digit in digits] == ["7"]


def test_a_press_whose_end_is_lost_ends_with_the_next_one() -> None:
    detector = DigitDetector()
    assert heard(detector, list(press("1", duration_ms=100))[:3], 0) == []
    digits = heard(detector, list(press("2", duration_ms=80)), 4000, now=0.2)
    assert digits == [Digit(digit="1", duration_ms=60), Digit(digit="2", duration_ms=80)]


def test_a_press_whose_end_is_lost_ends_by_the_clock() -> None:
    detector = DigitDetector()
    heard(detector, list(press("#", duration_ms=100))[:2], 0, now=10.0)
    assert detector.expire(10.2) == []
    assert detector.expire(10.5) == [Digit(digit="#", duration_ms=40)]


def test_the_same_digit_twice_is_two_digits() -> None:
    detector = DigitDetector()
    digits = [d for at in (0, 1600) for d in heard(detector, list(press("5", duration_ms=60)), at)]
    assert [digit.digit for digit in digits] == ["5", "5"]


@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(0, 0xFFFFFFFF))))
def test_any_payload_is_read_or_refused(payloads: list[tuple[bytes, int]]) -> None:
    detector = DigitDetector()
    for payload, timestamp in payloads:
        try:
            digits = detector.receive(payload, timestamp=timestamp, now=0.0)
        except MalformedPacketError:
            continue
        assert all(digit.digit in DIGITS for digit in digits)


@pytest.mark.parametrize(("digit", "duration_ms"), [("E", 100), ("", 100), ("12", 100), ("1", 0), ("1", 9000)])
def test_impossible_presses_are_refused(digit: str, duration_ms: int) -> None:
    with pytest.raises(ValueError, match=r"digit|press"):
        list(press(digit, duration_ms=duration_ms))
