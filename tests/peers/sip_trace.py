"""SIP messages as a foreign program saw them: SIPp's ``-trace_msg`` file, read without the parser under test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tests.peers.ports import Address

_TRACE = re.compile(
    rb"^-{20,} (?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+)\r?\n"
    rb"(?P<transport>\w+) message "
    rb"(?:(?P<sent>sent) \((?P<out>\d+) bytes\)|received \[(?P<in>\d+)\] bytes ?):\r?\n\r?\n",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessage:
    """One SIP message as SIPp saw it; ``at`` is SIPp's local time ``YYYY-MM-DD HH:MM:SS.ffffff``."""

    direction: Literal["sent", "received"]
    at: str
    transport: str
    text: str

    @property
    def start_line(self) -> str:
        return self.text.split("\r\n", 1)[0]

    @property
    def status(self) -> int | None:
        """The status code of a response, None for a request."""
        return int(self.start_line.split(" ")[1]) if self.start_line.startswith("SIP/2.0 ") else None

    @property
    def method(self) -> str:
        """The method, of a response by its CSeq."""
        return (self.header("CSeq") or "").split(" ")[-1] if self.status else self.start_line.split(" ")[0]

    @property
    def body(self) -> str:
        return self.text.partition("\r\n\r\n")[2]

    def headers(self, name: str) -> list[str]:
        """Values of all header lines of that name (long form), in order."""
        head = self.text.partition("\r\n\r\n")[0].split("\r\n")[1:]
        fields = (line.partition(":") for line in head)
        return [value.strip() for key, _, value in fields if key.strip().lower() == name.lower()]

    def header(self, name: str) -> str | None:
        return next(iter(self.headers(name)), None)

    @property
    def audio_address(self) -> Address | None:
        """Where the SDP body wants its audio, None without such a body (c= of the media goes before the session's)."""
        media = re.search(r"^m=audio (\d+) [^\r\n]*((?:\r?\n(?!m=)[^\r\n]*)*)", self.body, re.MULTILINE)
        if media is None:
            return None
        connection = re.search(r"^c=IN IP[46] (\S+)", media[2], re.MULTILINE) or re.search(
            r"^c=IN IP[46] (\S+)", self.body, re.MULTILINE
        )
        return (connection[1], int(media[1])) if connection else None


def parse_trace(trace: bytes) -> tuple[SipMessage, ...]:
    """The messages in a ``-trace_msg`` file, in the file's order; a message still being written is left out."""
    messages = []
    for found in _TRACE.finditer(trace):
        size = int(found["out"] or found["in"])
        raw = trace[found.end() : found.end() + size]
        if len(raw) == size:
            messages.append(
                SipMessage(
                    direction="sent" if found["sent"] else "received",
                    at=found["at"].decode(),
                    transport=found["transport"].decode(),
                    text=raw.decode("utf-8", "replace"),
                )
            )
    return tuple(messages)
