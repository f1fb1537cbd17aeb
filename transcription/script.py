"""Simplified script: models trained on mixed text write 電話 or 电话 by chance; the logbook writes one."""

from __future__ import annotations

from functools import lru_cache

from opencc import OpenCC


@lru_cache(maxsize=1)
def _converter() -> OpenCC:
    return OpenCC("t2s")


def simplified(text: str) -> str:
    """``text`` in simplified characters, one for one: the length never changes, so positions stay valid."""
    converted: str = _converter().convert(text)
    if len(converted) == len(text):
        return converted
    single = (str(_converter().convert(char)) for char in text)
    return "".join(new if len(new) == 1 else old for old, new in zip(text, single, strict=True))
