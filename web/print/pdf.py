"""Setting a sheet with typst. The data reach it as one JSON value, so no text of a call can become markup."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path

import structlog
import typst

from web.catalogue import Catalogue
from web.errors import PrintImpossible
from web.print.sheet import Sheet

_TEMPLATE = Path(__file__).with_name("entry.typ")
_log = structlog.get_logger("web.print")

FACES: dict[str, tuple[str, ...]] = {
    "title": ("FZXiaoBiaoSong-B05", "FZXiaoBiaoSong-B05S", "方正小标宋简体", "STZhongsong"),
    "body": ("FangSong_GB2312", "仿宋_GB2312", "FangSong", "STFangsong", "FZFangSong-Z02"),
    "heading": ("SimHei", "FZHei-B01", "STHeiti"),
    "label": ("KaiTi_GB2312", "KaiTi", "STKaiti", "FZKai-Z03"),
}
"""The faces GB/T 9704-2012 names, under the names they are sold by, best first."""

SERIF = ("Noto Serif CJK SC", "Source Han Serif SC", "Source Han Serif CN", "Noto Serif SC", "SimSun")
SANS = ("Noto Sans CJK SC", "Source Han Sans SC", "Source Han Sans CN", "Noto Sans SC", "WenQuanYi Zen Hei")


def choose_faces(installed: Collection[str]) -> dict[str, list[str]]:
    """The installed faces for each part of the sheet, best first; none where no Chinese one is there."""
    chosen = {}
    for part, wanted in FACES.items():
        fallback = (*SANS, *SERIF) if part == "heading" else (*SERIF, *SANS)
        chosen[part] = [face for face in (*wanted, *fallback) if face in installed]
    return chosen


class Printer:
    """Makes PDFs. The machine's fonts are looked for once, at the first print."""

    def __init__(self, catalogue: Catalogue, *, find_fonts: Callable[[], typst.Fonts] = typst.Fonts) -> None:
        self.catalogue = catalogue
        self._find_fonts = find_fonts
        self._fonts: typst.Fonts | None = None
        self._lock = threading.Lock()

    def pdf(self, sheet: Sheet, *, at: datetime | None) -> bytes:
        """The sheet as PDF. ``at`` is the date inside the file, so that printing twice gives the same bytes.

        Raises PrintImpossible where no Chinese font is installed: boxes instead of words would be worse than no paper.
        """
        fonts = self._found()
        faces = choose_faces(fonts.families())
        if not all(faces.values()):
            raise PrintImpossible("print_no_font")
        inputs = {"sheet": json.dumps({**sheet.as_data(), "faces": faces}, ensure_ascii=False)}
        try:
            made = typst.Compiler(_TEMPLATE, root=_TEMPLATE.parent, font_paths=fonts, sys_inputs=inputs).compile(
                format="pdf", timestamp=at.replace(microsecond=0) if at else None
            )
        except typst.TypstError as error:
            _log.exception("typst_failed", number=sheet.number)
            raise PrintImpossible("print_failed") from error
        if not isinstance(made, bytes):
            raise PrintImpossible("print_failed")
        return made

    def _found(self) -> typst.Fonts:
        with self._lock:
            if self._fonts is None:
                self._fonts = self._find_fonts()
            return self._fonts
