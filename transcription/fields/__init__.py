"""First rules from words to fields: what was said about time, place, event and people, each with its spans."""

from transcription.fields.extract import extract

__all__ = ["extract"]
