"""Why a call failed or ended, as the network says it: Reason (RFC 3326) and the causes of Q.850.

A failure without Reason has the cause that a gateway would have turned into its status (RFC 3398 section 7.2.4.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.headers import parse_number, parse_params, split_list

NORMAL = 'Q.850;cause=16;text="Normal call clearing"'
ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'
"""By it a phone that lost the race shows no missed call."""
VANISHED = 'Q.850;cause=102;text="Recovery on timer expiry"'

_LARGEST = 999
_TEXT_LIMIT = 120
_OF_STATUS = {
    401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127, 414: 127, 415: 79,
    416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28, 485: 1, 486: 17, 487: 31,
    488: 88, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 580: 47, 600: 17, 603: 21, 604: 1,
    606: 88,
}  # fmt: skip
"""SIP status to Q.850 cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """``code`` is one of Q.850, None where the peer gave only a text or a status that has none."""

    code: int | None
    text: str = ""

    def data(self) -> dict[str, int | str]:
        """As the book keeps it; what is not known is left out."""
        shown: dict[str, int | str] = {} if self.code is None else {"cause": self.code}
        return {**shown, "cause_text": self.text} if self.text else shown


UNKNOWN = Cause(code=None)


def of_status(status: int) -> Cause:
    """The cause that a final SIP status stands for."""
    return Cause(code=_OF_STATUS.get(status))


def read_reasons(values: Iterable[str]) -> Cause | None:
    """What the Reason fields say, Q.850 before SIP; None where they say nothing that can be read."""
    found: dict[str, Cause] = {}
    for value in values:
        for protocol, cause in _read(value):
            found.setdefault(protocol, cause)
    return found.get("q.850") or found.get("sip")


def _read(value: str) -> Iterable[tuple[str, Cause]]:
    try:
        for each in split_list(value):
            protocol, separator, rest = each.partition(";")
            params = dict(parse_params(separator + rest))
            number = parse_number(params.get("cause") or "", _LARGEST)
            text = (params.get("text") or "")[:_TEXT_LIMIT]
            name = protocol.strip(" \t").lower()
            code = number if name == "q.850" else _OF_STATUS.get(number or 0)
            yield name, Cause(code=code, text=text)
    except RemoteProtocolError:  # what cannot be read says nothing; the message that carries it counts all the same
        return
