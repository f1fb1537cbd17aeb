"""A private PostgreSQL for the tests: Debian's own programs, a fresh cluster once a session, reached on loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from tests.peers.ports import free_port
from tests.peers.programs import missing

_SETTINGS = {
    "fsync": "off",  # the tests kill clients, never the server
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "timezone": "America/New_York",  # an instant must not depend on the server's zone
    "autovacuum": "off",
}


def programs() -> Path:
    """The directory of initdb and postgres; fails on CI and skips elsewhere where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        missing("PostgreSQL is missing: apt-get install postgresql")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


class Cluster:
    """A running server. ``database()`` gives the SQLAlchemy URL of a fresh database, a copy of ``template``."""

    def __init__(self, port: int) -> None:
        self._address = f"127.0.0.1:{port}"
        self._numbers = count(1)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://duty@{self._address}/{name}"

    def database(self, template: str = "template0") -> str:
        name = f"duty{next(self._numbers)}"
        self._admin(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self._admin(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _admin(self, statement: str) -> None:
        with psycopg.connect(f"postgresql://duty@{self._address}/postgres", autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Makes and starts a cluster of its own, stops and deletes it in the end."""
    bin_dir = programs()
    user = _other_user()
    root = Path(tempfile.mkdtemp(prefix="dutyline-pg-"))
    if user:
        shutil.chown(root, user)
    data, port = root / "data", free_port()
    try:
        _run(user, bin_dir / "initdb", "-D", data, "-U", "duty", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        with (root / "log").open("wb") as log:
            options = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
            where = ["-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(root)]
            server = subprocess.Popen([str(bin_dir / "postgres"), *where, *options], stdout=log, stderr=log, user=user)
        try:
            _wait(bin_dir / "pg_isready", port, server)
            yield Cluster(port)
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _other_user() -> str | None:
    """PostgreSQL refuses to run as root; then an account that may do nothing else runs it."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _run(user: str | None, *command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command], user=user, capture_output=True, text=True, timeout=60, cwd="/tmp", check=False
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


def _wait(pg_isready: Path, port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert server.poll() is None, "postgres ended at once"
        asked = subprocess.run(
            [str(pg_isready), "-h", "127.0.0.1", "-p", str(port), "-t", "1"], capture_output=True, check=False
        )
        if asked.returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError("postgres does not answer")
