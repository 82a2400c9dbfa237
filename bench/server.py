"""The server that is measured: the real door and journal, and beside them, on the same server, a bare endpoint that
only verifies the signature. Run as a process of its own: `python -m bench.server PORT working|idle`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.briefing import brief
from orchestrator.clock import RealClock
from orchestrator.database import Database
from orchestrator.http_protocol import PunctualProtocol
from orchestrator.journal.group_commit import GroupCommit
from orchestrator.service import Front, build_door
from orchestrator.settings import Settings
from orchestrator.supervisor import Child, Supervisor
from orchestrator.webhooks.signature import Verifier
from orchestrator.worker import JOURNAL, WORKERS, tune_collector


def main(port: int, *, working: bool) -> None:
    settings = Settings.load(os.environ, Path.cwd())
    clock = RealClock()
    database = Database(settings.database_url.reveal(), connections=1)
    brief(database, "observe", settings.config_dir, clock, settings.environment.get, reads=False)
    database.close()
    group_commit = GroupCommit([sys.executable, "-m", "orchestrator", "worker", JOURNAL])
    commands = {name: [sys.executable, "-m", "orchestrator", "worker", name] for name in WORKERS}
    supervisor = Supervisor({name: Child(command, {}) for name, command in commands.items()} if working else {})
    verifier = Verifier([secret.reveal() for secret in settings.webhook_secrets])

    async def bare(request: Request) -> Response:
        body = await request.body()
        if verifier.verify(request.scope["headers"], body, time.time()) is None:
            return JSONResponse({"status": "refused"}, 401)
        return JSONResponse({"status": "accepted"})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        group_commit.start(asyncio.get_running_loop())
        supervisor.start()
        yield
        await group_commit.stop()
        await supervisor.stop()

    app = Starlette(routes=[Route("/bare", bare, methods=["POST"])], lifespan=lifespan)
    tune_collector()
    uvicorn.run(
        Front(build_door(settings, group_commit, clock), app),
        port=port,
        http=PunctualProtocol,
        loop="uvloop",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), working=sys.argv[2] == "working")
