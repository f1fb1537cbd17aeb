"""The screens: one module each, its routes and what it shows."""

from fastapi import APIRouter

from web.screens import (
    calls,
    checks,
    desk,
    directory,
    drafting,
    duty,
    entry,
    evidence,
    handover,
    identity,
    lines,
    officers,
    recordings,
    register,
    review,
    roster,
    secrecy,
    signin,
    stream,
    vocabulary,
)

ROUTERS: tuple[APIRouter, ...] = (
    signin.router,
    stream.router,
    desk.router,
    duty.router,
    roster.router,
    handover.router,
    calls.router,
    secrecy.router,
    drafting.router,
    identity.router,
    entry.router,
    register.router,
    directory.router,
    review.router,
    lines.router,
    checks.router,
    recordings.router,
    evidence.router,
    officers.router,
    vocabulary.router,
)
