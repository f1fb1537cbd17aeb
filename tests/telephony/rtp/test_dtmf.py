"""Telephone events: one press is one digit, whatever the network repeats, loses or invents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.rtp.dtmf import DIGITS, Digit, DigitDetector, EventPacket, TelephoneEvent, parse_events, press
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


def report(code: int, duration: int, *, end: bool = False, volume: int = 10) -> bytes:
    return TelephoneEvent(code=code, end=end, volume=volume, duration=duration).serialize()


@pytest.mark.parametrize("start", [1000, 0xFFFFFFFF - 70_000])
def test_a_key_held_longer_than_one_report_can_say_is_one_digit(start: int) -> None:
    """RFC 4733 2.5.1.3: segments of 65535 units, each with the timestamp where the one before ended."""
    detector = DigitDetector()
    digits: list[Digit] = []
    total = 2 * 0xFFFF + 8000
    for elapsed in range(160, total + 160, 160):
        segment, duration = divmod(min(elapsed, total), 0xFFFF)
        end = elapsed >= total
        timestamp = (start + segment * 0xFFFF) & 0xFFFFFFFF
        digits += detector.receive(report(9, duration, end=end), timestamp=timestamp, now=elapsed / 8000)
        late = report(9, 0xFFFF)
        if segment:
            digits += detector.receive(late, timestamp=start & 0xFFFFFFFF, now=elapsed / 8000)
    assert digits == [Digit(digit="9", duration_ms=total // 8)]
    assert detector.expire(1e9) == []


def test_another_key_after_exactly_the_longest_press_is_another_digit() -> None:
    detector = DigitDetector()
    assert detector.receive(report(1, 0xFFFF), timestamp=0, now=8.2) == []
    digits = detector.receive(report(2, 800, end=True), timestamp=0xFFFF, now=8.3)
    assert [digit.digit for digit in digits] == ["1", "2"]


@pytest.mark.parametrize("volume", [0, 10, 36, 63])
def test_the_volume_makes_no_difference(volume: int) -> None:
    """RFC 4733 2.3.3: 0 to -63 dBm0; one that a tone would be too quiet with is a key all the same."""
    payload = report(11, 800, end=True, volume=volume)
    assert parse_events(payload)[0].volume == volume
    assert DigitDetector().receive(payload, timestamp=5, now=0.0) == [Digit(digit="#", duration_ms=100)]


def test_a_hook_flash_and_other_events_are_no_digit() -> None:
    detector = DigitDetector()
    for code in (16, 36, 255):
        assert detector.receive(report(code, 800, end=True), timestamp=code, now=0.0) == []
    assert detector.expire(1e9) == []


def test_a_redundant_payload_tells_the_press_whose_packets_were_all_lost() -> None:
    """RFC 4733 2.5.1.5 and RFC 2198 put several reports into one payload, each where the one before ended."""
    payload = report(4, 800, end=True) + report(5, 640, end=True)
    digits = DigitDetector().receive(payload, timestamp=1000, now=0.0)
    assert [digit.digit for digit in digits] == ["4", "5"]
