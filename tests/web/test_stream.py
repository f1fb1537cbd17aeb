"""The event stream over a real socket: fast, complete, resumed, and no more than one may see."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from duty.domain.times import utc_now
from tests.web.room import PASSWORD, Room, arrive, make_room
from tests.web.server import serving
from web.app import create_app

LIMIT_S = 0.5
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def living(tmp_path: Path) -> Iterator[tuple[Room, str]]:
    room = make_room(tmp_path, utc_now)
    app: FastAPI = create_app(room.services, room.settings)
    with serving(app, room.settings) as address:
        yield room, address
    room.services.store.close()


@contextmanager
def client_of(address: str, login: str = "officer1") -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=5) as client:
        answer = client.post("/api/v1/session", json={"login": login, "password": PASSWORD})
        assert answer.status_code == 200
        client.headers["x-csrf-token"] = answer.json()["csrf_token"]
        yield client


@contextmanager
def stream(client: httpx.Client, **headers: str) -> Iterator[queue.Queue[tuple[float, dict[str, Any]]]]:
    """The stream's events, each with the instant it was read (monotonic seconds)."""
    events: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
    opened = threading.Event()

    def read(answer: httpx.Response) -> None:
        found: dict[str, Any] = {}
        try:
            for line in answer.iter_lines():
                opened.set()
                name, _, value = line.partition(": ")
                if name in ("id", "data", "event"):
                    found[name] = value
                elif not line and found:
                    if "id" in found:
                        events.put((time.monotonic(), {**json.loads(found["data"]), "id": int(found["id"])}))
                    found = {}
        except (httpx.StreamError, httpx.ReadError, httpx.RemoteProtocolError, AttributeError):
            return

    with client.stream("GET", "/events", headers=headers, timeout=httpx.Timeout(5, read=20)) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        reader = threading.Thread(target=read, args=(answer,), daemon=True)
        reader.start()
        assert opened.wait(3)
        yield events


FROM_ANOTHER_PROCESS = """
import sys, time
from datetime import datetime, UTC
from duty.domain.calls import Direction, NewCall
from duty.domain.numbers import NumberPlan
from duty.domain.times import utc_now
from duty.services.callbook import CallBook
from duty.store.database import Store
store = Store(sys.argv[1])
book = CallBook(store, utc_now, NumberPlan())
for line in sys.stdin:
    book.open_call(NewCall(call_id=line.strip(), line_number="037122595110", direction=Direction.INBOUND,
        caller_number="13703786621", callee_number="037122595110", caller_display="", trust="from",
        sip_call_id=line.strip(), source="127.0.0.1:5070", arrived_at=utc_now()))
    print(time.monotonic(), flush=True)
"""


@pytest.mark.rule("6.1-a")
def test_a_call_another_process_books_is_told_within_half_a_second(living: tuple[Room, str]) -> None:
    room, address = living
    command = [sys.executable, "-c", FROM_ANOTHER_PROCESS, room.settings.store_url]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as telephony,
        client_of(address) as client,
        stream(client) as events,
    ):
        assert telephony.stdin is not None
        assert telephony.stdout is not None
        delays = []
        for number in range(8):
            call_id = f"{number:032x}"
            telephony.stdin.write(call_id + "\n")
            telephony.stdin.flush()
            booked = float(telephony.stdout.readline())
            seen, event = events.get(timeout=3)
            assert event["kind"] == "call.changed"
            assert event["call"] == call_id
            delays.append(seen - booked)
            client.get("/desk/calls").raise_for_status()
        assert max(delays) < LIMIT_S, delays


def test_a_stream_resumes_where_it_was_lost(living: tuple[Room, str]) -> None:
    room, address = living
    with client_of(address) as client:
        with stream(client) as events:
            arrive(room, "1" * 32)
            last = events.get(timeout=3)[1]["id"]
        arrive(room, "2" * 32)
        arrive(room, "3" * 32)
        with stream(client, **{"Last-Event-ID": str(last)}) as events:
            assert [events.get(timeout=3)[1]["call"] for _ in range(2)] == ["2" * 32, "3" * 32]
            arrive(room, "4" * 32)
            assert events.get(timeout=3)[1]["call"] == "4" * 32
            assert events.empty()


def test_another_units_calls_are_not_told(living: tuple[Room, str]) -> None:
    room, address = living
    with client_of(address, "beijiao") as client, stream(client) as events:
        arrive(room, "1" * 32)
        arrive(room, "2" * 32, line="037122595220")
        assert events.get(timeout=3)[1]["call"] == "2" * 32


def test_the_stream_beats_and_ends_when_the_session_does(living: tuple[Room, str]) -> None:
    _, address = living
    with client_of(address) as client, client.stream("GET", "/events", timeout=20) as answer:
        lines = answer.iter_lines()
        beats = 0
        for line in lines:
            if line == "event: heartbeat":
                beats += 1
                if beats == 2:
                    break
        with httpx.Client(base_url=address, cookies=client.cookies, headers=client.headers) as other:
            assert other.delete("/api/v1/session").status_code == 204
        assert "event: heartbeat" not in list(lines)


def test_the_health_page_answers(living: tuple[Room, str]) -> None:
    assert httpx.get(f"{living[1]}/healthz").json() == {"state": "ok"}
