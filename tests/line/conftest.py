"""One running service for all tests of this folder that need nothing special; each test has its own numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from duty.store.database import Store
from tests.line.book import Book
from tests.line.desk import Desk
from tests.line.service import Line, Service
from tests.peers.audio import decode_alaw, write_wav
from tests.peers.fixtures import baresip, rtp_peer, sipp, utterance
from tests.peers.programs import require
from tests.peers.sipp import Sipp

__all__ = ["baresip", "rtp_peer", "sipp", "utterance"]

DESK, HURRIED, PAIR, QUEUE, FULL, MUTE = (f"03712259000{digit}" for digit in range(1, 7))
"""Numbers of the lines: plain; ringing only shortly; two phones; one call and a queue; one call and busy; hanging up
where nobody answers."""
PHONES = {
    DESK: ("1001",),
    HURRIED: ("1002",),
    PAIR: ("1003", "1004"),
    QUEUE: ("1005",),
    FULL: ("1006",),
    MUTE: ("1007",),
}
PROMPT_FRAMES = 60

_numbers = itertools.count(13_800_000_001)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the end of the service's log under a failed test."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, Service):
                report.sections.append(("the service's log", value.log()[-6000:]))
    return report


@pytest.fixture(scope="session")
def prompt(utterance: bytes) -> bytes:
    """A short announcement, A-law."""
    return utterance[::-1][: PROMPT_FRAMES * 160]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, prompt: bytes) -> Iterator[Service]:
    """The telephony process alone, with one line for each way of working."""
    require("sipp")
    root = tmp_path_factory.mktemp("line")
    announcement = write_wav(root / "announcement.wav", decode_alaw(prompt))
    lines = (
        Line(number=DESK, phones=PHONES[DESK], announcement=announcement),
        Line(number=HURRIED, phones=PHONES[HURRIED], announcement=announcement, ring_seconds=0.8),
        Line(number=PAIR, phones=PHONES[PAIR], announcement=announcement),
        Line(number=QUEUE, phones=PHONES[QUEUE], max_calls=1),
        Line(number=FULL, phones=PHONES[FULL], max_calls=1, when_busy="busy"),
        Line(number=MUTE, phones=PHONES[MUTE], no_answer="hangup", ring_seconds=0.8),
    )
    with Service(root, lines) as running:
        yield running


@pytest.fixture(scope="session")
def book(service: Service) -> Iterator[Book]:
    """The book of ``service``."""
    with closing(Store(service.settings.store_url)) as store:
        yield Book(store, service.settings.data.recordings)


@pytest.fixture
def desk(service: Service, sipp: Sipp) -> Iterator[Desk]:
    """The desk of ``service``; its phones are gone after the test."""
    phones = Desk(service, sipp)
    yield phones
    phones.clear()


@pytest.fixture
def number() -> str:
    """A caller's number no other test uses."""
    return str(next(_numbers))


@pytest.fixture
def another_number() -> Callable[[], str]:
    """More such numbers."""
    return lambda: str(next(_numbers))


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts a service of the test's own; it ends with the test."""
    with ExitStack() as stack:
        names = itertools.count(1)

        def start(*lines: Line, **options: object) -> Service:
            root = tmp_path / f"service-{next(names)}"
            return stack.enter_context(Service(root, lines, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def open_book() -> Iterator[Callable[[Service], Book]]:
    """Opens the book of a service of the test's own."""
    with ExitStack() as stack:
        yield lambda service: Book(
            stack.enter_context(closing(Store(service.settings.store_url))), service.settings.data.recordings
        )


@pytest.fixture(scope="session")
def words(utterance: bytes) -> bytes:
    """One second of speech, for tests that are about something else."""
    return utterance[: 50 * 160]
