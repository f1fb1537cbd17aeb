"""Every text a user reads, by key, from one file per language: another language is another file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


class UnknownText(LookupError):
    """Our own fault: a screen asks for a key the catalogue lacks."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The texts of one language: dotted key to text with ``{placeholders}``."""

    language: str
    texts: dict[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The text of ``key``, placeholders filled. Raises UnknownText."""
        try:
            text = self.texts[key]
        except KeyError:
            raise UnknownText(key) from None
        return text.format_map(_Lenient(values)) if values else text

    def known(self, key: str, fallback: str) -> str:
        """The text of a key built from data of another process, or the data itself where nobody foresaw it."""
        return self.texts.get(key, fallback)

    def under(self, prefix: str) -> dict[str, str]:
        """The texts directly below ``prefix``, in the file's order, keyed by their last part."""
        start = prefix + "."
        return {
            key[len(start) :]: text
            for key, text in self.texts.items()
            if key.startswith(start) and "." not in key[len(start) :]
        }


class _Lenient(dict[str, object]):
    """A missing detail leaves a dash in a message instead of losing the message."""

    def __missing__(self, key: str) -> str:
        return "—"


def load(language: str = "zh_CN") -> Catalogue:
    """The catalogue of ``language``. Raises OSError, tomllib.TOMLDecodeError."""
    tree = tomllib.loads((_HERE / f"{language}.toml").read_text("utf-8"))
    return Catalogue(language=language, texts=dict(_flat("", tree)))


def _flat(prefix: str, tree: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", str(value)
