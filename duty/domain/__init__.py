"""Values and rules of the duty room. Pure: no clock, no I/O, no settings."""
