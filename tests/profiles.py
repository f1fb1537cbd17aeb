"""How hard hypothesis tries: the usual profile, and the long one of `make fuzz`.

A pytest plugin of its own because a profile must be registered before hypothesis reads its command line
option.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A deadline per example measures what else the machine does, not the code; a failure prints how to repeat it.
settings.register_profile("usual", deadline=None, print_blob=True)
settings.register_profile(
    "fuzz", settings.get_profile("usual"), max_examples=5_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("usual")
