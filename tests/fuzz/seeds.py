"""Inputs that reach deep into the code at once: the torture messages, and ordinary ones of ours."""

from __future__ import annotations

from tests.telephony.sip.torture import rfc4475, rfc5118

TORTURE = tuple(message.data for message in (rfc4475.MESSAGES | rfc5118.MESSAGES).values())

SDP = b"""v=0\r
o=- 1 1 IN IP4 192.0.2.20\r
s=-\r
c=IN IP4 192.0.2.20\r
t=0 0\r
m=audio 4000 RTP/AVP 8 0 97 101\r
a=rtpmap:97 PCMA/8000\r
a=rtpmap:101 telephone-event/8000\r
a=fmtp:101 0-15\r
a=ptime:20\r
a=sendonly\r
m=video 0 RTP/AVP 31\r
c=IN IP6 2001:db8::1\r
"""

ENCRYPTED_SDP = b"""v=0\r
o=- 1 1 IN IP4 192.0.2.20\r
s=-\r
c=IN IP4 192.0.2.20\r
t=0 0\r
m=audio 4000 RTP/SAVP 9 8 101\r
a=rtpmap:9 G722/8000\r
a=rtpmap:101 telephone-event/8000\r
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 FEC_ORDER=FEC_SRTP\r
a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj|2^20 WSH=128\r
a=crypto:3 AEAD_AES_128_GCM inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OA==\r
a=rtcp:4005 IN IP4 192.0.2.20\r
a=rtcp-mux\r
m=audio 4002 RTP/AVP 8\r
m=image 4004 udptl t38\r
"""


def message(start: str, *lines: str, body: bytes = b"", branch: str = "z9hG4bK1", number: int = 1) -> bytes:
    """A message of one dialog (``Call-ID: c1``), complete but for ``lines``."""
    method = start.partition(" ")[0]
    fixed = [
        start,
        f"Via: SIP/2.0/UDP 192.0.2.20:5060;branch={branch};rport",
        "From: <sip:1001@192.0.2.1>;tag=phone",
        "Call-ID: c1",
        f"CSeq: {number} {method}",
        "Max-Forwards: 70",
        *lines,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(fixed).encode() + b"\r\n\r\n" + body


TO = "To: <sip:duty@192.0.2.1>"
TO_TAGGED = "To: <sip:duty@192.0.2.1>;tag=line"
CONTACT = "Contact: <sip:1001@192.0.2.20:5060>"

INVITE = message("INVITE sip:duty@192.0.2.1 SIP/2.0", TO, CONTACT, "Content-Type: application/sdp", body=SDP)
CANCEL = message("CANCEL sip:duty@192.0.2.1 SIP/2.0", TO)
ACK = message("ACK sip:duty@192.0.2.1 SIP/2.0", TO_TAGGED)
ACK_2XX = message("ACK sip:duty@192.0.2.1 SIP/2.0", TO_TAGGED, branch="z9hG4bK2")
BYE = message("BYE sip:duty@192.0.2.1 SIP/2.0", TO_TAGGED, branch="z9hG4bK3", number=2)
UPDATE = message("UPDATE sip:duty@192.0.2.1 SIP/2.0", TO_TAGGED, CONTACT, branch="z9hG4bK4", number=3)
REGISTER = message("REGISTER sip:192.0.2.1 SIP/2.0", "To: <sip:1001@192.0.2.1>", CONTACT, "Expires: 300")
OPTIONS = message("OPTIONS sip:192.0.2.1 SIP/2.0", TO, "Accept: application/sdp")
STARTS = (INVITE, CANCEL, ACK, ACK_2XX, BYE, UPDATE, REGISTER, OPTIONS)

MULTIPART = message(
    "INVITE sip:duty@192.0.2.1 SIP/2.0",
    TO,
    CONTACT,
    "Content-Type: multipart/mixed;boundary=b1",
    body=b"--b1\r\nContent-Type: application/sdp\r\n\r\n" + SDP + b"\r\n--b1\r\n"
    b"Content-Type: application/isup\r\nContent-Disposition: signal;handling=optional\r\n\r\n\x01\x00\r\n--b1--\r\n",
)


def response(status: int, reason: str = "OK", *, method: str = "INVITE", body: bytes = b"", tag: str = "peer") -> bytes:
    """A response to the first request that the layer target sends."""
    return (
        f"SIP/2.0 {status} {reason}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKt1\r\n"
        f"From: <sip:duty@192.0.2.1>;tag=line\r\nTo: <sip:1001@192.0.2.20>;tag={tag}\r\nCall-ID: c2\r\n"
        f"CSeq: 1 {method}\r\nContact: <sip:1001@192.0.2.20>\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
