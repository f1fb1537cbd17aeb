"""Where a user can be reached: the registrar's bindings as values, and their plain form for the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from telephony.sip.flow import Flow, Transport
from telephony.sip.headers import NameAddr, parse_name_addr
from telephony.sip.uri import equivalent

_TRANSPORTS: Mapping[str, Transport] = {"UDP": "UDP", "TCP": "TCP", "TLS": "TLS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One contact of a user.

    ``contact`` is the Contact value without ``expires``. Calls go back through ``flow``, by which the
    registration came: behind a NAT the contact's own address leads nowhere. Times are Unix time in s.
    """

    user: str
    contact: str
    flow: Flow
    call_id: str
    cseq: int
    refreshed_at: float
    expires_at: float

    @property
    def address(self) -> NameAddr:
        """The contact as a value."""
        return parse_name_addr(self.contact)

    @property
    def uri(self) -> str:
        """The contact URI, the Request-URI of calls to this phone."""
        return str(self.address.uri)

    def is_for(self, contact: NameAddr) -> bool:
        """Whether ``contact`` names the same phone: an equivalent URI, or the same instance (RFC 5626
        section 6)."""
        own = self.address
        if equivalent(own.uri, contact.uri):
            return True
        instance = contact.param("+sip.instance")
        same_line = own.param("reg-id") == contact.param("reg-id")
        return bool(instance) and own.param("+sip.instance") == instance and same_line

    def export(self) -> dict[str, str | int | float]:
        """Plain values that JSON and a table row can hold."""
        return {
            "user": self.user,
            "contact": self.contact,
            "transport": self.flow.transport,
            "remote_host": self.flow.remote[0],
            "remote_port": self.flow.remote[1],
            "local_host": self.flow.local[0],
            "local_port": self.flow.local[1],
            "call_id": self.call_id,
            "cseq": self.cseq,
            "refreshed_at": self.refreshed_at,
            "expires_at": self.expires_at,
        }

    @classmethod
    def of(cls, values: Mapping[str, str | int | float]) -> Binding:
        """What ``export`` gave. Raises KeyError or ValueError for anything else."""
        flow = Flow(
            transport=_TRANSPORTS[str(values["transport"])],
            remote=(str(values["remote_host"]), int(values["remote_port"])),
            local=(str(values["local_host"]), int(values["local_port"])),
        )
        return cls(
            user=str(values["user"]),
            contact=str(values["contact"]),
            flow=flow,
            call_id=str(values["call_id"]),
            cseq=int(values["cseq"]),
            refreshed_at=float(values["refreshed_at"]),
            expires_at=float(values["expires_at"]),
        )


class ChangeKind(StrEnum):
    """What happened to a binding."""

    ADDED = "added"
    REFRESHED = "refreshed"
    REMOVED = "removed"  # by the phone itself
    REPLACED = "replaced"  # by one of the same account, beyond its number of contacts
    EXPIRED = "expired"
    LOST = "lost"  # its connection closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a user's bindings."""

    kind: ChangeKind
    binding: Binding
