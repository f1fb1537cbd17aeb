"""SIPp scenarios put together message by message, for what only one test plays: who says what in which order.

A ``Ladder`` is one side of one call. ``calls`` makes it the one that dials; else it waits for an INVITE. Its text is
the same XML that the files in ``scenarios`` hold; only signalling, the SDP names the port of an ``RtpPeer``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tests.peers.sipp import Sipp, SippRun

_KEPT = {"via": "Via:", "invite_cseq": "CSeq:", "invite_from": "From:", "invite_to": "To:"}


def sdp(port: int, *, codec: int = 8, direction: str = "sendrecv", host: str = "[media_ip]", version: int = 1) -> str:
    """A session description with one audio stream in ``codec`` (8 PCMA, 0 PCMU) at ``host``:``port``."""
    return "\n".join(
        [
            "v=0",
            f"o=peer 1 {version} IN IP[local_ip_type] [local_ip]",
            "s=-",
            f"c=IN IP[media_ip_type] {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP {codec} 101",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
            f"a={direction}",
        ]
    )


class Ladder:
    """One side of a call, step by step. Header fields are given as ``Name: value``."""

    def __init__(self, name: str, *, user: str, calls: str = "") -> None:
        self.name = name
        self._user, self._calls = user, calls
        self._steps: list[str] = []
        self._kept: set[str] = set()

    def invite(self, *, body: str = "", headers: Iterable[str] = ()) -> Ladder:
        """Dial ``calls``."""
        self._send(
            f"INVITE sip:{self._calls}@[remote_ip]:[remote_port] SIP/2.0",
            [
                "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport",
                "Max-Forwards: 70",
                f"From: {self._mine}",
                f"To: <sip:{self._calls}@[remote_ip]:[remote_port]>",
                "Call-ID: [call_id]",
                "CSeq: 1 INVITE",
                self._contact,
                *headers,
            ],
            body,
            repeat=True,
        )
        return self

    def invited(self) -> Ladder:
        """Wait for the INVITE."""
        return self.receive("INVITE", keep=_KEPT)

    def receive(self, what: int | str, *, optional: bool = False, keep: dict[str, str] | None = None) -> Ladder:
        """Wait for a status or a request; ``keep`` remembers header fields for ``[$name]`` in later ones. A caller
        keeps the line's To by every response that has a tag."""
        kind = "response" if isinstance(what, int) else "request"
        fields = dict(keep or {})
        if self._calls and isinstance(what, int) and what > 100 and not optional:
            fields.setdefault("line", "To:")
        self._kept.update(fields)
        actions = "".join(
            f'<ereg regexp=".*" search_in="hdr" header="{header}" assign_to="{name}"/>'
            for name, header in fields.items()
        )
        inner = f"<action>{actions}</action>" if actions else ""
        attributes = (' optional="true"' if optional else "") + (' rrs="true"' if not optional else "")
        self._steps.append(f'<recv {kind}="{what}"{attributes}>{inner}</recv>')
        return self

    def answer(
        self, status: int, reason: str, *, body: str = "", headers: Iterable[str] = (), invite: bool = False
    ) -> Ladder:
        """Answer what came last, or with ``invite`` the INVITE; its final answer is repeated until the ACK."""
        about = ["Via:[$via]", "From:[$invite_from]", f"To: {self._mine}", "Call-ID: [call_id]", "CSeq:[$invite_cseq]"]
        last = ["[last_Via:]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "[last_CSeq:]"]
        shown = about if invite else last
        repeat = invite and status >= 200
        self._send(f"SIP/2.0 {status} {reason}", [*shown, self._contact, *headers], body, repeat=repeat)
        return self

    def request(self, method: str, cseq: int, *, body: str = "", headers: Iterable[str] = ()) -> Ladder:
        """A request within the dialog."""
        theirs = "To:[$line]" if self._calls else "To:[$invite_from]"
        self._send(
            f"{method} [next_url] SIP/2.0",
            [
                "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport",
                "Max-Forwards: 70",
                "[routes]",
                f"From: {self._mine}",
                theirs,
                "Call-ID: [call_id]",
                f"CSeq: {cseq} {method}",
                *([] if method in ("ACK", "BYE", "PRACK") else [self._contact]),
                *headers,
            ],
            body,
            repeat=method != "ACK",
        )
        return self

    def acknowledge_failure(self) -> Ladder:
        """The ACK to the final failure of the INVITE, in its transaction (RFC 3261 17.1.1.3)."""
        back = len(self._steps)
        self._send(
            f"ACK sip:{self._calls}@[remote_ip]:[remote_port] SIP/2.0",
            [
                f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-{back}];rport",
                "Max-Forwards: 70",
                f"From: {self._mine}",
                "To:[$line]",
                "Call-ID: [call_id]",
                "CSeq: 1 ACK",
            ],
            "",
            repeat=False,
        )
        return self

    def pause(self, ms: int) -> Ladder:
        """Let ``ms`` pass."""
        self._steps.append(f'<pause milliseconds="{ms}"/>')
        return self

    def xml(self) -> str:
        """The scenario."""
        known = f'<Reference variables="{",".join(sorted(self._kept))}"/>' if self._kept else ""
        body = "\n".join(self._steps)
        return f'<?xml version="1.0" encoding="UTF-8" ?>\n<scenario name="{self.name}">\n{body}\n{known}\n</scenario>\n'

    def write(self, folder: Path) -> Path:
        """Write it into ``folder``, which a test gives SIPp."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.xml").write_text(self.xml(), encoding="utf-8")
        return folder

    def start(self, sipp: Sipp, remote: tuple[str, int] | None = None, **how: object) -> SippRun:
        """Let a SIPp of its own play it."""
        folder = self.write(sipp.work / "ladders")
        return sipp.start(self.name, remote=remote, scenarios=folder, **how)  # type: ignore[arg-type]

    @property
    def _mine(self) -> str:
        if self._calls:
            return f"<sip:{self._user}@[local_ip]:[local_port]>;tag=[pid]c[call_number]"
        return "[$invite_to];tag=[pid]p[call_number]"

    @property
    def _contact(self) -> str:
        return f"Contact: <sip:{self._user}@[local_ip]:[local_port];transport=[transport]>"

    def _send(self, start: str, headers: list[str], body: str, *, repeat: bool) -> None:
        kind = ["Content-Type: application/sdp"] if body else []
        lines = [start, *headers, *kind, "Content-Length: [len]", "", *(body.split("\n") if body else [])]
        text = "\n".join(lines)
        for name in re.findall(r"\[\$(\w+)\]", text):
            self._kept.add(name)
        attributes = ' retrans="500"' if repeat else ""
        self._steps.append(f"<send{attributes}>\n<![CDATA[\n\n{text}\n\n]]>\n</send>")
