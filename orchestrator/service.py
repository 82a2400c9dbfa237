"""The composition root: everything that one `orchestrator serve` is made of, put together once."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.api.app import create_app
from orchestrator.api.metrics import WEBHOOKS
from orchestrator.api.services import Services, Token
from orchestrator.briefing import brief
from orchestrator.clock import Clock
from orchestrator.database import Database, migrate
from orchestrator.database.migrate import require_head
from orchestrator.http_protocol import PunctualProtocol
from orchestrator.journal.group_commit import GroupCommit
from orchestrator.lookalike import SANDBOX, base_url, embedded, is_embedded, place_of
from orchestrator.restored import must_watch
from orchestrator.secrets import Secret, sandbox_secret, stored_secrets, stored_version
from orchestrator.settings import Mode, Settings
from orchestrator.supervisor import Child, Supervisor
from orchestrator.webhooks.door import Admission, Door, Entrance
from orchestrator.webhooks.endpoints import DEFAULT, PATH, Endpoint, load_endpoints
from orchestrator.webhooks.limits import RateLimit
from orchestrator.webhooks.renewing import RenewingVerifier
from orchestrator.webhooks.signature import Verifier
from orchestrator.worker import JOURNAL, WORKERS, tune_collector
from orchestrator.world import OtherWorldError, beginning_of, known, remembered, settle

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 2_000


@dataclass(frozen=True, slots=True)
class Pools:
    """Database connections of the web process."""

    reads: int = 6


class Front:
    """Webhooks go straight to the door, past the framework, whose routing would cost more than the door itself."""

    def __init__(self, door: Door, api: ASGIApp) -> None:
        self._door = door
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"] == PATH or scope["path"].startswith(f"{PATH}/")):
            await self._door(scope, receive, send)
        else:
            await self._api(scope, receive, send)


def webhook_secrets(settings: Settings) -> tuple[Secret, ...]:
    """Every secret that may have signed a webhook at the default endpoint. Makes one for a sandbox world without."""
    found = [*settings.webhook_secrets, *stored_secrets(settings.data_dir)]
    if settings.mode is Mode.SANDBOX and not settings.webhook_secrets:
        found.append(sandbox_secret(settings.data_dir))
    return tuple(dict.fromkeys(found))


def build_door(settings: Settings, journal: GroupCommit, clock: Clock) -> Door:
    """Raises `EndpointsError` if webhooks.yaml cannot be used."""
    endpoints = load_endpoints(settings.config_dir, webhook_secrets(settings), settings.environment.get)
    for warning in endpoints.warnings:
        logger.warning(warning)
    entrances = {
        name: Entrance(name, _verifier(settings, endpoint), endpoint.mode)
        for name, endpoint in endpoints.by_name.items()
    }
    admission = Admission(
        settings.allowed_networks, settings.trusted_proxies, settings.require_https, settings.max_body
    )
    return Door(entrances, journal, clock, admission, RateLimit(settings.rate_limit), _count())


def _verifier(settings: Settings, endpoint: Endpoint) -> Verifier | RenewingVerifier:
    """The default endpoint takes what `webhooks register` stores while the service runs."""
    if endpoint.name == DEFAULT:
        return RenewingVerifier(lambda: webhook_secrets(settings), lambda: stored_version(settings.data_dir))
    return Verifier([secret.reveal() for secret in endpoint.secrets])


def _count() -> Callable[[str, str], None]:
    counters: dict[tuple[str, str], Callable[[], None]] = {}

    def count(endpoint: str, outcome: str) -> None:
        increment = counters.get((endpoint, outcome))
        if increment is None:
            increment = counters[endpoint, outcome] = WEBHOOKS.labels(endpoint, outcome).inc
        increment()

    return count


def serve(
    settings: Settings, *, migrating: bool = True, demo: bool = False, ready: Callable[[], None] = lambda: None
) -> None:
    """Runs the whole service until SIGTERM or SIGINT. Raises what makes it impossible to begin.

    `demo`: the embedded sandbox holds the world of the demo. `ready` is called once webhooks can be taken.
    """
    url = settings.database_url.reveal()
    listener = _listen(settings.host, settings.port)
    if migrating:
        migrate(url)
    pools = Pools()
    reads = Database(url, connections=pools.reads, name="orchestrator-api", statement_timeout=10)
    require_head(reads)
    if not demo and settings.clock is None and known(reads, "demo") is not None:
        raise OtherWorldError(
            "the database holds the world of the demo, whose time is not the real one: start it with --demo, or use "
            "another ORCHESTRATOR_DATABASE_URL"
        )
    clock = settle(reads, settings.world, settings.clock)
    if demo:
        remembered(reads, "demo", "yes")
    # Whom the door lets in is nothing to the workers: a list of networks that is broken by now must not keep one from
    # starting.
    environment = {
        "ORCHESTRATOR_LOG_FORMAT": str(settings.log_format),
        "ORCHESTRATOR_MODE": str(settings.mode),
        "ORCHESTRATOR_CLOCK": str(settings.clock or "real"),
        "ORCHESTRATOR_ALLOWED_NETWORKS": "",
        "ORCHESTRATOR_TRUSTED_PROXIES": "",
    }
    group_commit = GroupCommit(_worker(JOURNAL), environment)
    workers: dict[str, Child] = {}
    if is_embedded(settings):
        state, port = place_of(settings, reads)
        began = beginning_of(reads, settings.clock) if settings.clock is not None else None
        sandbox = embedded(settings, webhook_secrets(settings)[0], state, port, began, demo=demo)
        # What it sends before the journal is up would only come again.
        workers[SANDBOX] = sandbox._replace(may_begin=lambda: group_commit.trouble() is None)
        environment["TOKPORTAL_BASE_URL"] = base_url(port)
    workers |= {name: Child(_worker(name), environment) for name in WORKERS}
    supervisor = Supervisor(workers)
    door = build_door(settings, group_commit, clock)
    _brief(reads, settings, clock)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        group_commit.start(loop)
        supervisor.start()
        loop.add_signal_handler(signal.SIGHUP, _reload, settings, lambda: _brief_again(loop, reads, settings, clock))
        ready()
        try:
            yield
        finally:
            # What was accepted is stored before the workers stop; they take the rest up at the next start.
            await group_commit.stop()
            await supervisor.stop()
            reads.close()

    api = create_app(
        Services(
            database=reads,
            group_commit=group_commit,
            clock=clock,
            tokens=[Token(token.name, str(token.role), token.token.reveal()) for token in settings.api_tokens],
            workers=supervisor.problems,
            speed=settings.clock.speed if settings.clock else 1.0,
            threads=pools.reads,
        ),
        lifespan=lifespan,
    )
    tune_collector()
    config = uvicorn.Config(
        Front(door, api),
        http=PunctualProtocol,
        loop="uvloop",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=75,  # Longer than proxies keep a connection they may use again.
        timeout_graceful_shutdown=5,
    )
    # uvicorn raises the signal again once it has shut down, so that its parent sees how it ended. To be told to stop
    # is how this program ends well.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])


def _worker(name: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator", "worker", name]


def _listen(host: str, port: int) -> socket.socket:
    """Raises OSError where the address is taken, before anything else has been started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def _brief(database: Database, settings: Settings, clock: Clock) -> None:
    reads = settings.mode is Mode.SANDBOX or settings.tokportal_api_key is not None
    mode = settings.mode
    if mode is Mode.LIVE and (restoration := must_watch(database)) is not None:
        mode = Mode.OBSERVE
        logger.warning(
            "this database was restored from a backup of %s, and does not know what happened since: the service starts "
            "in observe, reads everything at TokPortal once, and then goes live by itself. To go live now: "
            "orchestrator restore --trust",
            restoration.made_at,
        )
    brief(database, str(mode), settings.config_dir, clock, settings.environment.get, reads=reads)


def _brief_again(loop: asyncio.AbstractEventLoop, database: Database, settings: Settings, clock: Clock) -> None:
    def told(done: asyncio.Future[None]) -> None:
        if (error := done.exception()) is not None:
            logger.error("the policies could not be read again: %s", str(error).partition("\n")[0])

    again = loop.run_in_executor(None, _brief, database, settings, clock)
    again.add_done_callback(told)


def _reload(settings: Settings, rebrief: Callable[[], None]) -> None:
    """On SIGHUP: what is kept in files is read again. A broken file leaves what it said before in force."""
    rebrief()
    for networks in (settings.allowed_networks, settings.trusted_proxies):
        if networks is None:
            continue
        try:
            networks.reload()
        except (OSError, ValueError) as error:
            logger.error("a network list could not be read again; the old one stays: %s", error)
        else:
            logger.info("network list read again")
