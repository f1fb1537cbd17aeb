"""The vocabulary as a table file: CSV that Excel and WPS open and save, in UTF-8 or the GB 18030 they still write."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from duty.domain.errors import Refused
from duty.services.words import NewWord, WordView

COLUMNS = ("word", "word_class", "pinyin", "within", "scope")
_ENCODINGS = ("utf-8-sig", "gb18030")


def written(views: Iterable[WordView], heads: Mapping[str, str], classes: Mapping[str, str], shared: str) -> bytes:
    """The words as a file; ``heads`` names the columns, ``classes`` the classes, ``shared`` the scope of all units."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow([heads[column] for column in COLUMNS])
    for view in views:
        table.writerow([view.word, classes[view.word_class], view.pinyin, view.within, view.unit or shared])
    return out.getvalue().encode("utf-8-sig")


def read(raw: bytes, heads: Mapping[str, str], classes: Mapping[str, str], shared: str) -> list[NewWord]:
    """The words of a file, columns found by their heads in any order; a word and a class are needed.

    Raises Refused for a file that is no such table.
    """
    rows = _rows(raw)
    if not rows:
        raise Refused("import_unreadable")
    places = {column: rows[0].index(head) for column, head in heads.items() if head in rows[0]}
    if "word" not in places or "word_class" not in places:
        raise Refused("import_columns", word=heads["word"], word_class=heads["word_class"])
    codes = {name: code for code, name in classes.items()}

    def cell(row: Sequence[str], column: str) -> str:
        place = places.get(column, len(row))
        return row[place].strip() if place < len(row) else ""

    return [
        NewWord(
            word=cell(row, "word"),
            word_class=codes.get(cell(row, "word_class"), cell(row, "word_class")),
            pinyin=cell(row, "pinyin"),
            within=cell(row, "within"),
            shared=cell(row, "scope") == shared,
        )
        for row in rows[1:]
        if any(each.strip() for each in row)
    ]


def _rows(raw: bytes) -> list[list[str]]:
    for encoding in _ENCODINGS:
        try:
            text = raw.decode(encoding)
            return [[each.strip() for each in row] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
        except (UnicodeDecodeError, csv.Error):
            continue
    raise Refused("import_unreadable")
