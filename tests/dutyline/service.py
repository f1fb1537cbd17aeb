"""A private instance of the whole service: its own data, free ports, the speech model of the checkout."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers.ports import free_block, free_port

START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
_RTP_PORTS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Where a private instance keeps its things and listens."""

    config: Path
    data: Path
    sip: tuple[str, int]
    web: tuple[str, int]

    @property
    def database(self) -> Path:
        return self.data / "dutyline.db"

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """``dutyline`` with ``arguments`` and this instance's settings, bounded in time."""
        program = [sys.executable, "-m", "dutyline", *arguments, "--config", str(self.config)]
        return subprocess.run(
            program, capture_output=True, text=True, timeout=timeout_s, check=False, env=_environment()
        )


def prepare(folder: Path, *, models: Path | None = None) -> Instance:
    """Settings on free ports below ``folder``; ``models`` is linked to instead of copied."""
    data = folder / "data"
    data.mkdir(parents=True)
    if models is not None:
        (data / "models").symlink_to(models)
    sip, web, rtp = free_port(), free_port(), free_block(_RTP_PORTS)
    config = folder / "settings.toml"
    config.write_text(
        f"[data]\ndir = {json.dumps(str(data))}\n[web]\nport = {web}\n"
        f"[sip]\nport = {sip}\nrtp_first_port = {rtp}\nrtp_last_port = {rtp + _RTP_PORTS - 1}\n",
        encoding="utf-8",
    )
    return Instance(config=config, data=data, sip=("127.0.0.1", sip), web=("127.0.0.1", web))


@contextmanager
def serving(instance: Instance) -> Iterator[Instance]:
    """The service runs while the block does; its log is ``service.log`` beside the settings."""
    log = instance.config.with_name("service.log")
    program = [sys.executable, "-m", "dutyline", "serve", "--config", str(instance.config)]
    with log.open("wb") as out:
        process = subprocess.Popen(program, stdout=out, stderr=out, env=_environment())
    try:
        _wait_until_up(instance, process, log)
        yield instance
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(instance: Instance, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while not (_listens(instance.sip) and _listens(instance.web)):
        if process.poll() is not None or time.monotonic() > limit:
            raise AssertionError(f"the service does not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")
        time.sleep(0.1)


def _listens(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(address) == 0


def _environment() -> dict[str, str]:
    """Nothing of the developer's own installation reaches a private one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DUTYLINE_")}
    return {**kept, "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}
