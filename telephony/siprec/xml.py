"""A small XML document from a stranger, as a tree of plain values: no document type, no entity of its own, bounded.

A document type declaration is what entity bombs and external entities are made of, and no metadata needs one: it is
refused at its first character, before anything in it is expanded or fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from telephony.sip.errors import RemoteProtocolError

MAX_BYTES = 65_536
MAX_ELEMENTS = 4_000
MAX_DEPTH = 16
_SEPARATOR = " "
_ENCODINGS = ("utf-8", "gb18030")


@dataclass(slots=True, kw_only=True)
class Element:
    """One element. ``space`` is its namespace, "" for none; ``attributes`` those without a namespace; ``text`` what it
    holds outside its children, CDATA sections included."""

    space: str
    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def named(self, name: str) -> Iterator[Element]:
        """Its children of that name, in order."""
        return (child for child in self.children if child.name == name)

    def text_of(self, name: str) -> str:
        """The text of its first child of that name without blanks around, "" where there is none."""
        return next((child.text.strip() for child in self.named(name)), "")

    def within(self) -> Iterator[Element]:
        """Itself and all below it."""
        yield self
        for child in self.children:
            yield from child.within()


def read(data: bytes) -> Element:
    """The root of the document. Exchanges in China write names in GB 18030 too, whatever they declare, hence what is
    no UTF-8 is taken for that. Raises RemoteProtocolError (400), and nothing else for any bytes."""
    if len(data) > MAX_BYTES:
        raise malformed("too long")
    builder = _Builder()
    try:
        builder.parser.Parse(_as_utf8(data), True)
    except expat.ExpatError:
        raise malformed("no XML") from None
    if builder.root is None:
        raise malformed("no XML")
    return builder.root


def malformed(what: str) -> RemoteProtocolError:
    """The error for metadata that cannot be read."""
    return RemoteProtocolError(400, f"Malformed recording metadata: {what}")


def _as_utf8(data: bytes) -> bytes:
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding).encode()
        except UnicodeError:
            continue
    raise malformed("encoding")


class _Builder:
    """Builds the tree from expat's calls."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._elements = 0
        self.parser = expat.ParserCreate("utf-8", _SEPARATOR)
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _doctype(self, *_: object) -> None:
        raise malformed("document type declared")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise malformed("too many elements")
        space, _, local = name.rpartition(_SEPARATOR)
        plain = {key: value for key, value in attributes.items() if _SEPARATOR not in key}
        element = Element(space=space, name=local, attributes=plain)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, _name: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        self._open[-1].text += text
