"""The database is locked, moved away or has no room left while people call: calls go on, and every line is written
later, in its order."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.talk import begin, chatter
from tests.line.book import Book
from tests.line.desk import Desk
from tests.line.service import Line, Service
from tests.peers.audio import account
from tests.peers.ports import free_port
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp

pytestmark = [pytest.mark.peer, pytest.mark.rule("6.1-a"), pytest.mark.rule("6.1-d")]

StartService = Callable[..., Service]
OpenBook = Callable[[Service], Book]
OpenPeer = Callable[..., RtpPeer]
LINE = Line(number="037122590041", phones=("5001",))
WHOLE = ["arrived", "leg_started", "ringing", "answered", "ended"]


def _call(service: Service, sipp: Sipp, number: str, words: bytes, *, talk_ms: int = 1500) -> None:
    """A whole call, answered and ended by the caller."""
    phone = sipp.start("phone_answers_and_talks", audio=words, values={"user": "5001"}, port=_PHONE[service.port])
    values: dict[str, str | int] = {"line": LINE.number, "caller": number, "talk_ms": talk_ms}
    caller = sipp.start("caller_talks_then_bye", remote=service.address, audio=words, values=values)
    assert caller.wait().check().received[-3:] == ["180", "200", "200"]
    assert phone.wait().check().received == ["INVITE", "ACK", "BYE"]


_PHONE: dict[int, int] = {}


def _register(service: Service, sipp: Sipp) -> None:
    """The phone of this service: where it listens is fixed, what plays there changes from call to call."""
    _PHONE[service.port] = free_port()
    Desk(service, sipp).register("5001", _PHONE[service.port])


def test_a_locked_database_delays_only_the_book(
    start_service: StartService,
    open_book: OpenBook,
    sipp: Sipp,
    words: bytes,
    number: str,
    another_number: Callable[[], str],
) -> None:
    service = start_service(LINE)
    book = open_book(service)
    _register(service, sipp)
    numbers = [number, another_number()]
    path = service.settings.store_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        _call(service, sipp, numbers[0], words)
        first = time.monotonic() - began
        _call(service, sipp, numbers[1], words)
        second = time.monotonic() - began - first
        assert book.pages() == []
        assert len((service.data / "spool" / "book.spool").read_bytes().splitlines()) >= 8
        other.execute("ROLLBACK")
    # The first line waits for the database; afterwards the spool takes them, so that no caller waits long.
    assert first < 10.0
    assert second < 8.0
    pages = [book.ended(one, 20.0) for one in numbers]
    for page in pages:
        assert page.kinds == WHOLE
        assert (page.outcome, page.recording_state, page.entries) == ("answered", "waiting", 1)
        assert account(words, book.voices(page)[0]).perfect
    assert pages[0].ended_at is not None
    assert pages[0].ended_at <= pages[1].arrived_at
    service.wait(lambda: len(book.alarms("store_recovered")) == 1, "nobody is told that the database was away")
    service.wait(lambda: not (service.data / "spool" / "book.spool").exists(), "the spool is not emptied")
    assert not (service.data / "spool" / "book.refused").exists()


def test_killed_while_the_database_is_locked_the_spool_is_written_at_the_next_start(
    start_service: StartService, open_book: OpenBook, sipp: Sipp, words: bytes, number: str
) -> None:
    service = start_service(LINE)
    book = open_book(service)
    _register(service, sipp)
    path = service.settings.store_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        _call(service, sipp, number, words)
        spool = service.data / "spool" / "book.spool"
        service.wait(lambda: spool.exists() and b'"ended"' in spool.read_bytes(), "the spool has no end of the call")
        service.kill()
        other.execute("ROLLBACK")
    service.start()
    page = book.ended(number)
    assert page.kinds[: len(WHOLE)] == WHOLE
    assert page.outcome == "answered"
    assert account(words, book.voices(page)[0]).perfect


def test_a_database_moved_away_and_back(
    start_service: StartService, open_book: OpenBook, sipp: Sipp, words: bytes, number: str
) -> None:
    service = start_service(LINE)
    _register(service, sipp)
    files = [path for path in service.data.glob("dutyline.db*") if path.is_file()]
    away = service.data / "away"
    away.mkdir()
    for path in files:
        path.rename(away / path.name)
    _call(service, sipp, number, words)
    for path in away.iterdir():
        path.rename(service.data / path.name)
    service.stop()
    service.start()
    page = open_book(service).ended(number, 20.0)
    assert page.kinds[: len(WHOLE)] == WHOLE
    assert page.outcome == "answered"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("a disk of its own needs root")
    point = tmp_path / "disk"
    point.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(point)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def _fill(disk: Path) -> Path:
    """Takes all room that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler


def test_a_full_disk_costs_nothing_once_there_is_room_again(
    start_service: StartService,
    open_book: OpenBook,
    sipp: Sipp,
    rtp_peer: OpenPeer,
    small_disk: Path,
    number: str,
) -> None:
    """Book, spool and recordings all lie on the full disk; the call goes on, and everything is written afterwards."""
    service = start_service(LINE, data_on=small_disk)
    book = open_book(service)
    mouths = (rtp_peer(), rtp_peer())
    talk = begin(service, book, sipp, mouths, line=LINE.number, extension="5001", number=number, talk_s=5)
    time.sleep(1.5)
    filler = _fill(small_disk)
    talk.caller.wait().check()
    talk.phone.wait().check()
    ended = time.monotonic()
    for mouth, said in zip(mouths, reversed(talk.said), strict=True):
        heard = account(said[: 4 * 50 * 160], mouth.heard())
        assert heard.perfect, heard
    filler.unlink()
    page = book.ended(number, 40.0)
    assert page.kinds == WHOLE
    assert page.outcome == "answered"
    assert page.recording_state == "waiting"
    talk.check_kept(book, page, until=ended, slack_s=1.0)
    service.wait(lambda: len(book.alarms("store_recovered")) >= 1, "nobody is told that the book could not be written")


def test_chatter_can_be_counted() -> None:
    assert account(chatter(1.0, seed=1), chatter(1.0, seed=1)).perfect
