"""Text that nobody said: Whisper writes television credits into hum; better a word too few than one invented."""

from __future__ import annotations

import re

_CREDITS = re.compile(
    r"字幕|订阅|點贊|点赞|转发.{0,3}打赏|明镜与点点|谢谢(大家)?(观看|收看|收听)|感谢(观看|收看|收听)|Amara|请不吝|中文普通话|优优独播|YoYo",
    re.IGNORECASE,
)
_CHARACTERS = re.compile(r"[\u4e00-\u9fffA-Za-z0-9]")
_MAX_CHARACTERS_PER_S = 12.0
_MIN_LOG_PROBABILITY = -1.4


def is_invented(
    text: str,
    *,
    seconds: float,
    mean_log_probability: float,
    no_speech_probability: float,
    compression_ratio: float,
) -> bool:
    """Whether ``text`` for ``seconds`` of sound should be dropped.

    Grounds: no letters at all, a subtitle credit, a loop (compression ratio as in Whisper's paper,
    2.4), faster than anyone speaks (12 characters/s), or improbable in itself or together with silence.
    """
    spoken = _CHARACTERS.findall(text)
    improbable = mean_log_probability < _MIN_LOG_PROBABILITY
    silent = no_speech_probability > 0.6 and mean_log_probability < -0.8
    too_fast = len(spoken) > _MAX_CHARACTERS_PER_S * max(seconds, 0.5)
    return not spoken or compression_ratio > 2.4 or too_fast or improbable or silent or bool(_CREDITS.search(text))
