"""The way to the PBX from its URI: transport, port, and the near end that fits."""

from __future__ import annotations

import pytest

from config.settings import ListenSettings, SipSettings, SipTlsSettings, load
from telephony.listening import listens, own_address, route_to
from telephony.sip.errors import RemoteProtocolError


def settings(**changes: object) -> SipSettings:
    return load().sip.model_copy(update=changes)


def dual(**changes: object) -> SipSettings:
    places = [("UDP", "127.0.0.1", 5060, ""), ("TLS", "127.0.0.1", 5071, "192.0.2.9"), ("UDP", "::1", 5080, "")]
    listen = tuple(ListenSettings(transport=by, host=at, port=n, advertised_host=as_) for by, at, n, as_ in places)
    return settings(listen=listen, tls=SipTlsSettings(certificate="a.pem", key="a.key"), **changes)


@pytest.mark.parametrize(
    ("registrar", "transport", "remote", "local"),
    [
        ("sip:127.0.0.3", "UDP", ("127.0.0.3", 5060), ("127.0.0.1", 5060)),
        ("sip:127.0.0.3;transport=tls", "TLS", ("127.0.0.3", 5061), ("192.0.2.9", 5071)),
        ("sips:127.0.0.3:5071", "TLS", ("127.0.0.3", 5071), ("192.0.2.9", 5071)),
        ("sip:[::1]:5070", "UDP", ("::1", 5070), ("::1", 5080)),
    ],
)
def test_a_route_fits_its_uri(registrar: str, transport: str, remote: tuple[str, int], local: tuple[str, int]) -> None:
    route = route_to(registrar, dual())
    assert (route.flow.transport, route.flow.remote, route.flow.local) == (transport, remote, local)
    assert route.name == remote[0]


def test_what_cannot_be_reached_is_said() -> None:
    with pytest.raises(RemoteProtocolError, match="certificate"):
        route_to("sips:127.0.0.3", settings())
    with pytest.raises(RemoteProtocolError):
        route_to("tel:123", settings())
    with pytest.raises(OSError, match="reached"):
        route_to("sip:[::1]", settings())


def test_without_a_list_host_and_port_by_udp_and_tcp() -> None:
    assert [tuple(each)[:3] for each in listens(settings())] == [("UDP", "127.0.0.1", 5060), ("TCP", "127.0.0.1", 5060)]
    assert own_address(settings()) == ("127.0.0.1", 5060)
