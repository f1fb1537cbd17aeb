"""Desk phones on a private service: a SIPp scenario or a baresip, registered before a test and gone after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.line.service import Service
from tests.peers.sipp import SCENARIOS, Sipp, SippRun


@dataclass(slots=True)
class Desk:
    """Brings phones to the desk of ``service``."""

    service: Service
    sipp: Sipp
    _registered: list[tuple[str, int, str]] = field(default_factory=list)

    def phone(
        self,
        scenario: str,
        extension: str,
        *,
        audio: bytes | None = None,
        values: dict[str, str | int] | None = None,
        transport: str = "udp",
        calls: int = 1,
        echo: bool = False,
        timeout_s: int = 30,
        scenarios: Path = SCENARIOS,
    ) -> SippRun:
        """A phone that plays ``scenario`` and is registered as ``extension``."""
        chosen = dict(values or {})
        if scenario not in ("phone_redirects", "phone_busy_at_once"):
            chosen.setdefault("user", extension)
        run = self.sipp.start(
            scenario,
            audio=audio,
            values=chosen,
            transport="tcp" if transport == "tcp" else "udp",
            calls=calls,
            echo=echo,
            timeout_s=timeout_s,
            scenarios=scenarios,
        )
        self.register(extension, run.port)
        return run

    def register(self, extension: str, contact_port: int, *, expires: int = 300) -> None:
        """One REGISTER with digest by a foreign party; the answer must be 200."""
        values: dict[str, str | int] = {
            "user": extension,
            "auth_user": extension,
            "password": self.service.password(extension),
            "contact_port": contact_port,
            "expires": expires,
        }
        self.sipp.start("phone_registers", remote=self.service.address, values=values, timeout_s=10).wait().check()
        if expires:
            self._registered.append((extension, contact_port, "udp"))

    def clear(self) -> None:
        """Take every phone away again."""
        for extension, port, _ in self._registered:
            if self.service.answers():
                self.register(extension, port, expires=0)
        self._registered.clear()
