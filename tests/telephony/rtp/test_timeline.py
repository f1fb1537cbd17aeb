"""The timeline: right places for an honest stream on a bad network, no harm from a hostile one."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telephony.rtp.coverage import Coverage
from telephony.rtp.sequence import Order, SequenceWindow
from telephony.rtp.statistics import StreamCounter
from telephony.rtp.timeline import LEAD, REORDER, Placement, Timeline, Verdict

FRAME = 160


class Receiver:
    """The three of them as a leg uses them."""

    def __init__(self) -> None:
        self.window, self.timeline, self.counter = SequenceWindow(), Timeline(), StreamCounter()

    def take(self, sequence: int, timestamp: int, arrival: int, ssrc: int = 1, samples: int = FRAME) -> Placement:
        order = self.window.receive(ssrc, sequence & 0xFFFF)
        self.counter.count(order, self.window.step)
        self.counter.time(timestamp & 0xFFFFFFFF, arrival / 8000)
        return self.timeline.place(order=order, timestamp=timestamp & 0xFFFFFFFF, samples=samples, arrival=arrival)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 50000), st.randoms())
def test_an_honest_stream_is_seamless_whatever_its_jitter(
    sequence: int, timestamp: int, begin: int, rng: random.Random
) -> None:
    receiver = Receiver()
    for number in range(300):
        arrival = begin + number * FRAME + (rng.randrange(2000) if number else 0)
        placed = receiver.take(sequence + number, timestamp + number * FRAME, arrival)
        assert placed.position == begin + number * FRAME
    assert receiver.counter.lost == 0


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.randoms(use_true_random=False))
def test_reordered_packets_find_their_place_and_duplicates_none(
    sequence: int, timestamp: int, rng: random.Random
) -> None:
    receiver = Receiver()
    numbers = [0, *sorted(range(1, 200), key=lambda n: n + rng.random() * 10)]
    positions = []
    for order, number in enumerate(numbers):
        for repeat in range(rng.choice((1, 1, 2))):
            placed = receiver.take(sequence + number, timestamp + number * FRAME, 1000 + order * FRAME)
            assert (placed.verdict is Verdict.DUPLICATE) == (repeat > 0)
            positions += [placed.position] if placed.position is not None else []
    assert sorted(positions) == [1000 + n * FRAME for n in range(200)]
    assert receiver.counter.lost == 0
    assert receiver.counter.snapshot().duplicated == receiver.counter.received - 200


hostile = st.lists(
    st.tuples(
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFFFFFF) | st.integers(0, 100000),
        st.integers(0, 3),
        st.integers(1, 1000),
        st.integers(0, 4000),
    ),
    max_size=200,
)


@settings(max_examples=300)
@given(hostile)
def test_no_stream_reaches_further_than_two_seconds_beyond_its_arrival(packets: list[tuple[int, ...]]) -> None:
    receiver, arrival = Receiver(), 0
    for sequence, timestamp, ssrc, samples, wait in packets:
        arrival += wait
        placed = receiver.take(sequence, timestamp, arrival, ssrc, samples)
        if placed.position is not None:
            assert placed.position >= 0
            assert placed.position + samples <= arrival + LEAD
        assert receiver.timeline.end <= arrival + LEAD


@pytest.mark.parametrize("jump", [0x7FFFFFFF, 0x80000000, 50_000, -50_000, -1, -160, 0])
def test_a_jump_of_the_timestamp_is_anchored_by_the_clock(jump: int) -> None:
    receiver = Receiver()
    for number in range(10):
        receiver.take(number, 5_000_000 + number * FRAME, number * FRAME)
    stamp = 5_000_000 + 9 * FRAME + jump
    assert receiver.take(10, stamp, 1600) == Placement(1600, Verdict.REANCHORED)
    assert receiver.take(11, stamp + FRAME, 1760) == Placement(1760, Verdict.PLACED)


def test_a_new_source_never_overwrites_the_former_one() -> None:
    receiver = Receiver()
    receiver.take(0, 0, 1000)
    receiver.take(1, FRAME, 1000)
    assert receiver.take(7, 99, 1010, ssrc=2) == Placement(1320, Verdict.REANCHORED)
    # A late packet from before the anchor has no place any more.
    assert receiver.take(6, 99 - FRAME, 1020, ssrc=2) == Placement(None, Verdict.REFUSED)


def test_a_silence_without_timestamps_is_kept_as_silence() -> None:
    receiver = Receiver()
    receiver.take(0, 0, 0)
    assert receiver.take(1, FRAME, 80_000) == Placement(80_000, Verdict.REANCHORED)


def test_a_sender_whose_clock_runs_fast_loses_a_frame_now_and_then_and_no_more() -> None:
    receiver, lost = Receiver(), 0
    for number in range(20_000):
        lost += receiver.take(number, number * FRAME, int(number * FRAME * 0.98)).position is None
    assert 0 < lost < 20_000 * 0.03


def test_an_announcement_keeps_its_place() -> None:
    timeline = Timeline()
    timeline.occupy(4000)
    assert timeline.place(order=Order.FIRST, timestamp=5, samples=160, arrival=3990).position == 4000


def test_losses_and_jitter_are_counted_as_in_the_rfc() -> None:
    counter, window = StreamCounter(), SequenceWindow()
    for number in (65530, 65531, 65534, 65533, 2, 2):
        counter.count(window.receive(1, number), window.step)
    figures = counter.snapshot()
    assert (figures.received, figures.lost, figures.duplicated, figures.reordered) == (6, 4, 1, 1)
    counter.time(0, 0.0)
    counter.time(160, 0.030)
    assert counter.snapshot().jitter_ms == pytest.approx(10 / 16)
    counter.time(0xFFFFFFFF, 1.0)


def test_jitter_ignores_the_wrap_of_timestamps() -> None:
    counter = StreamCounter()
    for number in range(100):
        counter.time((0xFFFFFFFF - 5000 + number * FRAME) & 0xFFFFFFFF, number * 0.02)
    assert counter.snapshot().jitter_ms == pytest.approx(0, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60)), max_size=60))
def test_coverage_tells_exactly_the_samples_that_never_came(spans: list[tuple[int, int]]) -> None:
    coverage, received = Coverage(), set[int]()
    for start, samples in spans:
        coverage.add(start, samples)
        received |= set(range(start, start + samples))
    gaps = {at for start, samples in coverage.gaps for at in range(start, start + samples)}
    assert gaps == set(range(coverage.end)) - received
    assert sum(samples for _, samples in coverage.gaps) == len(gaps)


def test_a_gap_is_given_out_once_and_only_when_settled() -> None:
    coverage = Coverage()
    coverage.add(0, 160)
    coverage.add(320, 160)
    assert coverage.settle(300) == []
    assert coverage.settle(480) == [(160, 160)]
    assert coverage.settle(480) == []
    assert REORDER == 16000
