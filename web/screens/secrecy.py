"""涉密 on the call's page: marking a call, opening what was sealed with a reason and for a time, lifting a false flag
(requirement 6.5-a). Each of these, and each refusal, is told where it is decided: in ``duty.services.secrecy``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from duty.domain.rights import Actor, Right
from duty.services.callreview import CallDossier
from duty.services.secrecy import SecrecyView
from web.services import Services
from web.sessions import Acting, Fields, House

router = APIRouter()


@router.post("/calls/{call_id}/secrecy/mark")
def mark(house: House, actor: Acting, call_id: str) -> Response:
    """涉密标记."""
    house.secrecy.mark(actor, call_id)
    return _back(call_id)


@router.post("/calls/{call_id}/secrecy/open")
def open_sealed(house: House, actor: Acting, call_id: str, fields: Fields) -> Response:
    """启封查阅."""
    house.secrecy.open(actor, call_id, reason=fields.get("reason", ""))
    return _back(call_id)


@router.post("/calls/{call_id}/secrecy/close")
def close(house: House, actor: Acting, call_id: str) -> Response:
    """Seen enough."""
    house.secrecy.close(actor, call_id)
    return _back(call_id)


@router.post("/calls/{call_id}/secrecy/lift")
def lift(house: House, actor: Acting, call_id: str, fields: Fields) -> Response:
    """The flag was false."""
    house.secrecy.lift(actor, call_id, reason=fields.get("reason", ""))
    return _back(call_id)


def _back(call_id: str) -> Response:
    return RedirectResponse(f"/calls/{call_id}", status_code=303)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecrecyPanel:
    """What the page shows of a call's secrecy and offers to this person; ``view`` None for a call never flagged."""

    view: SecrecyView | None
    no_key: bool
    may_mark: bool
    may_open: bool
    may_lift: bool
    ends_in_s: int

    @property
    def active(self) -> bool:
        """Whether words and sound are withheld."""
        return self.view is not None and self.view.active

    @property
    def opened(self) -> bool:
        """Whether this person has opened them."""
        return self.view is not None and self.view.active and self.view.opening is not None


def panel(house: Services, actor: Actor, dossier: CallDossier) -> SecrecyPanel:
    """The panel of a call the person sees."""
    view, unit = house.secrecy.view(actor, dossier.call.id), dossier.call.unit_id
    opening = view.opening if view is not None else None
    left = opening.ends_at - house.clock() if opening is not None else None
    return SecrecyPanel(
        view=view,
        no_key=dossier.under_secrecy and house.secrecy.no_key() is not None,
        may_mark=not dossier.under_secrecy and actor.may(Right.MARK_SECRECY, unit),
        may_open=dossier.under_secrecy and actor.may(Right.OPEN_SECRECY, unit),
        may_lift=dossier.under_secrecy and actor.may(Right.LIFT_SECRECY, unit),
        ends_in_s=max(1, int(left.total_seconds()) + 1) if left is not None else 0,
    )


def with_words(house: Services, actor: Actor, dossier: CallDossier) -> CallDossier:
    """The dossier with what this person has opened; each time is told as a look."""
    opened = house.secrecy.read(actor, dossier.call.id) if dossier.under_secrecy else None
    return dossier if opened is None else replace(dossier, transcripts=opened.transcripts, draft=opened.draft)
