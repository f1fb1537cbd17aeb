"""What can go wrong on the media side, told apart by whose fault it is and what helps."""

from __future__ import annotations

from pathlib import Path


class MediaError(Exception):
    """Root of the errors of media plane and recorder."""


class NoFreePortError(MediaError):
    """Every pair of the configured port range is in use, resting, or taken by another program."""


class NoRemoteError(MediaError):
    """The leg has no negotiated remote yet, so nothing can be played to it: a fault of the caller of this
    code."""


class PromptError(MediaError):
    """An announcement file is missing or no mono 16-bit PCM WAV at 8 kHz: the operator's fault."""


class NotARecordingError(MediaError):
    """The directory holds neither audio nor a sidecar."""


class RecordingNotSealedError(MediaError):
    """The disk refused the end of the recording. What was written stays in ``directory``; sealing may be
    tried again."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"recording in {directory} is not sealed: {reason}")
        self.directory = directory
        self.reason = reason
