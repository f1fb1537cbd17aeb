"""The directory."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from duty.services.directory import NewContact
from web.api.desk_shapes import Contact, ContactInput
from web.api.shapes import Created
from web.sessions import Acting, House

router = APIRouter(tags=["directory"])


@router.get("/contacts")
def contacts(house: House, actor: Acting, words: Annotated[str, Query(max_length=100)] = "") -> list[Contact]:
    """Contacts whose organisation, name or number contains the words; restricted numbers are masked."""
    return [Contact.of(view) for view in house.directory.search(actor, words)]


@router.post("/contacts", status_code=201)
def add(house: House, actor: Acting, body: ContactInput) -> Created:
    """Put a contact into the directory."""
    given = body.model_dump() | {"numbers": tuple(body.numbers)}
    return Created(id=house.directory.add(actor, NewContact(**given)))


@router.post("/contacts/{contact_id}/reveal")
def reveal(house: House, actor: Acting, contact_id: int) -> Contact:
    """A contact with its restricted numbers; the look is in the audit log."""
    return Contact.of(house.directory.reveal(actor, contact_id))
