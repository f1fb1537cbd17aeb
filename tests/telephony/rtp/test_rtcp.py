"""RTCP: what is written is read again, rubbish raises one error, and two parties learn each other's figures."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.rtp.errors import MalformedPacketError
from telephony.rtp.reports import Received, ReportExchange, Sent
from telephony.rtp.rtcp import Goodbye, Report, ReportBlock, SenderInfo, parse_compound, source_description
from telephony.rtp.sequence import SequenceWindow
from telephony.rtp.statistics import StreamCounter

WORD = st.integers(0, 0xFFFFFFFF)
blocks = st.builds(
    ReportBlock,
    ssrc=WORD,
    fraction_lost=st.integers(0, 255),
    lost=st.integers(-0x800000, 0x7FFFFF),
    highest_sequence=WORD,
    jitter=WORD,
    last_report=WORD,
    delay=WORD,
)
senders = st.builds(SenderInfo, ntp=st.integers(0, 0xFFFFFFFFFFFFFFFF), timestamp=WORD, packets=WORD, octets=WORD)
reports = st.builds(Report, ssrc=WORD, sender=st.none() | senders, blocks=st.lists(blocks, max_size=31).map(tuple))
goodbyes = st.builds(Goodbye, ssrcs=st.lists(WORD, max_size=31).map(tuple))


@given(reports, st.lists(reports | goodbyes, max_size=3), st.text(max_size=60))
def test_a_compound_is_read_as_it_was_written(first: Report, rest: list[Report | Goodbye], cname: str) -> None:
    written = first.serialize() + source_description(first.ssrc, cname) + b"".join(of.serialize() for of in rest)
    assert parse_compound(written) == (first, *rest)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_compound(data)
    except MalformedPacketError:
        return


@given(reports, st.integers(0, 60), st.data())
def test_a_broken_compound_is_read_or_refused(report: Report, at: int, data: st.DataObject) -> None:
    written = bytearray(report.serialize() + source_description(report.ssrc, "somebody"))
    written[at % len(written)] = data.draw(st.integers(0, 255))
    try:
        parse_compound(bytes(written[: data.draw(st.integers(0, len(written)))]))
    except MalformedPacketError:
        return


def test_a_known_report_reads_as_rfc_3550_draws_it() -> None:
    datagram = bytes.fromhex(
        "81c8000c" "11223344" "e0000000" "80000000" "00001f40" "00000064" "00003e80"
        "55667788" "40000007" "00010203" "00000050" "00018000" "00010000"
    )  # fmt: skip
    (report,) = parse_compound(datagram)
    assert report == Report(
        ssrc=0x11223344,
        sender=SenderInfo(ntp=0xE000000080000000, timestamp=8000, packets=100, octets=16000),
        blocks=(
            ReportBlock(
                ssrc=0x55667788, fraction_lost=64, lost=7, highest_sequence=0x10203, jitter=80,
                last_report=0x18000, delay=0x10000,
            ),
        ),
    )  # fmt: skip
    assert report.serialize() == datagram


def exchange() -> ReportExchange:
    return ReportExchange(cname="one", chance=lambda: 0.5)


def test_reports_go_out_every_five_seconds_and_sooner_at_the_beginning() -> None:
    random_exchange = ReportExchange(cname="one", chance=random.Random(1).random)
    times = [tick / 4 for tick in range(4000) if random_exchange.due(tick / 4)]
    assert 1.25 <= times[0] <= 4.0
    steps = [b - a for a, b in pairwise(times)]
    assert all(2.5 <= step <= 7.75 for step in steps)
    assert 4.5 < sum(steps) / len(steps) < 5.5
    assert len(set(steps)) > 5


def test_the_round_trip_is_what_it_was() -> None:
    """A is 0.15 s away from B, which holds its report for 2 s."""
    a, b = exchange(), exchange()
    sent = Sent(ssrc=1, packets=10, octets=1600, timestamp=800, sent_at=100.0)
    first = a.report(sent=sent, received=None, own=9, now=100.0, unix=5000.0)
    b.receive(first, own=2, now=7.15, unix=0.0)
    received = Received(ssrc=1, highest_sequence=99, expected=100, lost=10, jitter=40)
    answer = b.report(sent=None, received=received, own=2, now=9.15, unix=0.0)
    a.receive(answer, own=1, now=102.3, unix=5002.3)
    view = a.view()
    assert view.round_trip_ms == pytest.approx(300, abs=1)
    assert (view.lost, view.fraction_lost, view.jitter_ms, view.reports) == (10, 25 / 256, 5.0, 1)


def test_the_loss_is_that_since_the_last_report() -> None:
    party = exchange()
    shares = []
    for expected, lost in ((100, 50), (200, 50), (200, 50), (300, 40)):
        received = Received(ssrc=1, highest_sequence=0, expected=expected, lost=lost, jitter=0)
        (report,) = parse_compound(party.report(sent=None, received=received, own=2, now=0.0, unix=0.0))
        assert isinstance(report, Report)
        shares.append(report.blocks[0].fraction_lost)
    assert shares == [128, 0, 0, 0]


def test_only_who_reported_says_goodbye_and_a_report_about_others_teaches_nothing() -> None:
    party, other = exchange(), exchange()
    assert party.goodbye(sent=None, received=None, own=2, now=0.0, unix=0.0) == b""
    received = Received(ssrc=77, highest_sequence=0, expected=1, lost=1, jitter=8)
    other.receive(party.report(sent=None, received=received, own=2, now=0.0, unix=0.0), own=1, now=0.0, unix=0.0)
    assert (other.view().lost, other.view().left) == (None, False)
    other.receive(party.goodbye(sent=None, received=None, own=2, now=0.0, unix=0.0), own=1, now=0.0, unix=0.0)
    assert other.view().left


@given(st.integers(0, 0xFFFF), st.integers(1, 200), st.lists(st.integers(1, 9), max_size=30))
def test_a_run_counts_like_its_packets(first: int, begin: int, runs: list[int]) -> None:
    """``advance`` and ``count_run`` are short cuts and nothing else."""
    one, other = SequenceWindow(), SequenceWindow()
    single, joint = StreamCounter(), StreamCounter()
    for window, counter in ((one, single), (other, joint)):
        counter.count(window.receive(5, first), window.step)
        counter.time(begin, 0.0)
    sequence, timestamp, now = first + 1, begin + 160, 0.02
    for length in runs:
        arrivals = [now + number * 0.021 for number in range(length)]
        for number, arrival in enumerate(arrivals):
            single.count(one.receive(5, (sequence + number) & 0xFFFF), one.step)
            single.time(timestamp + 160 * number, arrival)
        assert other.advance(sequence & 0xFFFF, length)
        joint.count_run(timestamp, 160, arrivals)
        sequence, timestamp, now = sequence + length, timestamp + 160 * length, arrivals[-1] + 0.02
    assert single.snapshot() == joint.snapshot()
    assert (one.highest, single.expected) == (other.highest, joint.expected)
    assert one.receive(5, sequence & 0xFFFF) == other.receive(5, sequence & 0xFFFF)
