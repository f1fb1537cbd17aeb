"""Header values and URIs by themselves, deeper than whole messages reach: read, written, read again."""

from __future__ import annotations

import contextlib

from tests.fuzz.harness import instrumented, must, run

with instrumented():
    from telephony.sip.errors import RemoteProtocolError
    from telephony.sip.headers import parse_cseq, parse_name_addr, parse_via, split_list
    from telephony.sip.target import same_host, target_of
    from telephony.sip.uri import SipUri, equivalent, parse_uri

SEEDS = (
    b'"J Rosenberg \\\\\\"" <sip:j@[2001:db8::1]:5060;transport=tls?a=b>;tag=1;q=0.3',
    b"SIP / 2.0 / UDP [2001:db8::9:1]:5070 ;branch=z9hG4bK1;rport=5;received=192.0.2.1",
    b"tel:+86-371-2259(5110);phone-context=+86",
    b"sips:%2A21%23@[2001:db8:::192.0.2.1];lr",
    b"1 INVITE",
    b"<sip:a@b>, sip:c@d;x, soap.beep://e",
)


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace").replace("\r", "").replace("\n", "")
    for read in (parse_via, parse_cseq, parse_name_addr, parse_uri):
        try:
            value = read(text)
        except RemoteProtocolError:
            continue
        again = read(str(value))
        assert str(again) == str(value), (read.__name__, text)
        if isinstance(value, SipUri):
            assert equivalent(value, value)
            _use(value)
    with contextlib.suppress(RemoteProtocolError):
        assert all(item.strip(" \t") for item in split_list(text))


def _use(uri: SipUri) -> None:
    same_host(uri.host, "192.0.2.1")
    try:
        target_of(uri)
    except RemoteProtocolError as error:
        must(error.status == 503)


if __name__ == "__main__":
    run(check, SEEDS)
