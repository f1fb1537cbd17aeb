"""A sealed recording as the browser plays it: opened chunk by chunk in memory, whole or in one range (RFC 9110 section
14); nothing of it is written anywhere, nor kept by the browser."""

from __future__ import annotations

import re

from starlette.responses import Response, StreamingResponse

from duty.vault.files import OpenedFile

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def sealed_answer(opened: OpenedFile, wanted: str | None, media_type: str) -> Response:
    """The answer to a request for it, ``wanted`` its Range header. More than one range gets the whole."""
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    span = _span(wanted, opened.size)
    if span is None:
        whole = StreamingResponse(opened.pieces(), media_type=media_type, headers=headers)
        whole.headers["Content-Length"] = str(opened.size)
        return whole
    start, end = span
    if start >= end:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{opened.size}"})
    part = StreamingResponse(opened.pieces(start, end), status_code=206, media_type=media_type, headers=headers)
    part.headers["Content-Range"] = f"bytes {start}-{end - 1}/{opened.size}"
    part.headers["Content-Length"] = str(end - start)
    return part


def _span(wanted: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for the whole, nothing between them for what cannot be had."""
    found = _RANGE.fullmatch((wanted or "").strip())
    if found is None or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    start = int(first)
    if last and int(last) < start:
        return None
    return start, min(size, int(last) + 1) if last else size
