"""What the processes of the line do not carry with them: a dictionary or an engine that only transcription needs would
lengthen their restart, while callers wait, by what takes longest."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("pypinyin", "jionlp", "transcription", "web", "fastapi", "vosk", "faster_whisper", "sherpa_onnx")


def test_telephony_and_custody_import_no_dictionary_and_no_engine() -> None:
    found = f"[name for name in {HEAVY!r} if name in sys.modules]"
    asked = f"import sys, telephony.serve, telephony.custody; print({found})"
    said = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"
