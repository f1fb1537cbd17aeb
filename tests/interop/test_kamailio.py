"""What Kamailio alone does as a registrar: it grants a short time only, and loses its bindings when it restarts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from duty.store.database import Store
from tests.interop.cells import proves
from tests.interop.exchange import BRIEF_S, NUMBER, Exchange, behind_kamailio
from tests.interop.talk import wait_until
from tests.line.book import Book

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with behind_kamailio(tmp_path_factory.mktemp("kamailio")) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def book(exchange: Exchange) -> Iterator[Book]:
    with closing(Store(exchange.service.settings.store_url)) as store:
        yield Book(store, exchange.service.settings.data.recordings)


@proves("Kamailio", "in front, calls in", "registers")
def test_the_trunk_registers_and_refreshes_in_time(exchange: Exchange, book: Book) -> None:
    """Kamailio grants 8 s however long we ask for: the line must come again before they are over (RFC 3261 10.2.4)."""
    before = len(exchange.kamailio.requests("REGISTER"))
    time.sleep(2.2 * BRIEF_S)
    assert len(exchange.kamailio.requests("REGISTER")) - before >= 2
    assert book.component(NUMBER)[0] == "registered"


def test_the_proxy_comes_back(exchange: Exchange, book: Book) -> None:
    """A proxy that lost its registrations in a restart hears of the line within its time."""
    exchange.kamailio.stop()
    exchange.kamailio.__enter__()
    before = len(exchange.kamailio.requests("REGISTER"))
    wait_until(lambda: len(exchange.kamailio.requests("REGISTER")) >= before + 2, "no REGISTER", timeout_s=3 * BRIEF_S)
    wait_until(lambda: book.component(NUMBER)[0] == "registered", "not registered again")
