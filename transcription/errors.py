"""The room's one error tree: each branch names whose fault it was, so that the caller knows whom to tell."""

from __future__ import annotations


class TranscriptionError(Exception):
    """Any failure of this room. ``str()`` is a Chinese sentence fit for the console."""


class AudioError(TranscriptionError):
    """The recording's fault: not a readable PCM16 WAV, or no samples in it."""


class EngineError(TranscriptionError):
    """The engine's or its model's fault: the model does not load, or decoding failed."""


class ModelError(TranscriptionError):
    """A model could not be installed, found or verified."""


class UnknownModelError(ModelError):
    """The operator's fault: no model of that name is known or installed."""


class ModelDownloadError(ModelError):
    """The network's or the source's fault: the file could not be fetched completely."""


class ModelRefusedError(ModelError):
    """The file's fault: wrong size or hash, no model inside, or an unsafe archive. Nothing was installed."""
