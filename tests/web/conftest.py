"""The room, the application over it, and signed-in clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.web.room import PASSWORD, Room, TestClock, make_room
from web.app import create_app
from web.sessions import CSRF_HEADER

SignIn = Callable[[str], TestClient]


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def room(tmp_path: Path, clock: TestClock) -> Iterator[Room]:
    made = make_room(tmp_path, clock)
    yield made
    made.services.store.close()


@pytest.fixture
def app(room: Room) -> FastAPI:
    return create_app(room.services, room.settings)


@pytest.fixture
def sign_in(app: FastAPI) -> Iterator[SignIn]:
    """A client signed in as the login, the CSRF token in its headers; it does not follow redirects."""
    opened: list[TestClient] = []

    def signed(login: str) -> TestClient:
        client = TestClient(app, base_url="http://console.test", follow_redirects=False, raise_server_exceptions=False)
        opened.append(client)
        answer = client.post("/api/v1/session", json={"login": login, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers[CSRF_HEADER] = answer.json()["csrf_token"]
        return client

    yield signed
    for client in opened:
        client.close()


@pytest.fixture
def officer(sign_in: SignIn) -> TestClient:
    return sign_in("officer1")
