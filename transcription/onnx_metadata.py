"""What an ONNX file says about itself, read without loading its weights: a network that does not say what sherpa-onnx
asks for ends the whole process there, so it is asked here first."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

_METADATA_PROPS = 14
_KEY, _VALUE = 1, 2
_LONGEST_ENTRY = 1 << 20


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata_props of the ModelProto in ``path``.

    Raises ValueError when the file is no protocol buffer of that shape, OSError when it cannot be read.
    """
    size, found = path.stat().st_size, {}
    with path.open("rb") as reader:
        while reader.tell() < size:
            field, kind = divmod(_varint(reader), 8)
            length = _length(reader, kind)
            if reader.tell() + length > size:
                raise ValueError("a field reaches beyond the end of the file")
            if field == _METADATA_PROPS and kind == 2 and length <= _LONGEST_ENTRY:
                entry = _entry(reader.read(length))
                found[entry.get(_KEY, "")] = entry.get(_VALUE, "")
            else:
                reader.seek(length, 1)
    return found


def _entry(raw: bytes) -> dict[int, str]:
    reader, texts = BytesIO(raw), {}
    while reader.tell() < len(raw):
        field, kind = divmod(_varint(reader), 8)
        value = reader.read(_length(reader, kind))
        if kind == 2:
            texts[field] = value.decode("utf-8", "replace")
    return texts


def _length(reader: BinaryIO, kind: int) -> int:
    """How many bytes the field of that wire type has; a varint is consumed at once."""
    if kind == 0:
        _varint(reader)
        return 0
    if kind == 2:
        return _varint(reader)
    if kind in (1, 5):
        return 8 if kind == 1 else 4
    raise ValueError("no such wire type")


def _varint(reader: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = reader.read(1)
        if not byte:
            raise ValueError("the file ends within a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number of more than 64 bits")
