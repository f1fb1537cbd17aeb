"""Recording metadata: read, updated by one another and asked about, never with more than the one error."""

from __future__ import annotations

from tests.fuzz.harness import instrumented, must, run, split

with instrumented():
    from duty.domain.numbers import NumberPlan
    from telephony.sip.errors import RemoteProtocolError
    from telephony.siprec.metadata import Metadata, parse_metadata
    from telephony.siprec.parties import OwnNumbers, Parties, find_parties

from tests.telephony.siprec.documents import BOMB, CALLER, DRAFT, EXTERNAL, OFFICER, STRANGER, document

WHOLE = document({CALLER: ("sip:13800138000@x", "a"), OFFICER: ("sip:037122595110@x", "b")})
PART = document({STRANGER: ("tel:+861", "c")}, mode="partial", gone=(OFFICER,))
SEEDS = (WHOLE, DRAFT, BOMB, EXTERNAL, WHOLE + b"\n==\n" + PART)
OWN = OwnNumbers(numbers=("037122595110", "1001"), plan=NumberPlan())


def check(data: bytes) -> None:
    known, parties = Metadata(), None
    for piece in split(data):
        try:
            known = known.updated(parse_metadata(piece))
        except RemoteProtocolError as error:
            must(error.status == 400)
            continue
        parties = find_parties(known, OWN, parties)
        _consistent(known, parties)


def _consistent(known: Metadata, parties: Parties) -> None:
    assert {each.participant_id for each in known.present} == {
        each.participant_id for each in (*parties.others, *([parties.officer] if parties.officer else []))
    }
    for stream in known.streams:
        parties.speaker(known, stream.label)
    assert len(parties.shown()) <= 400


if __name__ == "__main__":
    run(check, SEEDS)
