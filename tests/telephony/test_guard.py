"""The guard's table, row by row: what counts as a way out, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony import guard
from telephony.guard import TABLE, Way
from telephony.sip.message import Headers, Request, Response
from tests.telephony.world import FORWARDING_CODES

pytestmark = pytest.mark.rule("6.1-e")

NUMBERS = st.text("0123456789", min_size=4, max_size=15)


def request(method: str, **headers: str) -> Request:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method=method, uri="sip:1@a", headers=Headers(fields))


def response(status: int, *contacts: str) -> Response:
    return Response(status=status, reason="", headers=Headers([("Contact", contact) for contact in contacts]))


def test_every_way_has_its_row() -> None:
    assert [rule.way for rule in TABLE] == list(Way)
    for rule in TABLE:
        assert guard.attempt(rule.way, "x").status == rule.status


@pytest.mark.parametrize("code", FORWARDING_CODES)
@given(number=NUMBERS)
def test_every_shipped_code_is_refused_however_it_is_written(code: str, number: str) -> None:
    spaced = " ".join(code)
    wide = code.translate(str.maketrans("0123456789*#", "０１２３４５６７８９＊＃"))
    for dialled in (f"{code}{number}#", code, spaced + "-" + number, wide + number, f"9{code}{number}", f"0{code}"):
        found = guard.examine_dialled(dialled, FORWARDING_CODES)
        assert found is not None, dialled
        assert (found.way, found.status) == (Way.FEATURE_CODE, 403)


@given(number=NUMBERS, prefix=st.sampled_from(["", "0", "+86", "17909"]))
def test_a_number_is_no_code(number: str, prefix: str) -> None:
    assert guard.examine_dialled(prefix + number, FORWARDING_CODES) is None


@pytest.mark.parametrize("dialled", ["", "110", "*100#", "#31#13900139000", "13900139000*72", "037122590001"])
def test_other_dialling_is_let_through(dialled: str) -> None:
    assert guard.examine_dialled(dialled, FORWARDING_CODES) is None


@given(digits=st.text(max_size=40))
def test_anything_may_be_dialled_without_an_error(digits: str) -> None:
    guard.examine_dialled(digits, FORWARDING_CODES)
    assert guard.examine_dialled(digits, ()) is None


def test_responses() -> None:
    moved = guard.examine_response(response(302, "<sip:1@203.0.113.9>", "<sip:2@b>"), from_phone=True)
    assert moved is not None
    assert (moved.way, moved.target, moved.status) == (Way.REDIRECT, "sip:1@203.0.113.9", None)
    network = guard.examine_response(response(305), from_phone=False)
    assert network is not None
    assert (network.way, network.target) == (Way.NETWORK_REDIRECT, "")
    forwarded = guard.examine_response(response(181), from_phone=True)
    assert forwarded is not None
    assert forwarded.way is Way.FORWARDED_181
    for status in (100, 180, 182, 183, 200, 404, 486, 603):
        assert guard.examine_response(response(status, "<sip:1@b>"), from_phone=True) is None


@pytest.mark.parametrize("target", ["<sip:1@b>", "garbage <<", ""])
def test_requests(target: str) -> None:
    refer = guard.examine_request(request("REFER", Refer_To=target))
    assert refer is not None
    assert (refer.way, refer.target, refer.status) == (Way.REFER, target, 603)
    replaces = guard.examine_request(request("INVITE", Replaces="a;to-tag=b"))
    assert replaces is not None
    assert (replaces.way, replaces.status) == (Way.REPLACES, 403)
    assert guard.examine_request(request("INVITE")) is None
    assert guard.examine_request(request("BYE", Replaces="a")) is None


def test_media() -> None:
    for host in ("192.0.2.20", "0.0.0.0", "::"):  # zeros are hold
        assert guard.examine_media(host, ("192.0.2.20",)) is None
    moved = guard.examine_media("192.0.2.21", ("192.0.2.20",))
    assert moved is not None
    assert (moved.way, moved.target, moved.status) == (Way.MEDIA_MOVE, "192.0.2.21", 488)


def test_arrival() -> None:
    marks = guard.examine_arrival(
        request("INVITE", Diversion='"A, B" <sip:1@a>;reason=x, <sip:2@a>', History_Info="no address <")
    )
    assert [mark.target for mark in marks] == ["Diversion: sip:1@a", "Diversion: sip:2@a", "History-Info: no address <"]
    assert guard.examine_arrival(request("INVITE")) == ()


DOC = Path(__file__).resolve().parents[2] / "docs/guard.md"


def table_of_auditors() -> str:
    rows = [
        f"| `{rule.way}` | {rule.source} | {rule.detection} "
        f"| {rule.status or '—'} | {'yes' if rule.exception else 'no'} |"
        for rule in TABLE
    ]
    return "\n".join(["| Way | Source | Detection | Answer | Exception |", "|---|---|---|---|---|", *rows])


def test_the_auditors_read_the_table_that_is_worked_by() -> None:
    shown = DOC.read_text("utf-8").split("<!-- table -->\n\n")[1].split("\n\n<!-- end -->")[0]
    assert shown == table_of_auditors()
