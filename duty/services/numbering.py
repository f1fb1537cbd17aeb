"""The number plan that the settings state, for every service that matches numbers."""

from __future__ import annotations

from config.settings import NumberSettings
from duty.domain.numbers import NumberPlan


def number_plan(settings: NumberSettings) -> NumberPlan:
    """Where the line stands, as the domain's value."""
    return NumberPlan(area_code=settings.area_code, extension_digits=settings.extension_digits)
