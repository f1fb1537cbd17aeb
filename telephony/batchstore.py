"""Several writings as one transaction: where many calls arrive at once, they share one sync of the disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from duty.store.database import Store


class BatchStore(Store):
    """A store whose writing transactions can be taken together, by the thread that asks for it."""

    def __init__(self, url: str, *, patience_s: float = 15.0) -> None:
        super().__init__(url, patience_s=patience_s)
        self._shared = threading.local()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Every transaction that this thread begins inside is part of one: all are committed at the end, or none."""
        with super().writing() as session:
            self._shared.session = session
            try:
                yield
            finally:
                self._shared.session = None

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction, or a part of the one that runs."""
        shared: Session | None = getattr(self._shared, "session", None)
        if shared is not None:
            yield shared
            shared.flush()
            return
        with super().writing() as session:
            yield session
