"""A fax on the duty line: recognised by its tones or its wish for T.38, logged as fax, its audio untouched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from duty.store.tables import EntryRow
from telephony.rtp import tones
from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.service import Service
from tests.peers.audio import account, encode_alaw
from tests.peers.ladder import Ladder, sdp
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]
T38 = "\n".join(
    [
        "v=0",
        "o=peer 1 2 IN IP[local_ip_type] [local_ip]",
        "s=-",
        "c=IN IP[media_ip_type] [media_ip]",
        "t=0 0",
        "m=image 40000 udptl t38",
        "a=T38FaxVersion:0",
        "a=T38MaxBitRate:14400",
        "a=T38FaxRateManagement:transferredTCF",
        "a=T38FaxUdpEC:t38UDPRedundancy",
    ]
)


def category(book: Book, call_id: str) -> str:
    with book.store.reading() as session:
        return session.scalars(select(EntryRow.category).where(EntryRow.call_id == call_id)).one()


@pytest.mark.rule("5-a")
def test_a_calling_fax_is_logged_as_fax_and_its_audio_is_kept_bit_for_bit(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    """Two calling tones and then what stands for the modem's signal; the machine on the desk hears every frame."""
    calling = encode_alaw(tones.cng())
    sent = calling[: len(calling) // 160 * 160] + utterance
    caller_media, machine = rtp_peer(), rtp_peer()
    at_the_desk = (
        Ladder("fax_machine", user="1001")
        .invited()
        .answer(180, "Ringing", invite=True)
        .answer(200, "OK", invite=True, body=sdp(machine.port))
        .receive("ACK")
        .receive("BYE")
        .answer(200, "OK")
        .start(sipp)
    )
    desk.register("1001", at_the_desk.port)
    caller = sipp.start(
        "caller_external_media",
        remote=service.address,
        values={"line": DESK, "caller": number, "media_port": caller_media.port, "talk_ms": len(sent) // 8 + 600},
    )
    caller_media.send(sent, caller.wait_for_audio_address())
    caller.wait().check()
    at_the_desk.wait().check()
    page = book.ended(number)
    assert page.data_of("fax_detected") == {"by": "caller", "how": "cng"}
    assert category(book, page.call_id) == "fax"
    assert sent in machine.heard()
    assert sent in book.voices(page)[0]


@pytest.mark.rule("5-a")
@pytest.mark.parametrize("side", ["caller", "officer"])
def test_a_wish_for_t38_is_refused_and_the_call_goes_on_in_g711(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str, side: str
) -> None:
    """ITU-T T.38 Annex D: after a 488 both machines stay with what they have, which is audio."""
    caller_media, machine = rtp_peer(), rtp_peer()

    def wishes(ladder: Ladder, cseq: int) -> Ladder:
        for again in range(2):
            ladder.request("INVITE", cseq + again, body=T38).receive(100, optional=True).receive(488)
            ladder.request("ACK", cseq + again)
        return ladder

    phone = (
        Ladder("fax_phone", user="1001")
        .invited()
        .answer(180, "Ringing", invite=True)
        .answer(200, "OK", invite=True, body=sdp(machine.port))
        .receive("ACK")
        .pause(500)
    )
    phone = (wishes(phone, 1) if side == "officer" else phone).receive("BYE").answer(200, "OK")
    dialling = Ladder("fax_caller", user=number, calls=DESK).invite(body=sdp(caller_media.port))
    dialling.receive(100, optional=True).receive(180, optional=True).receive(200).request("ACK", 1).pause(500)
    dialling = wishes(dialling, 2) if side == "caller" else dialling
    dialling.pause(len(utterance) // 8 + 600).request("BYE", 9).receive(200)

    at_the_desk = phone.start(sipp)
    desk.register("1001", at_the_desk.port)
    caller = dialling.start(sipp, service.address)
    caller_media.send(utterance, caller.wait_for_audio_address())
    done = caller.wait().check()
    answered = at_the_desk.wait().check()
    asked = done if side == "caller" else answered
    refusals = [one for one in asked.messages if one.direction == "received" and one.status == 488]
    assert 'Warning: 399 dutyline "No audio stream' in refusals[0].text
    page = book.ended(number)
    assert page.data_of("fax_detected") == {"by": side, "how": "t38"}
    assert (page.outcome, category(book, page.call_id)) == ("answered", "fax")
    assert account(utterance, machine.heard()).perfect
    assert account(utterance, book.voices(page)[0]).perfect
