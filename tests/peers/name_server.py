"""A name server on loopback for tests: real questions and answers over UDP, from records that a test may change."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.peers.ports import Address

_HOST = "127.0.0.1"


class NameServer:
    """Answers from ``records``, lines of a zone file such as ``_sip._udp.d.example. 5 IN SRV 0 1 5060 a.example.``;
    a context manager. ``silent``: it hears and says nothing."""

    def __init__(self, *records: str) -> None:
        self.asked: list[tuple[str, str]] = []
        self.silent = False
        self._records: list[dns.rrset.RRset] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((_HOST, 0))
        self._socket.settimeout(0.05)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.set(*records)

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port = self._socket.getsockname()
        return host, port

    def set(self, *records: str) -> None:
        """From now on these."""
        self._records = [dns.rrset.from_text(*_split(line)) for line in records]

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                data, source = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            query = dns.message.from_wire(data)
            (question,) = query.question
            self.asked.append((question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)))
            if not self.silent:
                self._socket.sendto(self._answer(query).to_wire(), source)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        (question,) = query.question
        named = [rrset for rrset in self._records if rrset.name == question.name]
        if not named:
            response.set_rcode(dns.rcode.NXDOMAIN)
        for rrset in named:
            if rrset.rdtype == question.rdtype:
                answer = response.find_rrset(response.answer, rrset.name, rrset.rdclass, rrset.rdtype, create=True)
                answer.union_update(rrset)
                answer.update_ttl(rrset.ttl)
        return response


def _split(line: str) -> tuple[str, int, str, str, str]:
    name, ttl, rdclass, kind, data = line.split(maxsplit=4)
    return name, int(ttl), rdclass, kind, data
