"""The console's process: opens the store, listens, and ends its event streams at once when asked to stop."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI

from config.settings import Settings
from duty.domain.errors import BrokenState
from duty.domain.times import utc_now
from duty.store.database import Store
from web.app import create_app
from web.services import build

GRACE_S = 3


class Console(uvicorn.Server):
    """A server whose open event streams do not hold up its end."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """End the streams, then everything else."""
        self._app.state.feed.close_streams()
        await super().shutdown(sockets)  # type: ignore[arg-type]


def console(app: FastAPI, settings: Settings) -> Console:
    """The server for an application, not yet running."""
    config = uvicorn.Config(
        app,
        host=settings.web.host,
        port=settings.web.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
    )
    return Console(app, config)


def run(settings: Settings) -> None:
    """Serve the console until the process is told to stop; its store is migrated by the service before this.

    Raises BrokenState for a store of another version, sqlalchemy.exc.OperationalError where it cannot be reached.
    """
    store = Store(settings.store_url)
    try:
        if not store.is_current():
            raise BrokenState("store_not_current")
        console(create_app(build(store, utc_now, settings), settings), settings).run()
    finally:
        store.close()
