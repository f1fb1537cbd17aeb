"""Recording metadata (RFC 7865): read in every way of writing that is in the field, and harmless whatever comes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip.errors import RemoteProtocolError
from telephony.siprec.metadata import MAX_OBJECTS, SPACES, Metadata, parse_metadata
from telephony.siprec.xml import MAX_BYTES, MAX_DEPTH
from tests.fuzz.harness import must
from tests.telephony.siprec.documents import (
    BOMB,
    CALLER,
    DRAFT,
    EXTERNAL,
    FROM_STRANGER,
    OFFICER,
    SESSION,
    STRANGER,
    STREAMS,
    UNDECLARED,
    document,
)

ZHANG, DESK, ELSEWHERE = (
    ("sip:13800138000@carrier.example", "张三"),
    ("tel:+8637122595110", "值班室"),
    ("sip:999@x", ""),
)
BOTH = {CALLER: ZHANG, OFFICER: DESK}
SPACE = "urn:ietf:params:xml:ns:recording:1"


def ids(metadata: Metadata) -> list[str]:
    return [each.participant_id for each in metadata.present]


def test_a_document_of_the_rfc():
    metadata = parse_metadata(document(BOTH))
    assert (metadata.mode, metadata.session_id) == ("complete", SESSION)
    assert [(each.aor, each.name, each.calling) for each in metadata.present] == [(*ZHANG, None), (*DESK, None)]
    assert metadata.sessions[0].sip_session_ids[0].startswith("ab30317f")
    assert metadata.speakers("1") == {CALLER}
    assert metadata.speakers("2") == {OFFICER}
    assert metadata.speakers("7") == frozenset()
    assert not metadata.dangling


def test_a_document_of_a_draft_with_extensions_and_cdata():
    metadata = parse_metadata(DRAFT)
    assert [(each.name, each.calling) for each in metadata.present] == [
        ("037122595110", False),
        ("张三 & <李四>", True),
    ]
    assert metadata.session_id == "jWBTU+dDQeZL6U3Gdk6Cwg=="
    assert metadata.speakers("771757897") == {"p1"}
    assert not metadata.dangling


def test_prefixes_do_not_matter_and_foreign_namespaces_do():
    prefixed = document(BOTH).replace(b"xmlns=", b"xmlns:rs=").replace(b"</", b"</rs:").replace(b"<", b"<rs:")
    prefixed = prefixed.replace(b"<rs:/rs:", b"</rs:").replace(b"<rs:?xml", b"<?xml")
    assert parse_metadata(prefixed) == parse_metadata(document(BOTH))
    foreign = b'<participant xmlns="urn:other" participant_id="x"/></recording>'
    assert ids(parse_metadata(document(BOTH).replace(b"</recording>", foreign))) == [CALLER, OFFICER]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-8-sig"])
def test_names_in_the_encodings_of_chinese_exchanges(encoding: str):
    text = document(BOTH).decode().replace("UTF-8", "GB2312" if encoding == "gb18030" else "UTF-8")
    assert parse_metadata(text.encode(encoding)).present[0].name == "张三"


def test_a_partial_update_brings_what_changed():
    whole = parse_metadata(document(BOTH))
    joined = whole.updated(parse_metadata(document({STRANGER: ELSEWHERE}, mode="partial", gone=(OFFICER,))))
    assert ids(joined) == [CALLER, STRANGER]
    assert (joined.speakers("1"), joined.speakers("2"), joined.speakers("3")) == ({CALLER}, frozenset(), {STRANGER})
    assert not joined.dangling
    assert joined.updated(parse_metadata(document(BOTH))) == whole


def test_an_update_that_speaks_of_what_was_never_told_is_noticed():
    whole = parse_metadata(document(BOTH))
    told = f'<recording xmlns="{SPACE}"><datamode>partial</datamode><participantstreamassoc participant_id="{CALLER}">'
    update = f"{told}<send>{FROM_STRANGER}</send></participantstreamassoc></recording>".encode()
    assert whole.updated(parse_metadata(update)).dangling
    left = document({}, mode="partial", gone=(STRANGER,))
    assert not whole.updated(parse_metadata(left)).dangling


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BOMB, "document type declared"),
        (EXTERNAL, "document type declared"),
        (b"<!DOCTYPE recording>" + document(BOTH)[39:], "document type declared"),
        (UNDECLARED, "no XML"),
        (b"", "no XML"),
        (b"v=0\r\n", "no XML"),
        (document(BOTH)[:-12], "no XML"),
        (b"<recording/>", "no recording"),
        (f'<session xmlns="{SPACE}"/>'.encode(), "no recording"),
        (f'<recording xmlns="{SPACE}"><datamode>whole</datamode></recording>'.encode(), "datamode"),
        (f'<recording xmlns="{SPACE}"><session/></recording>'.encode(), "no session id"),
        (f'<recording xmlns="{SPACE}"><stream stream_id=" "/></recording>'.encode(), "no stream id"),
        (document(BOTH) + b" " * MAX_BYTES, "too long"),
        ("".join(["<a>"] * (MAX_DEPTH + 1)).encode(), "too many elements"),
        (f'<recording xmlns="{SPACE}">{"<g/>" * 5000}</recording>'.encode(), "too many elements"),
        (f'<recording xmlns="{SPACE}">{"<session/>" * (MAX_OBJECTS + 1)}</recording>'.encode(), "too many objects"),
        (b"\xff\xfe<\x00r\x00", "encoding"),
    ],
)
def test_what_is_no_metadata_is_refused(data: bytes, reason: str):
    with pytest.raises(RemoteProtocolError) as caught:
        parse_metadata(data)
    assert (caught.value.status, caught.value.reason) == (400, f"Malformed recording metadata: {reason}")


def test_many_partial_updates_do_not_pile_up():
    metadata = parse_metadata(document(BOTH))
    further = [parse_metadata(document({}, mode="partial", session=f"s{number}")) for number in range(MAX_OBJECTS)]
    for one in further[1:]:
        metadata = metadata.updated(one)
    with pytest.raises(RemoteProtocolError, match="too many objects"):
        metadata.updated(further[0])


def test_the_largest_document_costs_little_time():
    began = time.process_time()
    text = f'<recording xmlns="{SPACE}"><datamode>{"x<!---->" * 8000}</datamode></recording>'.encode()
    with pytest.raises(RemoteProtocolError, match="datamode"):
        parse_metadata(text)
    assert time.process_time() - began < 1.0


def never_more_than_the_declared_error(data: bytes) -> None:
    try:
        metadata = parse_metadata(data)
    except RemoteProtocolError as error:
        must(error.status == 400)
        return
    assert set(ids(metadata)) <= {each.participant_id for each in metadata.participants}
    assert metadata.updated(metadata) == metadata


@given(st.binary(max_size=600))
def test_no_bytes_raise_anything_else(data: bytes):
    never_more_than_the_declared_error(data)


@given(st.data())
def test_no_damaged_document_raises_anything_else(data: st.DataObject):
    whole = data.draw(st.sampled_from([document(BOTH), DRAFT, BOMB, EXTERNAL]))
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    never_more_than_the_declared_error(whole[:start] + data.draw(st.binary(max_size=12)) + whole[end:])


_NAMES = st.sampled_from(
    ["session", "participant", "stream", "participantsessionassoc", "participantstreamassoc", "nameID", "send", "label"]
)
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["session_id", "participant_id", "stream_id", "id", "session", "aor"]),
    st.sampled_from(["a", "b", "c", "", "sip:1001@x"]),
)


@given(
    st.sampled_from(sorted(SPACES)),
    st.sampled_from(["complete", "partial"]),
    st.lists(st.tuples(_NAMES, _ATTRIBUTES, st.lists(_NAMES, max_size=3)), max_size=12),
)
def test_any_well_formed_mixture_is_read_or_refused(space, mode, elements):
    body = "".join(
        f"<{name} {' '.join(f'{key}={value!r}' for key, value in attributes.items())}>"
        + "".join(f"<{child}>b</{child}>" for child in children)
        + f"</{name}>"
        for name, attributes, children in elements
    )
    never_more_than_the_declared_error(
        f'<recording xmlns="{space}"><datamode>{mode}</datamode>{body}</recording>'.encode()
    )


def test_every_stream_of_the_examples_has_its_speaker():
    assert set(STREAMS) == {CALLER, OFFICER, STRANGER}
