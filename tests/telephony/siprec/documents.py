"""Recording metadata as recording clients write them: the RFC's way, a draft's way, and parts of them."""

from __future__ import annotations

from collections.abc import Mapping

SPACE = "urn:ietf:params:xml:ns:recording:1"
SESSION = "hVpd7YQgRW2nD22h7q60JQ=="
CALLER, OFFICER, STRANGER = "srfBElmCRp2QB23b7Mpk0w==", "zSfPoSvdSDCmU3A3TRDxAw==", "Atnm1ZRnOC6Pm5MApkrDzQ=="
FROM_CALLER, FROM_OFFICER, FROM_STRANGER = (
    "UAAMm5GRQKSCMVvLyl4rFw==",
    "8zc6e0lYTlWIINA6GR+3ag==",
    "EiXGlc+4TruqqoDaNE76ag==",
)
LABELS = {FROM_CALLER: "1", FROM_OFFICER: "2", FROM_STRANGER: "3"}
STREAMS = {CALLER: FROM_CALLER, OFFICER: FROM_OFFICER, STRANGER: FROM_STRANGER}


def document(
    people: Mapping[str, tuple[str, str]],
    *,
    mode: str = "complete",
    session: str = SESSION,
    gone: tuple[str, ...] = (),
    streams: Mapping[str, str] = STREAMS,
) -> bytes:
    """A document about ``people``: id to address and name. ``gone`` have left. A participant speaks into its stream."""
    parts = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<recording xmlns="{SPACE}">',
        f"<datamode>{mode}</datamode>",
        f'<session session_id="{session}"><sipSessionID>ab30317f1a784dc48ff824d0d3715d86;'
        "remote=47755a9de7794ba387653f2099600ef2</sipSessionID></session>",
    ]
    for who, (aor, name) in people.items():
        parts += [
            f'<participant participant_id="{who}"><nameID aor="{aor}"><name xml:lang="zh">{name}</name></nameID>'
            "</participant>",
            f'<participantsessionassoc participant_id="{who}" session_id="{session}">'
            "<associate-time>2026-11-25T08:00:00+08:00</associate-time></participantsessionassoc>",
        ]
        if who in streams:
            others = (streams[each] for each in people if each != who and each in streams)
            heard = "".join(f"<recv>{stream}</recv>" for stream in others)
            label = f"<label>{LABELS[streams[who]]}</label>"
            parts += [
                f'<stream stream_id="{streams[who]}" session_id="{session}">{label}</stream>',
                f'<participantstreamassoc participant_id="{who}"><send>{streams[who]}</send>{heard}'
                "</participantstreamassoc>",
            ]
    for who in gone:
        left = "<disassociate-time>2026-11-25T08:01:00+08:00</disassociate-time>"
        parts += [
            f'<participantsessionassoc participant_id="{who}" session_id="{session}">{left}</participantsessionassoc>',
            f'<participantstreamassoc participant_id="{who}">{left}</participantstreamassoc>',
        ]
    return "\n".join([*parts, "</recording>\n"]).encode()


DRAFT = """<?xml version='1.0' encoding='UTF-8'?>
<recording xmlns='urn:ietf:params:xml:ns:recording'>
 <datamode>complete</datamode>
 <session id="jWBTU+dDQeZL6U3Gdk6Cwg==">
  <associate-time>2026-04-28T10:40:29</associate-time>
  <extensiondata xmlns:x="http://sbc.example/extensiondata"><x:callerOrig>true</x:callerOrig></extensiondata></session>
 <participant id="p2" session="jWBTU+dDQeZL6U3Gdk6Cwg==">
  <nameID aor="sip:037122595110@pbx.example"><name>037122595110</name></nameID>
  <send>s2</send><associate-time>2026-04-28T10:40:29</associate-time>
  <extensiondata xmlns:x="http://sbc.example/extensiondata"><x:callingParty>false</x:callingParty></extensiondata>
 </participant>
 <participant id="p1" session="jWBTU+dDQeZL6U3Gdk6Cwg==">
  <nameID aor="sip:13800138000@carrier.example"><name><![CDATA[张三 & <李四>]]></name></nameID>
  <send>s1</send><associate-time>2026-04-28T10:40:29</associate-time>
  <extensiondata xmlns:x="http://sbc.example/extensiondata"><x:callingParty>true</x:callingParty></extensiondata>
 </participant>
 <stream id="s1" session="jWBTU+dDQeZL6U3Gdk6Cwg=="><label>771757897</label><mode>separate</mode></stream>
 <stream id="s2" session="jWBTU+dDQeZL6U3Gdk6Cwg=="><label>771757898</label><mode>separate</mode></stream>
</recording>
""".encode()

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE recording [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>
<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>&c;</datamode></recording>"""
EXTERNAL = b"""<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<recording xmlns="urn:ietf:params:xml:ns:recording:1"><session session_id="&x;"/></recording>"""
UNDECLARED = b'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><session session_id="&x;"/></recording>'

BOUNDARY = "recorded"


def offer(*streams: tuple[str, int, str], host: str = "192.0.2.5") -> bytes:
    """A client's offer: label, port and direction of each stream, in PCMA and PCMU."""
    media = "".join(
        f"m=audio {port} RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
        f"a=rtpmap:101 telephone-event/8000\r\na=label:{label}\r\na={direction}\r\n"
        for label, port, direction in streams
    )
    return f"v=0\r\no=SRC 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n{media}".encode()


def multipart(sdp: bytes | None, metadata: bytes | None) -> bytes:
    """Both in one body (RFC 7866 section 9)."""
    parts = []
    if sdp is not None:
        parts.append(b"Content-Type: application/sdp\r\n\r\n" + sdp)
    if metadata is not None:
        disposition = b"Content-Disposition: recording-session\r\n\r\n"
        parts.append(b"Content-Type: application/rs-metadata+xml\r\n" + disposition + metadata)
    mark = BOUNDARY.encode()
    return b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + mark + b"--\r\n"


MULTIPART = f"multipart/mixed;boundary={BOUNDARY}"
