"""The console as its process runs it, on a free port of the loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from config.settings import Settings
from web.serve import console


@contextmanager
def serving(app: FastAPI, settings: Settings) -> Iterator[str]:
    """The address while it serves; stopped as a supervisor would stop it."""
    server = console(app, settings)
    server.config.port = 0
    server.config.host = "127.0.0.1"
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < until, "the console did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "open streams held up the end"
