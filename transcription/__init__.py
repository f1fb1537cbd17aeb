"""Recordings become draft entries, offline."""
