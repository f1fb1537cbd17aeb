"""Where the line listens, from the settings."""

from __future__ import annotations

from config.settings import SipSettings, load
from telephony.listening import listens, own_address


def settings(**changes: object) -> SipSettings:
    return load().sip.model_copy(update=changes)


def test_without_a_list_host_and_port_by_udp_and_tcp() -> None:
    assert [tuple(each)[:3] for each in listens(settings())] == [("UDP", "127.0.0.1", 5060), ("TCP", "127.0.0.1", 5060)]
    assert own_address(settings()) == ("127.0.0.1", 5060)
